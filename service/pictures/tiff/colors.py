"""Samples -> levels: gray or RGB of 8 or 16 bits, and opacity, by what PhotometricInterpretation says.

References:
    TIFF 6.0 (Aldus, 1992), sections 4, 5, 18 to 23. Adobe Photoshop TIFF Technical Notes (2002): ICCLab. ICC.1:2001-04,
    annex A: 16-bit Lab, in which 0xFF00 is L = 100. Lindbloom, brucelindbloom.com: Lab, Bradford.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Shaped

from chroma.lab import RGB_TO_XYZ, WHITE, encode_srgb
from service.pictures.levels import Alpha, Pixels, divided, to_8_bits
from service.pictures.tiff import directory as tags
from service.pictures.tiff.directory import Directory
from service.pictures.tiff.layout import (
    CIELAB,
    ICCLAB,
    PALETTE,
    WHITE_IS_ZERO,
    Layout,
)
from service.pictures.tiff.parts import Samples

D50_WHITE: Final = np.array([0.96422, 1.0, 0.82521])
"""XYZ of the white of Lab, and of the colors that DNG matrices lead to."""

BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""XYZ to the cones' answers (Lindbloom; ICC.1:2022, annex E)."""

YCBCR_OF_TELEVISION: Final = (0.299, 0.587, 0.114)
"""Luma's coefficients where a file does not say (ITU-R BT.601)."""

FULL_RANGE: Final = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
"""ReferenceBlackWhite of YCbCr where a file does not say."""

LAB_JOINT: Final = 6 / 29
"""CIE 15: below this share Lab's function is a straight line."""

Convert = Callable[[Samples], tuple[Pixels, Alpha]]
"""Rows of samples -> rows of pixels, gray (H, W), RGB (H, W, 3) or CMYK (H, W, 4), and of opacity."""


@dataclass(frozen=True)
class Range:
    """What a sample may be.

    Attributes:
        low: that is black.
        high: that is white.
        steps: levels of the answer less one, 255 or 65535.
        is_said: whether it is sure, since the file says so or its type does.
    """

    low: float
    high: float
    steps: int
    is_said: bool


def converter(layout: Layout, found: Directory) -> Convert:
    """Return what makes pixels of a layout's samples.

    Args:
        layout: of the picture; any but linear raw.
        found: its directory.
    """
    to_levels = _to_levels(layout, range_of(layout, found))
    to_colors = _to_colors(layout, found, to_levels)

    def convert(samples: Samples) -> tuple[Pixels, Alpha]:
        pixels = to_colors(samples[..., : layout.colors])
        if layout.alpha is None:
            return pixels, None
        alpha = _in_depth(to_levels(samples[..., layout.alpha]), pixels.dtype)
        return (divided(pixels, alpha) if layout.is_associated else pixels), alpha

    return convert


def range_of(layout: Layout, found: Directory) -> Range:
    """Return what black and white are: for whole numbers the ends of their type, for others 0 and 1.

    SMinSampleValue and SMaxSampleValue count where levels are signed or floating-point, and for those alone: to
    unsigned ones programs write what there happens to be in a picture.
    """
    steps = 65535 if layout.bits > 8 else 255
    low, high = {
        "u": (0.0, 2.0**layout.bits - 1),
        "i": (-(2.0 ** (layout.bits - 1)), 2.0 ** (layout.bits - 1) - 1),
        "f": (0.0, 1.0),
    }[layout.kind]
    said = _said_range(layout, found)
    return Range(*(said or (low, high)), steps, is_said=said is not None or layout.kind == "u")


def _said_range(layout: Layout, found: Directory) -> tuple[float, float] | None:
    lowest, highest = found.numbers(tags.LOWEST_SAMPLE), found.numbers(tags.HIGHEST_SAMPLE)
    if layout.kind == "u" or not lowest or not highest:
        return None
    low, high = min(lowest), max(highest)
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _to_levels(layout: Layout, limits: Range) -> Callable[[Shaped[np.ndarray, "*shape"]], Shaped[np.ndarray, "*shape"]]:
    """Return what makes levels of 8 or 16 bits of samples."""
    dtype = np.dtype(np.uint16 if limits.steps == 65535 else np.uint8)
    if layout.kind == "u" and layout.bits in (8, 16):
        return lambda samples: samples
    if layout.kind == "u" and layout.bits < 16:
        # Dividing each sample would take far longer.
        table = np.rint(np.arange(1 << layout.bits) * (limits.steps / limits.high)).astype(dtype)
        return lambda samples: np.asarray(table[samples])

    def scaled(samples: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
        share = (samples.astype(np.float64) - limits.low) * (limits.steps / (limits.high - limits.low))
        return np.asarray(np.rint(np.clip(np.nan_to_num(share, nan=0.0), 0, limits.steps)).astype(dtype))

    return scaled


def _to_colors(
    layout: Layout, found: Directory, to_levels: Callable[[Shaped[np.ndarray, "*shape"]], Shaped[np.ndarray, "*shape"]]
) -> Callable[[Samples], Pixels]:
    """Return what makes pixels of the color channels."""
    if layout.is_ycbcr:
        return _from_ycbcr(found)
    if layout.photometric == PALETTE:
        palette = read_palette(found, layout.bits)
        return lambda samples: np.asarray(palette[samples[..., 0]])
    if layout.photometric in (CIELAB, ICCLAB):
        return lambda samples: _from_lab(layout, samples)
    if layout.photometric == WHITE_IS_ZERO:
        return lambda samples: np.asarray(~to_levels(samples[..., 0]))
    if layout.colors == 1:
        return lambda samples: np.asarray(to_levels(samples[..., 0]))
    return to_levels


def read_palette(found: Directory, bits: int) -> Shaped[np.ndarray, "indices 3"]:
    """Return the colors of a palette: uint8 where that is all it holds, else uint16; what is missing is black.

    Some programs write levels of 8 bits into the 16 that there are, some shift them, and some repeat them.
    """
    stored = found.array(tags.COLOR_MAP)
    size = 1 << bits
    whole = np.zeros((3, size), np.uint16)
    if stored.dtype.kind == "u" and stored.ndim == 1:
        given = stored[: len(stored) // 3 * 3].reshape(3, -1)[:, :size]
        whole[:, : given.shape[1]] = given
    if whole.max() < 256:
        return np.asarray(whole.T.astype(np.uint8))
    high, low = whole >> 8, whole & 255
    if (low == high).all() or not low.any():
        return np.asarray(high.T.astype(np.uint8))
    return np.ascontiguousarray(whole.T)


def is_deep_palette(found: Directory, bits: int) -> bool:
    """Whether a palette's colors have 16 bits."""
    return read_palette(found, bits).dtype == np.uint16


def _from_ycbcr(found: Directory) -> Callable[[Samples], Pixels]:
    """Return what makes RGB of YCbCr (TIFF 6.0, section 21)."""
    red, green, blue = _three(found.numbers(tags.YCBCR_COEFFICIENTS), YCBCR_OF_TELEVISION)
    given = found.numbers(tags.REFERENCE_BLACK_WHITE, FULL_RANGE)
    limits = given if len(given) == 6 and all(given[at] < given[at + 1] for at in (0, 2, 4)) else FULL_RANGE
    black = np.array(limits[::2], np.float32)
    scale = np.array([255, 127, 127], np.float32) / (np.array(limits[1::2], np.float32) - black)
    if not green:
        red, green, blue = YCBCR_OF_TELEVISION
    to_rgb = np.array(
        [
            [1, 0, 2 - 2 * red],
            [1, -blue * (2 - 2 * blue) / green, -red * (2 - 2 * red) / green],
            [1, 2 - 2 * blue, 0],
        ],
        np.float32,
    )

    def convert(samples: Samples) -> Pixels:
        rgb = ((samples.astype(np.float32) - black) * scale) @ to_rgb.T
        return np.asarray(np.rint(np.clip(rgb, 0, 255)).astype(np.uint8))

    return convert


def _three(values: Sequence[float], default: tuple[float, float, float]) -> tuple[float, float, float]:
    return (values[0], values[1], values[2]) if len(values) == 3 else default


def _from_lab(layout: Layout, samples: Samples) -> Pixels:
    """Return sRGB of Lab, or gray of lightness alone."""
    is_icc, is_deep = layout.photometric == ICCLAB, layout.bits == 16
    size = np.dtype(np.uint16 if is_deep else np.uint8)
    levels = samples.astype(size, copy=False)
    unit = 256.0 if is_deep else 1.0
    white = (65280.0 if is_icc else 65535.0) if is_deep else 255.0
    lightness = levels[..., 0] * (100 / white)
    stored = levels[..., 1:] if is_icc else levels[..., 1:].view(np.int16 if is_deep else np.int8)
    chroma = stored.astype(np.float64) / unit - (128 if is_icc else 0)
    height = (lightness + 16) / 116
    if layout.colors == 1:
        return srgb_levels(_from_lab_share(height), size)
    shares = np.stack([height + chroma[..., 0] / 500, height, height - chroma[..., 1] / 200], axis=-1)
    return srgb_levels((_from_lab_share(shares) * D50_WHITE) @ d50_to_srgb().T, size)


def _from_lab_share(share: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.where(share > LAB_JOINT, share**3, 3 * LAB_JOINT**2 * (share - 4 / 29))


@cache
def d50_to_srgb() -> Float[np.ndarray, "3 3"]:
    """Return the matrix from XYZ under D50 to linear sRGB."""
    return np.asarray(np.linalg.inv(RGB_TO_XYZ) @ adaptation(D50_WHITE, WHITE))


def adaptation(white: Float[np.ndarray, "3"], wanted: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Return the matrix from XYZ under one white to XYZ under another, by Bradford."""
    scale = np.diag((BRADFORD @ wanted) / (BRADFORD @ white))
    return np.asarray(np.linalg.inv(BRADFORD) @ scale @ BRADFORD)


def srgb_levels(linear: Float[np.ndarray, "*shape"], dtype: "np.dtype[Any]") -> Pixels:
    """Return sRGB levels of linear light; what is outside [0, 1] is clipped."""
    return quantized(encode_srgb(np.clip(linear, 0, 1)), dtype)


def quantized(shares: Float[np.ndarray, "*shape"], dtype: "np.dtype[Any]") -> Pixels:
    """Return levels of a type of shares in [0, 1]."""
    return np.asarray(np.rint(shares * np.iinfo(dtype).max).astype(dtype))


def _in_depth(levels: Shaped[np.ndarray, "*shape"], dtype: "np.dtype[Any]") -> Shaped[np.ndarray, "*shape"]:
    """Return levels in the depth of the pixels that they go with."""
    if levels.dtype.itemsize == dtype.itemsize:
        return levels
    return to_8_bits(levels) if dtype == np.uint8 else levels.astype(np.uint16) * 257
