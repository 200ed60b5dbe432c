"""The ICC profile of a JPEG XL, which lies in it as packed as its pixels, and which imagecodecs does not hand out.

libjxl does; it comes along with imagecodecs as a library of its own, and is asked for nothing else.

References:
    libjxl 0.11, jxl/decode.h.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, Final

import imagecodecs

MOST_BYTES: Final = 1 << 24
"""A longer profile counts as absent."""

COLOR_ENCODING: Final = 0x100
"""The event behind which the profile is known."""

OF_PIXELS: Final = 1
"""Asks for the profile of the levels that the decoder gives, not of those that were once encoded."""

_SIZE = ctypes.c_size_t
_POINTER = ctypes.c_void_p


def is_available() -> bool:
    """Whether the library is where wheels put it."""
    return _path() is not None


def read_profile(data: bytes) -> bytes | None:
    """Return the profile; None for one that is too long.

    Raises:
        ValueError: the file is damaged, or the library is not there.
    """
    library = _library()
    decoder = library.JxlDecoderCreate(None)
    try:
        library.JxlDecoderSubscribeEvents(decoder, COLOR_ENCODING)
        library.JxlDecoderSetInput(decoder, data, len(data))
        library.JxlDecoderCloseInput(decoder)
        size = _SIZE()
        if library.JxlDecoderProcessInput(decoder) != COLOR_ENCODING or library.JxlDecoderGetICCProfileSize(
            decoder, OF_PIXELS, ctypes.byref(size)
        ):
            raise ValueError("a JPEG XL without the profile that its header names")
        if size.value > MOST_BYTES:
            return None
        profile = ctypes.create_string_buffer(size.value)
        if library.JxlDecoderGetColorAsICCProfile(decoder, OF_PIXELS, profile, size.value):
            raise ValueError("a JPEG XL whose profile is damaged")
        return profile.raw
    finally:
        library.JxlDecoderDestroy(decoder)


@cache
def _path() -> Path | None:
    package = Path(imagecodecs.__file__).parent
    places = (package.with_name("imagecodecs.libs"), package / ".dylibs")
    found = [path for place in places for path in sorted(place.glob("libjxl[-.]*"))]
    return found[0] if found else None


@cache
def _library() -> Any:
    path = _path()
    if path is None:
        raise ValueError("libjxl is not there")
    _ = imagecodecs.jpegxl_decode  # Which loads what it needs in turn.
    library = ctypes.CDLL(str(path))
    library.JxlDecoderCreate.restype = _POINTER
    for name, arguments in (
        ("JxlDecoderCreate", (_POINTER,)),
        ("JxlDecoderSubscribeEvents", (_POINTER, ctypes.c_int)),
        ("JxlDecoderSetInput", (_POINTER, ctypes.c_char_p, _SIZE)),
        ("JxlDecoderCloseInput", (_POINTER,)),
        ("JxlDecoderProcessInput", (_POINTER,)),
        ("JxlDecoderGetICCProfileSize", (_POINTER, ctypes.c_int, ctypes.POINTER(_SIZE))),
        ("JxlDecoderGetColorAsICCProfile", (_POINTER, ctypes.c_int, ctypes.c_char_p, _SIZE)),
        ("JxlDecoderDestroy", (_POINTER,)),
    ):
        getattr(library, name).argtypes = arguments
    return library
