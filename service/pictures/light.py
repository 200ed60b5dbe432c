"""Levels -> light -> sRGB levels: a curve for each channel and a matrix, in the depth of the pixels.

What an RGB or gray profile of curves, cICP, gAMA and cHRM say is all of this form. The tables are so fine that 16 bits
stay 16 bits in the shadows, where sRGB is steep.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, Shaped

from chroma.lab import RGB_TO_XYZ, WHITE, encode_srgb
from service.pictures.levels import Pixels, holds_grays
from service.pictures.signals import BT_709, Primaries, Signal

Curve = Callable[[Float[np.ndarray, "n"]], Float[np.ndarray, "n"]]
"""Levels in [0, 1] -> light; black gives 0 and white 1."""

Matrix = Float[np.ndarray, "3 3"]
"""Light of the file's channels -> light of sRGB's."""

LIGHT_STEPS: Final = 1 << 20
"""Entries of the table from light to levels: sRGB climbs 12.92 levels a step near black, so a sixteenth of this would
be as coarse as 13 levels of 65,535."""

STRIP_PIXELS: Final = 1 << 18
"""Pixels converted at a time, so that what is between stays in the processor's cache."""

UNIT_TOLERANCE: Final = 0.003
"""How far a matrix may be from none, in each of its entries: profiles of sRGB differ by so much."""

BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""Adapts one white to another (ICC.1:2022, annex E)."""

SRGB_COLORANTS: Final = np.array(
    [[0.43603516, 0.38511658, 0.14305115], [0.22248840, 0.71690369, 0.06060791], [0.01391602, 0.09706116, 0.71391296]]
)
"""XYZ of sRGB's primaries under D50, as Little CMS writes them into its profile. Computed ones differ in the fourth
decimal, which would set saturated colors apart from what every other program makes of a profile."""


LUMINANCE: Final = RGB_TO_XYZ[1].astype(np.float32)
"""Shares of sRGB's channels in luminance."""


class Conversion:
    """Turns levels into sRGB levels."""

    def __init__(self, curves: Sequence[Curve], matrix: Matrix | None = None) -> None:
        """Take curves and a matrix.

        Args:
            curves: one for gray, or three.
            matrix: for three; None: the primaries are sRGB's.
        """
        self._curves = tuple(curves)
        self._matrix = None if matrix is None else _white_kept(matrix)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return len(self._curves)

    def distance(self) -> float:
        """Return by how much it moves a level at most, in shares of white; infinite where the primaries differ."""
        if self._matrix is not None and np.abs(self._matrix - np.eye(3)).max() > UNIT_TOLERANCE:
            return np.inf
        levels = np.arange(1025) / 1024
        return float(max(np.abs(_encode(curve(levels)) - levels).max() for curve in self._curves))

    def apply(self, pixels: Pixels) -> Pixels:
        """Return sRGB pixels; gray (H, W) or RGB (H, W, 3) as there are curves, uint8 or uint16 in and out."""
        if pixels.ndim == 2:
            return _look_up(self._direct(0, pixels.dtype), pixels)
        is_unit = self._matrix is None or np.abs(self._matrix - np.eye(3)).max() <= UNIT_TOLERANCE
        if is_unit:
            tables = [self._direct(channel, pixels.dtype) for channel in range(3)]
            return np.stack([_look_up(table, pixels[..., at]) for at, table in enumerate(tables)], axis=-1)
        if self._keeps_gray(pixels.dtype) and holds_grays(pixels):
            return np.repeat(_look_up(self._direct(0, pixels.dtype), pixels[..., 0])[..., None], 3, axis=-1)
        return self._through_matrix(pixels)

    def _keeps_gray(self, dtype: np.dtype[Any]) -> bool:
        """Whether what has equal levels has equal ones afterwards."""
        assert self._matrix is not None
        first, *others = (curve(_all_levels(dtype)) for curve in self._curves)
        return bool(np.allclose(self._matrix.sum(axis=1), 1)) and all(np.array_equal(first, other) for other in others)

    def _direct(self, channel: int, dtype: np.dtype[Any]) -> Shaped[np.ndarray, "levels"]:
        """Return the table from levels to levels of one channel."""
        return _to_levels(_encode(self._curves[channel](_all_levels(dtype))), dtype)

    def _through_matrix(self, pixels: Pixels) -> Pixels:
        assert self._matrix is not None
        levels = _all_levels(pixels.dtype)
        light = [np.asarray(curve(levels), np.float32) for curve in self._curves]
        matrix = self._matrix.astype(np.float32)
        table = _to_levels(_encode(np.arange(LIGHT_STEPS) / (LIGHT_STEPS - 1)), pixels.dtype)
        flat = pixels.reshape(-1, 3)
        converted = np.empty_like(flat)
        for start in range(0, len(flat), STRIP_PIXELS):
            part = flat[start : start + STRIP_PIXELS]
            linear = np.stack([channel[part[:, at]] for at, channel in enumerate(light)], axis=-1)
            mixed = cv2.transform(linear[None], matrix)[0]
            _keep_luminance(mixed)
            mixed *= LIGHT_STEPS - 1
            mixed += 0.5
            converted[start : start + STRIP_PIXELS] = table[mixed.astype(np.int32)]
        return converted.reshape(pixels.shape)


def _keep_luminance(light: Float32[np.ndarray, "n 3"]) -> None:
    """Pull what sRGB cannot show towards the gray of its luminance, in place, until it can: only lightness counts, and
    clipping the channels would change it.
    """  # noqa: D205 - the sentence is that long
    if light.min() < 0 or light.max() > 1:
        red, green, blue = light.T
        least, most = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
        outside = (least < 0) | (most > 1)
        beyond = light[outside]
        gray = np.clip(beyond @ LUMINANCE, 0, 1)
        above, below = most[outside] - gray, gray - least[outside]
        share = np.minimum((1 - gray) / np.maximum(above, 1 - gray), gray / np.maximum(below, gray))
        light[outside] = gray[:, None] + share[:, None] * (beyond - gray[:, None])
    np.clip(light, 0, 1, out=light)


def of_signal(signal: Signal, channels: int) -> Conversion:
    """Return the conversion of what a file says in numbers, for 1 or 3 channels; gray has no primaries."""
    if channels == 1:
        return Conversion([signal.to_linear])
    matrix = None if signal.primaries == BT_709 else np.linalg.inv(RGB_TO_XYZ) @ _to_xyz(signal.primaries, WHITE)
    return Conversion([signal.to_linear] * 3, matrix)


def of_colorants(curves: Sequence[Curve], colorants: Matrix) -> Conversion:
    """Return the conversion of a profile's curves and colorants, columns of XYZ under D50."""
    return Conversion(curves, np.linalg.inv(SRGB_COLORANTS) @ colorants)


def adaptation(source: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"]) -> Matrix:
    """Return the matrix that takes XYZ under one white to XYZ under another."""
    gains = (BRADFORD @ target) / (BRADFORD @ source)
    return np.asarray(np.linalg.inv(BRADFORD) @ np.diag(gains) @ BRADFORD)


def _to_xyz(primaries: Primaries, white: Float[np.ndarray, "3"]) -> Matrix:
    """Return the matrix from light of some primaries to XYZ, adapted to a white."""
    points = np.array(primaries).reshape(4, 2)
    xyz = np.column_stack([points, 1 - points.sum(axis=1)]) / points[:, 1:]
    gains = np.linalg.solve(xyz[:3].T, xyz[3])
    return np.asarray(adaptation(xyz[3], white) @ (xyz[:3].T * gains))


def _white_kept(matrix: Matrix) -> Matrix:
    """Return a matrix that leaves gray gray, where it nearly does: files hold rounded numbers."""
    sums = matrix.sum(axis=1)
    return matrix / sums[:, None] if np.abs(sums - 1).max() < 10 * UNIT_TOLERANCE else matrix


def _all_levels(dtype: np.dtype[Any]) -> Float[np.ndarray, "levels"]:
    top = np.iinfo(dtype).max
    return np.arange(top + 1) / top


def _encode(light: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return encode_srgb(np.clip(np.nan_to_num(light), 0, 1))


def _to_levels(shares: Float[np.ndarray, "n"], dtype: np.dtype[Any]) -> Shaped[np.ndarray, "n"]:
    top = np.iinfo(dtype).max
    return np.asarray(np.rint(np.clip(shares, 0, 1) * top), dtype)


def _look_up(table: Shaped[np.ndarray, "levels"], levels: Shaped[np.ndarray, "H W"]) -> Shaped[np.ndarray, "H W"]:
    return (
        np.asarray(cv2.LUT(np.ascontiguousarray(levels), table))
        if levels.dtype == np.uint8
        else np.asarray(table[levels])
    )
