"""Pixels -> bytes of the answer."""

from collections.abc import Generator
from contextlib import closing
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from service.errors import UnfitFormat
from service.pictures import jpeg, png, tiff_writer
from service.pictures.answer_formats import LOSSLESS, OutputFormat
from service.pictures.levels import Alpha, Pixels, Rows
from service.pictures.metadata import jpeg as jpeg_metadata
from service.pictures.metadata import png as png_metadata
from service.pictures.metadata import webp as webp_metadata
from service.pictures.metadata.belongings import NOTHING, Metadata
from service.pictures.sink import Memory, Sink
from service.pictures.srgb_profile import srgb_profile

WEBP_MAX_SIDE_PX: Final = 16_383
"""Longest side that WebP can hold (RFC 9649, section 2.5)."""

LOSSY_QUALITY: Final = 95
"""Quality of JPEG and WebP answers; at 95 their own damage is well below that of the guessed colors."""

LOSSY_BYTES: Final = 2
"""A pixel of JPEG or WebP takes hardly more at that quality, whatever it shows."""

SPARE_BYTES: Final = 1 << 16
"""For what stands beside the pixels of a file: profile, note, tags."""


def most_bytes(output_format: OutputFormat, pixels: int, *, channels: int, deep: bool, beside: int = 0) -> int:
    """Return how many bytes an answer may have; pixels that cannot be compressed take a little more than they are.

    Args:
        output_format: png, jpeg, webp or tiff.
        pixels: width times height.
        channels: 3, or 4 with opacity.
        deep: whether a PNG or TIFF has 16 bits a channel.
        beside: bytes of metadata that goes over from the question.
    """
    if output_format not in LOSSLESS:
        return LOSSY_BYTES * pixels + SPARE_BYTES + beside
    raw = pixels * channels * (2 if deep else 1)
    return raw + raw // 500 + SPARE_BYTES + beside


def encode_gray(levels: UInt8[np.ndarray, "H W"]) -> bytes:
    """Return a gray PNG of levels, uint8, shape (H, W)."""
    return png.encode(levels)


def encode(
    rgb: Rows,
    alpha: Alpha,
    output_format: OutputFormat,
    *,
    workers: int = 1,
    metadata: Metadata = NOTHING,
    into: Sink | None = None,
) -> bytes:
    """Encode an answer, with sRGB's profile; the same pixels and metadata give the same bytes.

    PNG and TIFF keep everything. WebP keeps alpha; JPEG has none and shows the picture on white. Both have 8 bits a
    channel.

    Args:
        rgb: sRGB, uint8 or uint16 (uint16 for PNG and TIFF alone), shape (H, W, 3); those of `BY_ROWS` take a few
            rows at a time.
        alpha: opacity, dtype of rgb, shape (H, W), or None.
        output_format: png, jpeg, webp or tiff.
        workers: threads that may work on a file of `BY_ROWS`; they do not change it.
        metadata: what else the file says, made true of it.
        into: takes the file instead, of `BY_ROWS` as it is made.

    Returns:
        The file; nothing where `into` has taken it.

    Raises:
        UnfitFormat: the format cannot hold a picture of this size.
        ValueError: 16 bits for another format than PNG and TIFF.
    """
    if output_format not in LOSSLESS and rgb.dtype != np.uint8:
        raise ValueError(f"{output_format} holds 8 bits a channel")
    if output_format == "webp":
        whole = _encode_webp(rgb, alpha, metadata)
        if into is None:
            return whole
        into.put(whole)
        return b""
    out = Memory() if into is None else into
    if output_format == "tiff":
        tiff_writer.write(out, _with_alpha(rgb, alpha), metadata, srgb_profile(), workers=workers)
    else:
        with closing(_parts(rgb, alpha, output_format, metadata, workers)) as parts:
            for part in parts:
                out.put(part)
    return out.getvalue() if isinstance(out, Memory) else b""


def _parts(
    rgb: Rows, alpha: Alpha, output_format: OutputFormat, metadata: Metadata, workers: int
) -> Generator[bytes, None, None]:
    if output_format == "png":
        chunks = png_metadata.write(metadata, srgb_profile())
        yield from png.encode_parts(_with_alpha(rgb, alpha), workers=workers, chunks=chunks)
        return

    def flat(rows: slice) -> UInt8[np.ndarray, "rows W 3"]:
        return _to_bgr(rgb[rows] if alpha is None else _on_white(rgb[rows], alpha[rows]), None)

    shape = (rgb.shape[0], rgb.shape[1])
    parts = jpeg.encode_parts(flat, shape, quality=LOSSY_QUALITY, workers=workers)
    yield jpeg_metadata.write(next(parts), metadata, srgb_profile())
    yield from parts


def _encode_webp(rgb: Rows, alpha: Alpha, metadata: Metadata) -> bytes:
    height, width = rgb.shape[:2]
    if max(height, width) > WEBP_MAX_SIDE_PX:
        raise UnfitFormat(
            f"WebP holds at most {WEBP_MAX_SIDE_PX} px a side, the picture is {width} x {height}: ask for png or jpeg.",
            limit=WEBP_MAX_SIDE_PX,
            unit="px",
        )
    data = _imencode(".webp", _to_bgr(rgb[:], alpha), (cv2.IMWRITE_WEBP_QUALITY, LOSSY_QUALITY))
    return webp_metadata.write(data, metadata, srgb_profile(), (width, height))


def _with_alpha(rgb: Rows, alpha: Alpha) -> Rows:
    return rgb if alpha is None else _WithAlpha(rgb, alpha)


class _WithAlpha:
    """Rows with opacity as their last channel, (H, W, 4)."""

    def __init__(self, rgb: Rows, alpha: Shaped[np.ndarray, "H W"]) -> None:
        self._rgb, self._alpha = rgb, alpha
        self.shape: tuple[int, ...] = (*rgb.shape[:2], rgb.shape[2] + 1)
        self.dtype = rgb.dtype

    def __getitem__(self, rows: slice) -> Pixels:
        return np.dstack([self._rgb[rows], self._alpha[rows]])


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
