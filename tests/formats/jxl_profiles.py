"""JPEG XL with an ICC profile, written by libjxl itself, which imagecodecs brings along (jxl/encode.h, 0.11)."""

import ctypes
from pathlib import Path

import imagecodecs
import numpy as np

_INFO_WORDS = 64
_XSIZE, _YSIZE, _BITS, _ORIGINAL, _ORIENTATION, _COLORS = 1, 2, 3, 9, 12, 13
"""Places of JxlBasicInfo's fields, in words of 32 bits."""


class _PixelFormat(ctypes.Structure):
    _fields_ = (
        ("channels", ctypes.c_uint32),
        ("kind", ctypes.c_int),
        ("order", ctypes.c_int),
        ("align", ctypes.c_size_t),
    )


def with_profile(pixels: np.ndarray, profile: bytes, *, lossless: bool = True) -> bytes:
    """Return a JPEG XL of gray or RGB, uint8 or uint16, with a profile."""
    library, encoder = _encoder()
    info = (ctypes.c_uint32 * _INFO_WORDS)()
    library.JxlEncoderInitBasicInfo(info)
    height, width = pixels.shape[:2]
    colors = 1 if pixels.ndim == 2 else 3
    for place, value in (
        (_XSIZE, width),
        (_YSIZE, height),
        (_BITS, 8 * pixels.itemsize),
        (_ORIGINAL, int(lossless)),
        (_COLORS, colors),
    ):
        info[place] = value
    _done(library.JxlEncoderSetBasicInfo(encoder, info))
    _done(library.JxlEncoderSetICCProfile(encoder, profile, ctypes.c_size_t(len(profile))))
    settings = ctypes.c_void_p(library.JxlEncoderFrameSettingsCreate(encoder, None))
    _done(library.JxlEncoderSetFrameLossless(settings, int(lossless)))
    if not lossless:
        _done(library.JxlEncoderSetFrameDistance(settings, ctypes.c_float(0.1)))
    layout = _PixelFormat(colors, {1: 2, 2: 3}[pixels.itemsize], 0, 0)
    levels = np.ascontiguousarray(pixels).tobytes()
    _done(library.JxlEncoderAddImageFrame(settings, ctypes.byref(layout), levels, ctypes.c_size_t(len(levels))))
    return _written(library, encoder)


def made_of_jpeg(data: bytes) -> bytes:
    """Return a JPEG XL that can be turned back into the JPEG it is made of."""
    library, encoder = _encoder()
    _done(library.JxlEncoderUseContainer(encoder, 1))
    _done(library.JxlEncoderStoreJPEGMetadata(encoder, 1))
    settings = ctypes.c_void_p(library.JxlEncoderFrameSettingsCreate(encoder, None))
    _done(library.JxlEncoderAddJPEGFrame(settings, data, ctypes.c_size_t(len(data))))
    return _written(library, encoder)


def _encoder() -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    (path,) = Path(imagecodecs.__file__).parent.with_name("imagecodecs.libs").glob("libjxl-*")
    assert imagecodecs.jpegxl_encode is not None
    library = ctypes.CDLL(str(path))
    library.JxlEncoderCreate.restype = library.JxlEncoderFrameSettingsCreate.restype = ctypes.c_void_p
    return library, ctypes.c_void_p(library.JxlEncoderCreate(None))


def _written(library: ctypes.CDLL, encoder: ctypes.c_void_p) -> bytes:
    library.JxlEncoderCloseInput(encoder)
    room = ctypes.create_string_buffer(1 << 20)
    following, left = ctypes.c_void_p(ctypes.addressof(room)), ctypes.c_size_t(len(room))
    _done(library.JxlEncoderProcessOutput(encoder, ctypes.byref(following), ctypes.byref(left)))
    library.JxlEncoderDestroy(encoder)
    return room.raw[: len(room) - left.value]


def _done(status: int) -> None:
    assert status == 0, status
