"""Which chroma sRGB can show at a lightness and hue, and colors brought down to it."""

from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from chroma.lab import lab_to_linear_rgb, lab_to_rgb_u8

GAMUT_L_STEPS: Final = 200
"""Intervals of L, from 0 to 100, in the gamut table."""
GAMUT_HUE_STEPS: Final = 512
"""Intervals of hue, round the circle, in the gamut table."""
YELLOW_EXCESS: Final = 0.032
"""How far linear red may pass 1 in the hue of yellow, linear light."""
_LOOKED_UP_AT_ONCE: Final = 256
"""Colors in a row of what OpenCV looks up or converts; it computes the end of a shorter row in another way."""
_RADIUS_LIMIT: Final = 200.0  # |a| + |b| of every sRGB color is below this
_RADIUS_TOLERANCE: Final = 1e-3  # Lab units


def fit_gamut(L: Float[np.ndarray, "*shape 1"], ab: Float[np.ndarray, "*shape 2"]) -> Float32[np.ndarray, "*shape 2"]:
    """Reduce chroma, at constant L and hue, until the color lies in sRGB.

    Clipping RGB instead would move L and turn the hue. The largest chroma comes from a table over L and hue, made once
    by bisection and read bilinearly: right to about 0.1 Lab units, 3 too low at the corners of the RGB cube (6 at pure
    yellow). Only at yellow hues above L = 90, where the boundary is folded, is a little left to the final clip, which
    then moves L by up to 0.4.

    Args:
        L: lightness, shape (..., 1); what is outside [0, 100] counts as its nearest end.
        ab: ab in Lab units, shape (..., 2).

    Returns:
        ab in Lab units, float32, shape (..., 2): the same where the color is in gamut, never of larger chroma, and 0
        where L is 0 or 100.
    """
    lightness = np.array(L, np.float32, order="C").reshape(-1)
    a, b = np.array(np.reshape(ab, (-1, 2)).T, np.float32, order="C")
    fit_planes(lightness, a, b)
    return np.stack([a, b], axis=-1).reshape(np.shape(ab))


def fit_planes(
    L: Float32[np.ndarray, "*shape"],
    a: Float32[np.ndarray, "*shape"],
    b: Float32[np.ndarray, "*shape"],
) -> None:
    """Do what `fit_gamut` does, in place.

    Args:
        L: lightness, any shape; what is outside [0, 100] counts as its nearest end.
        a: in Lab units, of the same shape, changed.
        b: likewise.
    """
    if not L.size:
        return
    gamut = gamut_table()
    # Most colors of a photograph are paler than any color on the boundary at their L: the others are looked up.
    radius = np.abs(a)
    radius += np.abs(b)
    steps = cv2.convertScaleAbs(np.maximum(L, 0), alpha=GAMUT_L_STEPS / 100).reshape(L.shape)
    vivid = np.flatnonzero(radius > cv2.LUT(steps, gamut.least).reshape(L.shape))
    if not vivid.size:
        return
    some_L, radius, some_a, some_b = (values.take(vivid) for values in (L, radius, a, b))
    factor = _gamut_factor(some_L, some_a, some_b, radius)
    a.reshape(-1)[vivid] = some_a * factor
    b.reshape(-1)[vivid] = some_b * factor


def _gamut_factor(
    L: Float32[np.ndarray, "pixels"],
    a: Float32[np.ndarray, "pixels"],
    b: Float32[np.ndarray, "pixels"],
    radius: Float32[np.ndarray, "pixels"],
) -> Float32[np.ndarray, "pixels"]:
    """Return by how much chroma is multiplied, at most 1; the radius is |a| + |b|, above 0."""
    # Whole rows of a few pixels: a last one with less would be computed in another way.
    row, column = np.zeros((2, _whole_rows(len(L)), _LOOKED_UP_AT_ONCE), np.float32)
    np.multiply(L, np.float32(GAMUT_L_STEPS / 100), out=row.reshape(-1)[: len(L)])
    np.multiply(_diamond_angle(a, b, radius), np.float32(GAMUT_HUE_STEPS / 4), out=column.reshape(-1)[: len(L)])
    highest = cv2.remap(gamut_table().table, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.minimum(highest.reshape(-1)[: len(L)], radius) / radius


def _whole_rows(pixels: int) -> int:
    """Return how many rows of `_LOOKED_UP_AT_ONCE` hold so many pixels."""
    return -(-pixels // _LOOKED_UP_AT_ONCE)


def fitted_u8(
    L: Float32[np.ndarray, "pixels"], a: Float32[np.ndarray, "pixels"], b: Float32[np.ndarray, "pixels"]
) -> UInt8[np.ndarray, "pixels 3"]:
    """Return 8-bit sRGB of what is brought into gamut before, converted by OpenCV.

    Args:
        L: lightness in [0, 100], shape (N,).
        a: in Lab units, shape (N,).
        b: likewise.

    Returns:
        sRGB, uint8, shape (N, 3).
    """
    # Whole rows here too, for the same reason as in `_gamut_factor`.
    planes = np.zeros((3, _whole_rows(len(L)) * _LOOKED_UP_AT_ONCE), np.float32)
    planes[:, : len(L)] = L, a, b
    radius = np.abs(a) + np.abs(b)
    radius += radius == 0
    planes[1:, : len(L)] *= _gamut_factor(L, a, b, radius)
    lab = cv2.merge(list(planes.reshape(3, -1, _LOOKED_UP_AT_ONCE)))
    return lab_to_rgb_u8(lab).reshape(-1, 3)[: len(L)]


def _diamond_angle(a: np.ndarray, b: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return the hue as a number in [0, 4], one unit a quadrant: the way round the diamond |a| + |b| = radius.

    It stands in for atan2, whose last bit may depend on where in an array a value lies; this has exact operations only.
    """
    across = a / radius
    return np.where(b >= 0, 1 - across, 3 + across)


class Gamut(NamedTuple):
    """The largest |a| + |b| in sRGB.

    Attributes:
        table: by L and diamond angle. It has one row and two columns more than steps, so that reading the neighbor of
            the last entry needs no special case.
        least: the least of it by L, rounded to the steps of the table, shape (256,).
    """

    table: Float32[np.ndarray, "rows columns"]
    least: Float32[np.ndarray, "256"]


@cache
def gamut_table() -> Gamut:
    """Find the gamut, once."""
    L = np.linspace(0, 100, GAMUT_L_STEPS + 1)[:, None, None]
    angle = np.arange(GAMUT_HUE_STEPS) * (4 / GAMUT_HUE_STEPS)
    direction_a = np.where(angle <= 2, 1 - angle, angle - 3)
    direction_b = np.where(angle <= 2, 1, -1) * (1 - np.abs(direction_a))
    direction = np.stack([direction_a, direction_b], axis=-1)
    # Near yellow the boundary is folded: on the straight way from gray to yellow red passes 1 by 3 %, then comes back.
    # Stopping at the fold would take three quarters of yellow's chroma, so red may pass 1 there, and is clipped later.
    hue = np.degrees(np.arctan2(direction_b, direction_a))[:, None]
    near_yellow = np.clip((L - 90) / 2, 0, 1) * np.clip((100 - L) / 2, 0, 1) * np.clip(2 - np.abs(hue - 102) / 7, 0, 1)
    highest = 1 + YELLOW_EXCESS * near_yellow * [1, 0, 0]
    inside = np.zeros((GAMUT_L_STEPS + 1, GAMUT_HUE_STEPS, 1))
    outside = np.full_like(inside, _RADIUS_LIMIT)
    while (outside - inside).max() > _RADIUS_TOLERANCE:
        middle = (inside + outside) / 2
        lab = np.concatenate([np.broadcast_to(L, middle.shape), middle * direction], axis=-1)
        linear = lab_to_linear_rgb(lab)
        is_inside = ((linear >= 0) & (linear <= highest)).all(axis=-1, keepdims=True)
        inside, outside = np.where(is_inside, middle, inside), np.where(is_inside, outside, middle)
    radius = inside[..., 0].astype(np.float32)
    radius[0] = radius[-1] = 0
    table = np.pad(np.pad(radius, ((0, 0), (0, 2)), mode="wrap"), ((0, 1), (0, 0)), mode="edge")
    # What rounds to a step lies between it and either neighbor.
    rows = table[:-1].min(axis=1)
    around = np.minimum.reduce([rows, np.append(rows[1:], rows[-1]), np.append(rows[0], rows[:-1])])
    return Gamut(table, np.pad(around, (0, 255 - GAMUT_L_STEPS), mode="edge"))
