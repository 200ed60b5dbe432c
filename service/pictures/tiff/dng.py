"""Linear raw levels of a DNG -> sRGB: black and white level, linearization, white balance and color matrix.

The picture is developed as plainly as can be: neither tone curves, nor looks, nor lens corrections are applied. A DNG
that cannot be shown without a correction says so, and is refused.

References:
    Digital Negative 1.7.1 (Adobe, 2023), chapters 2 (tags), 5 (levels), 6 (colors), 7 (lists of operations).
"""

import struct
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from chroma.lab import RGB_TO_XYZ, WHITE
from service.errors import UnsupportedPicture
from service.pictures.levels import Alpha, Pixels
from service.pictures.tiff.colors import D50_WHITE, Convert, adaptation, quantized, srgb_levels
from service.pictures.tiff.directory import Directory, Tiff
from service.pictures.tiff.layout import Layout
from service.pictures.tiff.parts import Samples

DNG_VERSION: Final = 50706
LINEARIZATION_TABLE: Final = 50712
BLACK_REPEATS: Final = 50713
BLACK_LEVEL: Final = 50714
BLACK_BY_COLUMN: Final = 50715
BLACK_BY_ROW: Final = 50716
WHITE_LEVEL: Final = 50717
CROP_ORIGIN: Final = 50719
CROP_SIZE: Final = 50720
COLOR_MATRICES: Final = (50721, 50722, 52531)
CAMERA_CALIBRATIONS: Final = (50723, 50724, 52530)
ANALOG_BALANCE: Final = 50727
AS_SHOT_NEUTRAL: Final = 50728
AS_SHOT_WHITE_XY: Final = 50729
ILLUMINANTS: Final = (50778, 50779, 52529)
ACTIVE_AREA: Final = 50829
OPERATIONS: Final = (51008, 51009, 51022)

DAYLIGHTS: Final = (21, 20, 23, 1, 4, 9, 10, 11, 12, 13)
"""EXIF's numbers of light sources near D65, the best first."""

LEAST_DETERMINANT: Final = 1e-9
"""A matrix of less has no inverse worth the name."""

MOST_OPERATIONS: Final = 256

OPTIONAL: Final = 1
"""The flag of an operation that may be left out."""

LEAST_SHARE_SHOWN: Final = 0.5
"""A crop that leaves less of the stored pixels is not believed."""


def check_operations(found: Directory) -> None:
    """Refuse raw levels that must not be shown without a correction.

    Raises:
        UnsupportedPicture: there is one that is not optional.
    """
    for tag in OPERATIONS:
        stored = found.view(tag)
        place = 4
        for _ in range(min(int.from_bytes(stored[:4], "big"), MOST_OPERATIONS)):
            if place + 16 > len(stored):
                break
            _, _, flags, size = struct.unpack_from(">4L", stored, place)
            if not flags & OPTIONAL:
                raise UnsupportedPicture(
                    "The DNG holds raw levels that need its lens corrections: develop it first and send a TIFF or JPEG."
                )
            place += 16 + size


def crop(found: Directory, layout: Layout) -> tuple[slice, slice]:
    """Return rows and columns that are to be shown: all, where the file says nothing that makes sense."""
    top, left, bottom, right = _area(found, layout)
    across, down = _pair(found, CROP_ORIGIN, (0, 0))
    width, height = _pair(found, CROP_SIZE, (right - left - across, bottom - top - down))
    rows = slice(top + down, min(top + down + height, bottom))
    columns = slice(left + across, min(left + across + width, right))
    shown = max(rows.stop - rows.start, 0) * max(columns.stop - columns.start, 0)
    if shown < LEAST_SHARE_SHOWN * layout.width * layout.height:
        return slice(0, layout.height), slice(0, layout.width)
    return rows, columns


def _area(found: Directory, layout: Layout) -> tuple[int, int, int, int]:
    area = found.integers(ACTIVE_AREA)
    if len(area) != 4:
        return 0, 0, layout.height, layout.width
    top, left, bottom, right = area
    is_inside = 0 <= top < bottom <= layout.height and 0 <= left < right <= layout.width
    return (top, left, bottom, right) if is_inside else (0, 0, layout.height, layout.width)


def _pair(found: Directory, tag: int, default: tuple[int, int]) -> tuple[int, int]:
    values = found.numbers(tag)
    if len(values) != 2 or not all(0 <= value < 1 << 31 for value in values):
        return default
    return round(values[0]), round(values[1])


def developer(layout: Layout, tiff: Tiff, found: Directory) -> Convert:
    """Return what makes pixels of 16 bits of linear raw samples.

    Args:
        layout: of the picture.
        tiff: the file; colors are told by its first directory.
        found: the picture's directory, which tells levels.
    """
    table = found.array(LINEARIZATION_TABLE)
    table = table if table.dtype.kind == "u" and table.ndim == 1 else table[:0]
    black = _black(found, layout)
    white = np.array(_for_each(found.numbers(WHITE_LEVEL), layout.colors, _whitest(layout)))
    scale = 1 / np.where(white > black, white - black, 1)
    neutral, matrix = camera_to_srgb(tiff.directory(tiff.first), layout.colors)

    def convert(samples: Samples) -> tuple[Pixels, Alpha]:
        levels = samples[..., : layout.colors]
        if table.size and layout.kind == "u":
            levels = table[np.minimum(levels, table.size - 1)]
        linear = np.nan_to_num((levels.astype(np.float64) - black) * scale, nan=0.0)
        # Where one channel is full the light is white, not of the color of the others.
        balanced = np.clip(linear / neutral, 0, 1)
        light = balanced[..., 0] if layout.colors == 1 else balanced @ matrix.T
        return srgb_levels(light, np.dtype(np.uint16)), _alpha(layout, samples)

    return convert


def _alpha(layout: Layout, samples: Samples) -> Alpha:
    """Return opacity; raw levels come with none that a camera would write."""
    if layout.alpha is None:
        return None
    most = 1.0 if layout.kind == "f" else 2.0**layout.bits - 1
    return quantized(np.clip(samples[..., layout.alpha] / most, 0, 1), np.dtype(np.uint16))


def _whitest(layout: Layout) -> float:
    return 1.0 if layout.kind == "f" else 2.0**layout.bits - 1


def _black(found: Directory, layout: Layout) -> Float[np.ndarray, "colors"]:
    """Return the black level of each channel: the mean over the pattern that it repeats in and over the picture."""
    down, across = (*found.integers(BLACK_REPEATS, (1, 1)), 1, 1)[:2]
    values = found.numbers(BLACK_LEVEL, (0.0,))
    if down * across > 1 and len(values) == down * across * layout.samples:
        values = tuple(np.reshape(values, (down * across, layout.samples)).mean(0).tolist())
    deltas = [found.numbers(tag) for tag in (BLACK_BY_COLUMN, BLACK_BY_ROW)]
    return np.array(_for_each(values, layout.colors, 0.0)) + sum(np.mean(delta) for delta in deltas if delta)


def _for_each(values: tuple[float, ...], channels: int, default: float) -> list[float]:
    """Return a number for each channel, the first where there is only one."""
    if not values:
        return [default] * channels
    return [values[min(channel, len(values) - 1)] for channel in range(channels)]


def camera_to_srgb(
    first: Directory, colors: int
) -> "tuple[Float[np.ndarray, 'colors'], Float[np.ndarray, 'colors colors']]":
    """Return what white is to a camera, and the matrix to linear sRGB from levels that are divided by it.

    Args:
        first: the file's first directory.
        colors: channels of the camera.
    """
    to_camera = _to_camera(first, colors) if colors == 3 else None
    neutral = np.array(_for_each(first.numbers(AS_SHOT_NEUTRAL), colors, 1.0))
    if to_camera is not None and AS_SHOT_NEUTRAL not in first:
        x, y = (*first.numbers(AS_SHOT_WHITE_XY), 0.0, 0.0)[:2]
        neutral = to_camera @ (np.array([x, y, 1 - x - y]) / y if y > 0 else D50_WHITE)
    if not neutral.min() > 0:
        return np.ones(colors), np.eye(colors)
    neutral = neutral / neutral.max()
    if to_camera is None or abs(np.linalg.det(to_camera)) < LEAST_DETERMINANT:
        return neutral, np.eye(colors)
    from_balanced = np.linalg.inv(to_camera) @ np.diag(neutral)
    white = from_balanced.sum(axis=1)
    if not white[1] > 0:
        return neutral, np.eye(colors)
    to_white = np.linalg.inv(RGB_TO_XYZ) @ adaptation(white / white[1], WHITE)
    return neutral, np.asarray(to_white @ from_balanced / white[1])


def _to_camera(first: Directory, colors: int) -> "np.ndarray[Any, np.dtype[Any]] | None":
    """Return the matrix from XYZ to the camera's levels by the light nearest to day; None where there is none."""
    found = [
        (index, matrix)
        for index, tag in enumerate(COLOR_MATRICES)
        if (matrix := _matrix(first, tag, colors, 3)) is not None
    ]
    if not found:
        return None
    lights = [first.integer(tag, 0) for tag in ILLUMINANTS]
    rank = {light: place for place, light in enumerate(DAYLIGHTS)}
    index, matrix = min(found, key=lambda each: rank.get(lights[each[0]], len(rank)))
    calibration = _matrix(first, CAMERA_CALIBRATIONS[index], colors, colors)
    balance = np.diag(_for_each(first.numbers(ANALOG_BALANCE), colors, 1.0))
    return np.asarray(balance @ (np.eye(colors) if calibration is None else calibration) @ matrix)


def _matrix(first: Directory, tag: int, rows: int, columns: int) -> "np.ndarray[Any, np.dtype[Any]] | None":
    values = first.numbers(tag)
    return np.array(values).reshape(rows, columns) if len(values) == rows * columns else None
