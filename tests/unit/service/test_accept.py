"""service.http.accept: the header of RFC 9110, section 12.5.1, and what people put into it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import NotAcceptable
from service.http.accept import choose_answer, likes_opaque
from service.pictures.answer_formats import MEDIA_TYPES


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "png"),
        (" ", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/jpeg", "jpeg"),
        ("IMAGE/WEBP", "webp"),
        ("image/webp,image/jpeg", "jpeg"),  # equals: our order
        ("image/jpeg;q=0.8,image/webp;q=0.9", "webp"),
        ("image/jpeg ; q=0.8 , image/webp ; q=0.9", "webp"),
        ("*/*;q=0.9,image/webp", "webp"),
        ("image/*;q=0.2,*/*", "png"),  # the more specific range counts for all three
        ("*/*,image/png;q=0", "jpeg"),
        ("image/*,image/png;q=0,image/jpeg;q=0.000", "webp"),
        ("image/webp;q=0.001", "webp"),
        ("image/tiff", "tiff"),
        ("image/tiff,image/webp", "webp"),
        ("image/png;q=0.3;version=2,image/jpeg;q=0.2", "png"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "png"),  # a browser's <img>
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "webp"),
        # Nothing that can be understood asks for nothing.
        ("nonsense", "png"),
        ("image/jpeg;q=2", "png"),
        ("image/jpeg;q=-1,image/webp;q=high", "png"),
        ("image/jpeg;q=,image/webp", "webp"),
        (",,;;,image/jpeg", "jpeg"),
        ("image/", "png"),
        ("*", "png"),
    ],
)
def test_what_the_caller_likes_best(accept: str, chosen: str) -> None:
    assert choose_answer(accept) == (chosen, False, False)


@pytest.mark.parametrize(
    "accept", ["application/zip", "text/*", "image/gif, image/bmp", "*/*;q=0", "image/*;q=0.0,*/*", "png/image"]
)
def test_who_takes_none_is_told_which_there_are(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png, image/jpeg, image/webp, image/tiff") as caught:
        choose_answer(accept)
    assert caught.value.facts == {"formats": [*MEDIA_TYPES.values(), "application/json"]}


@pytest.mark.parametrize(
    ("accept", "packed", "chosen"),
    [
        ("application/json", False, ("png", True)),
        ("application/*", False, ("png", True)),
        ("application/json, image/webp;q=0.5", False, ("webp", True)),
        ("application/json, */*;q=0.1", False, ("png", True)),
        ("application/json, image/*", False, ("png", False)),  # equals: the picture itself
        ("application/json;q=0.5, image/jpeg", False, ("jpeg", False)),
        ("application/json;q=0, image/jpeg;q=0.1", False, ("jpeg", False)),
        ("application/json", True, ("png", True)),
        ("application/zip", True, ("png", False)),
        ("application/*", True, ("png", False)),
        ("application/zip;q=0.2, application/json;q=0.3", True, ("png", True)),
        ("image/webp", True, ("webp", False)),
        ("", True, ("png", False)),
    ],
)
def test_json_must_be_liked_better_than_pictures(accept: str, packed: bool, chosen: tuple[str, bool]) -> None:
    assert choose_answer(accept, packed=packed) == (*chosen, False)


@pytest.mark.parametrize(
    ("accept", "opaque"),
    [
        ("application/octet-stream", True),
        ("application/octet-stream, application/json", True),  # equals: what comes is a picture, whatever it is called
        ("application/octet-stream, image/png", False),
        ("application/octet-stream;q=0.5, application/json", False),
        ("application/octet-stream, */*;q=0.1", True),
        ("application/octet-stream;q=0", False),
        ("application/*", False),
        ("text/html", False),
        ("*/*", False),
    ],
)
def test_a_file_of_no_type_must_be_named_and_liked_best(accept: str, opaque: bool) -> None:
    assert likes_opaque(accept) is opaque
    if opaque:
        assert choose_answer(accept) == ("png", False, True)


@given(st.text(max_size=60) | st.text("image/pngjw*;q=.01, ", max_size=60))
def test_any_header_has_an_outcome(accept: str) -> None:
    chosen = None
    with suppress(NotAcceptable):
        chosen = choose_answer(accept).picture
    assert chosen in (None, *MEDIA_TYPES)
