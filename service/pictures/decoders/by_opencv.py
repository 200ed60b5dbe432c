"""Levels by OpenCV: ordinary JPEG, PNG, WebP, and 16-bit color TIFF."""

import cv2
import numpy as np
from jaxtyping import Shaped

from service.pictures.decoders.jpeg_complaints import read_heard
from service.pictures.decoders.jpeg_damage import refuse_damaged
from service.pictures.decoders.lost_end import whole_jpeg, with_end
from service.pictures.decoders.one_copy import read_once
from service.pictures.header import Header
from service.pictures.headers import png
from service.pictures.levels import Alpha, Pixels


def decode(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    """Decode a JPEG, PNG, WebP or TIFF; see `service.pictures.decoders`.

    Raises:
        ValueError: OpenCV does not decode it, or it is cut short or damaged.
    """
    if header.format == "JPEG":
        return _decode_jpeg(data, header), None
    if header.format == "PNG" and header.kind == png.TO_BE_STRIPPED:
        data = png.stripped(bytes(data))
    decoded = read_once(data, cv2.IMREAD_UNCHANGED) if header.format == "PNG" else None
    if decoded is None:
        decoded = _read(data, cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16):
        raise ValueError("OpenCV does not decode it")
    if decoded.ndim == 2:
        return decoded, None if header.color_key is None else _opaque_but(decoded, header)
    if decoded.shape[2] == 4:
        # A view of the opacity would keep all four channels in memory.
        alpha = np.ascontiguousarray(decoded[..., 3])
        return (decoded[..., 0] if header.is_gray else cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGB)), alpha
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded), None


def _decode_jpeg(data: bytes | memoryview, header: Header) -> Pixels:
    flags = cv2.IMREAD_COLOR_RGB if header.mode == "RGB" else cv2.IMREAD_GRAYSCALE
    decoded, complaint = read_heard(data, flags)
    if decoded is None:
        whole_jpeg(bytes(data), lambda whole: read_heard(whole, flags)[0])
        data = with_end(bytes(data))
        decoded, complaint = read_heard(data, flags)
    if decoded is None:
        raise ValueError("OpenCV does not decode it")
    refuse_damaged(data, flags, decoded, complaint)
    return decoded


def _read(data: bytes | memoryview, flags: int) -> Pixels | None:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if decoded is None else np.asarray(decoded)


def _opaque_but(gray: Shaped[np.ndarray, "H W"], header: Header) -> Alpha:
    """Return the opacity of a gray PNG in which one level is transparent; OpenCV leaves it out."""
    top = np.iinfo(gray.dtype).max
    return np.asarray(np.where(gray == header.color_key, gray.dtype.type(0), gray.dtype.type(top)))
