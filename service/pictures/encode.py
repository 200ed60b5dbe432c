"""Pixels -> bytes of the answer."""

from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from service.errors import UnfitFormat
from service.pictures import png
from service.pictures.levels import Alpha

WEBP_MAX_SIDE_PX: Final = 16_383
"""Longest side that WebP can hold (RFC 9649, section 2.5)."""

LOSSY_QUALITY: Final = 95
"""Quality of JPEG and WebP answers; at 95 their own damage is well below that of the guessed colors."""

OutputFormat = Literal["png", "jpeg", "webp"]

MEDIA_TYPES: Final[dict[OutputFormat, str]] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

SUFFIXES: Final[dict[OutputFormat, str]] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


LOSSY_BYTES: Final = 2
"""A pixel of JPEG or WebP takes hardly more at that quality, whatever it shows."""

SPARE_BYTES: Final = 1 << 16
"""For what stands beside the pixels of a file."""


def most_bytes(output_format: OutputFormat, pixels: int, *, channels: int, deep: bool) -> int:
    """Return how many bytes an answer may have; pixels that cannot be compressed take a little more than they are.

    Args:
        output_format: png, jpeg or webp.
        pixels: width times height.
        channels: 3, or 4 with opacity.
        deep: whether a PNG has 16 bits a channel.
    """
    if output_format != "png":
        return LOSSY_BYTES * pixels + SPARE_BYTES
    raw = pixels * channels * (2 if deep else 1)
    return raw + raw // 500 + SPARE_BYTES


def encode_gray(levels: UInt8[np.ndarray, "H W"]) -> bytes:
    """Return a gray PNG of levels, uint8, shape (H, W)."""
    return png.encode(levels)


def encode(rgb: Shaped[np.ndarray, "H W 3"], alpha: Alpha, output_format: OutputFormat, *, workers: int = 1) -> bytes:
    """Encode an answer; the same pixels give the same bytes.

    PNG keeps everything. WebP keeps alpha; JPEG has none and shows the picture on white. Both have 8 bits a channel.

    Args:
        rgb: sRGB, uint8 or uint16 (uint16 for PNG alone), shape (H, W, 3).
        alpha: opacity, dtype of rgb, shape (H, W), or None.
        output_format: png, jpeg or webp.
        workers: threads that may work on a PNG; they do not change it.

    Returns:
        The file.

    Raises:
        UnfitFormat: the format cannot hold a picture of this size.
        ValueError: 16 bits for another format than PNG.
    """
    height, width = rgb.shape[:2]
    if output_format != "png" and rgb.dtype != np.uint8:
        raise ValueError(f"{output_format} holds 8 bits a channel")
    if output_format == "png":
        return png.encode(rgb if alpha is None else np.dstack([rgb, alpha]), workers=workers)
    if output_format == "jpeg":
        flat = rgb if alpha is None else _on_white(rgb, alpha)
        return _imencode(".jpg", _to_bgr(flat, None), (cv2.IMWRITE_JPEG_QUALITY, LOSSY_QUALITY))
    if max(height, width) > WEBP_MAX_SIDE_PX:
        raise UnfitFormat(
            f"WebP holds at most {WEBP_MAX_SIDE_PX} px a side, the picture is {width} x {height}: ask for png or jpeg.",
            limit=WEBP_MAX_SIDE_PX,
            unit="px",
        )
    return _imencode(".webp", _to_bgr(rgb, alpha), (cv2.IMWRITE_WEBP_QUALITY, LOSSY_QUALITY))


def _to_bgr(rgb: Shaped[np.ndarray, "H W 3"], alpha: Alpha) -> Shaped[np.ndarray, "H W C"]:
    if alpha is None:
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    bgra = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    bgra[..., 3] = alpha
    return bgra


def _on_white(rgb: UInt8[np.ndarray, "H W 3"], alpha: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    opacity: Float[np.ndarray, "H W 1"] = alpha[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(rgb * opacity + 255 * (1 - opacity)), np.uint8)


def _imencode(suffix: str, pixels: Shaped[np.ndarray, "H W C"], settings: tuple[int, ...]) -> bytes:
    done, encoded = cv2.imencode(suffix, pixels, settings)
    if not done:
        raise RuntimeError(f"OpenCV could not encode a {suffix} of shape {pixels.shape}")
    return encoded.tobytes()
