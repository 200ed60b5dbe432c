"""Bodies for schemathesis: an OpenAPI schema can say "bytes", not "bytes that are a picture".

Nor can it say what depends on the body or on another option: which pages there are, which formats hold 16 bits.
"""

from collections.abc import Container
from typing import Any

import schemathesis
from hypothesis import strategies as st

from service.pictures.formats import FORMATS, READABLE_TYPES
from service.pictures.tiff.pages import MOST_DIRECTORIES
from tests.pictures import by_pillow, levels, smooth_gray

WRITTEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")
"""What Pillow writes; a body of another type is one of these: the bytes decide."""


PICTURES = {
    media_type: [by_pillow(smooth_gray(9, 7), each.name), by_pillow(levels(40, 33, 3), each.name)]
    for each in FORMATS
    if each.name in WRITTEN
    for media_type in each.media_types
}
UNFIT = {"page": range(2, MOST_DIRECTORIES + 1), "depth": (16,)}
FITTING = {"page": 1, "depth": 8}
ANY = st.sampled_from([picture for pictures in PICTURES.values() for picture in pictures])

for media_type in READABLE_TYPES:
    pictures = PICTURES.get(media_type)
    schemathesis.openapi.media_type(media_type, st.sampled_from(pictures) if pictures else ANY)
schemathesis.openapi.media_type("application/octet-stream", ANY)
schemathesis.openapi.format("binary", ANY)


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Ask for the only page that there is, and for a depth that every format holds."""
    for name, unfit in UNFIT.items():
        if case.query and name in case.query and _is_one_of(case.query[name], unfit):
            case.query[name] = FITTING[name]


def _is_one_of(value: Any, unfit: Container[int]) -> bool:
    text = str(value)
    return text.isascii() and text.isdecimal() and int(text) in unfit
