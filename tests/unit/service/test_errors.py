"""service.errors: stable names, right statuses, all in the documentation."""

import re
from pathlib import Path

import pytest

from service import errors
from service.errors import PROBLEMS, DeadlineExceeded, Draining, Overloaded, RequestError, UploadTooLarge

DOCUMENT = Path(__file__).parents[3] / "docs" / "http.md"


def test_every_problem_is_listed_once_with_a_name_of_its_own() -> None:
    leaves = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RequestError)}
    assert set(PROBLEMS) == leaves - {RequestError}
    assert len({kind.name for kind in PROBLEMS}) == len({kind.title for kind in PROBLEMS}) == len(PROBLEMS)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_names_are_words_and_statuses_are_errors(kind: type[RequestError]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.name)
    assert 400 <= kind.status <= 504


def test_an_error_carries_its_facts() -> None:
    error = UploadTooLarge("At most 3 bytes.", limit=3, unit="bytes", headers={"Connection": "close"})
    assert (error.detail, str(error)) == ("At most 3 bytes.", "At most 3 bytes.")
    assert error.type == "urn:photochrom:problem:upload-too-large"
    assert error.facts == {"limit": 3, "unit": "bytes"}
    assert error.headers == {"Connection": "close"}
    assert DeadlineExceeded("x").headers == {}


def test_errors_that_pass_say_when() -> None:
    assert Overloaded("x", retry_after_s=7, limit=1).headers == {"Retry-After": "7"}
    assert Overloaded("x", retry_after_s=7, limit=1).facts == {"retry_after_s": 7, "limit": 1}
    assert Draining().headers == {"Retry-After": "1"}


def test_the_document_lists_every_problem_with_its_status() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", DOCUMENT.read_text(), re.MULTILINE))
    assert rows == {kind.name: str(kind.status) for kind in PROBLEMS}
