"""service.http.auth: which keys there are, and who gets in."""

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.errors import KeysError, Unauthorized
from service.http.auth import ApiKeys
from service.settings import Settings

FIRST, SECOND = "first-key-of-many", "second/key+of=many"


def settings_with(keys: str = "", file: Path | None = None) -> Settings:
    return Settings(api_keys=SecretStr(keys), api_keys_file=file)


def test_without_keys_everyone_gets_in() -> None:
    keys = ApiKeys.of(settings_with())
    assert len(keys) == 0
    assert keys.admit(None) == keys.admit("anything") == ""


def test_keys_come_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the archive\n{SECOND}\n\n   # nobody\n")
    keys = ApiKeys.of(settings_with(f"{FIRST}, ", file))
    assert len(keys) == 2
    for key in (FIRST, SECOND):
        assert keys.admit(key) == hashlib.sha256(key.encode()).hexdigest()[:8]


def test_one_right_key_is_enough_whatever_came_with_it() -> None:
    keys = ApiKeys([FIRST, SECOND])
    assert keys.admit("a token of a proxy", FIRST) == keys.admit(FIRST, None) == keys.admit(FIRST, SECOND)
    with pytest.raises(Unauthorized, match="none of this service's"):
        keys.admit("a token of a proxy", None)


@pytest.mark.parametrize("given", [None, "", FIRST[:-1], FIRST + "x", FIRST.upper(), f" {FIRST}", "\udcff", "ключ" * 9])
def test_nothing_else_gets_in(given: str | None) -> None:
    keys = ApiKeys([FIRST, SECOND])
    with pytest.raises(Unauthorized, match="Authorization: Bearer KEY") as caught:
        keys.admit(given)
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="photochrom"'}
    assert FIRST not in caught.value.detail


@pytest.mark.parametrize("bad", ["short", "x" * 257, "with a blank in it", "umläute-im-schlüssel"])
def test_what_is_no_key_stops_the_start_and_is_not_repeated(bad: str) -> None:
    with pytest.raises(KeysError, match="API key number 2") as caught:
        ApiKeys([FIRST, bad])
    assert bad not in str(caught.value)


def test_a_file_without_keys_stops_the_start(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("# none yet\n")
    binary.write_bytes(b"\xff\xfe\x00")
    for file, reason in (
        (empty, "holds no API key"),
        (binary, "API_KEYS_FILE=.* cannot be read"),
        (tmp_path / "gone", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(KeysError, match=reason):
            ApiKeys.of(settings_with(file=file))


def test_keys_are_not_shown() -> None:
    settings = settings_with(FIRST)
    assert FIRST not in repr(settings) + str(settings.model_dump())
    assert FIRST not in repr(vars(ApiKeys([FIRST])))
