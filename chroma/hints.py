"""Hints: a person says what color a few points have, and the picture follows, up to the edges of what is there.

Each hint spreads over the picture along ways that avoid steps of lightness; where it arrives, its color counts the more
the shorter the way was. Hints that meet are mixed, at a hint's own pixel that hint alone counts.

References:
    Levin, Lischinski, Weiss, "Colorization using Optimization", SIGGRAPH 2004 (colors follow lightness).
    Criminisi, Sharp, Rother, Perez, "Geodesic Image and Video Editing", ACM TOG 29(5), 2010 (distance by raster scans).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from chroma.compose import enlarge_ab
from chroma.framing import resize_lightness, size_within

WORK_SIDE_PX: Final = 512
"""Long side of the grid that hints spread on, px."""
MANY_HINTS: Final = 12
"""With more hints than this..."""
MANY_SIDE_PX: Final = 288
"""...the grid is coarser, px: each hint costs as many pixels as the grid has."""
REACH: Final = 0.3
"""Way over flat lightness after which a hint counts by exp(-1), in long sides of the picture."""
STEP_L: Final = 8.0
"""A step of lightness to the next pixel that costs as much as the whole reach, Lab units; half costs a quarter."""
GRAIN_FACTOR: Final = 1.5
"""Steps up to so many times the median step are taken for grain, and cost nothing..."""
MOST_GRAIN_L: Final = 1.5
"""...up to this, Lab units."""
SIMILAR_AB: Final = 18.0
"""A pixel whose predicted color differs by so much from that at the hint follows it by exp(-1/2), Lab units."""
SIMILAR_L: Final = 28.0
"""Likewise for lightness, Lab units: shadow and light of one thing are closer than most things are."""
UNIFORM: Final = 0.7
"""How far pixels take the hint's own color; the rest of it is a shift, which keeps what differed before."""
ROUNDS: Final = 4
"""Each round looks along the rows and the columns, both ways: a way may have about twice as many bends."""
LARGEST_AB: Final = 128.0
"""Bound of a and b of a hint, Lab units: every sRGB color lies within."""
_DENOISE_PX: Final = 5
_DENOISE_L: Final = 12.0


@dataclass(frozen=True)
class Hint:
    """The color of one point, as a person wants it.

    Attributes:
        x: from the left border, 0, to the right one, 1, of the upright picture.
        y: from the top, 0, to the bottom, 1.
        ab: in Lab units, each in [-128, 128]; (0, 0) makes gray. Chroma that sRGB cannot show is left out.
    """

    x: float
    y: float
    ab: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse what is no point of a picture or no color.

        Raises:
            ValueError: x or y is outside [0, 1], a or b outside [-128, 128], or one of them is no number.
        """
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise ValueError(f"a hint's x and y must be in [0, 1], are {self.x} and {self.y}")
        if not all(-LARGEST_AB <= value <= LARGEST_AB for value in self.ab):
            raise ValueError(f"a hint's a and b must be in [-128, 128], are {self.ab}")

    def pixel(self, height: int, width: int) -> tuple[int, int]:
        """Return (row, column) of the hint in a picture of a height and width, px."""
        return min(int(self.y * height), height - 1), min(int(self.x * width), width - 1)


def apply_hints(
    L: Float[np.ndarray, "H W 1"], ab: Float[np.ndarray, "h w 2"], hints: Sequence[Hint]
) -> Float32[np.ndarray, "work_h work_w 2"]:
    """Let ab follow hints.

    Where the weight of the hints is w and their mixed color m, ab becomes ab + w (m - (0.7 ab + 0.3 ab at the hint)).
    The weight is exp(-d^2) of the shortest way d to a hint, on which pixels and steps of lightness cost.

    Args:
        L: lightness in [0, 100], full size, shape (H, W, 1).
        ab: predicted ab in Lab units, shape (h, w, 2), of any size.
        hints: what a person wants; none changes nothing but the size.

    Returns:
        ab in Lab units for `chroma.compose.compose`, float32; its long side is that of L, at most 512 px. Enlarged
        bilinearly to (H, W) it has each hint's color at the hint's own pixel, unless hints contradict within a pixel.

    Raises:
        ValueError: L or ab is empty or of another shape, or ab has a NaN or infinity.
    """
    if L.ndim != 3 or L.shape[-1] != 1 or L.size == 0:
        raise ValueError(f"expected L of shape (H, W, 1), got {L.shape}")
    shape = (L.shape[0], L.shape[1])
    side = WORK_SIDE_PX if len(hints) <= MANY_HINTS else MANY_SIDE_PX
    work = size_within(*shape, side)
    before = enlarge_ab(ab, work)
    if not hints:
        return before
    small_L = resize_lightness(np.asarray(L, np.float32), work)[..., 0]
    calm = cv2.bilateralFilter(small_L, _DENOISE_PX, _DENOISE_L, _DENOISE_PX / 2)
    costs = _costs(calm)

    total = np.zeros(work, np.float32)
    strongest = np.zeros(work, np.float32)
    change = np.zeros((*work, 2), np.float32)
    for hint in hints:
        seed = _seed(hint, L, small_L)
        distance = _distances(seed, costs)
        unlike = np.square(before - before[seed]).sum(axis=-1) / np.float32(2 * SIMILAR_AB**2)
        unlike += np.square(calm - calm[seed]) / np.float32(2 * SIMILAR_L**2)
        weight = np.exp(-np.square(distance) - unlike)
        strongest = np.maximum(strongest, weight)
        share = weight / (np.square(distance) + np.float32(1e-6)) + np.float32(1e-30)
        wanted = np.asarray(hint.ab, np.float32)
        total += share
        change += share[..., None] * (wanted - UNIFORM * before - (1 - UNIFORM) * before[seed])
    after = before + (strongest / total)[..., None] * change
    return _meet(after, hints, shape)


def _costs(L: Float32[np.ndarray, "h w"]) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Return what it costs from the border to each pixel along its row, and along its column; 1 is the whole reach."""
    steps = [np.abs(np.diff(L, axis=axis, prepend=L.take([0], axis=axis))) for axis in (0, 1)]
    grain = min(GRAIN_FACTOR * float(np.median(np.maximum(*steps))), MOST_GRAIN_L)
    pixel = 1 / (REACH * max(L.shape))
    down, right = (
        np.cumsum(np.square(np.maximum(step - grain, 0) / STEP_L) + pixel, axis=axis, dtype=np.float64)
        for axis, step in enumerate(steps)
    )
    return down.astype(np.float32), right.astype(np.float32)


def _distances(
    seed: tuple[int, int], costs: tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]
) -> Float32[np.ndarray, "h w"]:
    start = np.zeros(costs[0].shape, bool)
    start[seed] = True
    return distances_from(start, costs)


def distances_from(
    start: Bool[np.ndarray, "h w"], costs: tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]
) -> Float32[np.ndarray, "h w"]:
    """Return the cost of the cheapest way to each pixel, by scans along rows and columns, both ways.

    A scan of one row is min over i <= j of (d_i - C_i) + C_j, where C is the cumulated cost.

    Args:
        start: where ways begin, shape (h, w).
        costs: cumulated from the border, along columns and along rows.
    """
    distance = np.where(start, np.float32(0), np.float32(1e6))
    for _ in range(ROUNDS):
        for axis in (1, 0):
            cost = costs[axis]
            ahead = np.minimum.accumulate(distance - cost, axis=axis) + cost
            behind = np.flip(np.minimum.accumulate(np.flip(distance + cost, axis), axis=axis), axis) - cost
            distance = np.minimum(ahead, behind)
    return np.where(start, np.float32(0), np.maximum(distance, 0))


def _seed(hint: Hint, L: Float[np.ndarray, "H W 1"], small_L: Float32[np.ndarray, "h w"]) -> tuple[int, int]:
    """Return the pixel of the small grid that a hint starts from: of those around it, the one most like it in L."""
    row, column = hint.pixel(L.shape[0], L.shape[1])
    shape, small = (L.shape[0], L.shape[1]), (small_L.shape[0], small_L.shape[1])
    rows, columns, shares = corners_of((row, column), shape, small)
    unlike = np.abs(small_L[rows, columns] - L[row, column, 0]) - shares
    best = int(unlike.argmin())
    return int(rows[best]), int(columns[best])


def corners_of(
    pixel: tuple[int, int], shape: tuple[int, int], small: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, Float32[np.ndarray, "4"]]:
    """Return rows, columns and shares of the four small pixels that bilinear enlargement makes a pixel of.

    Args:
        pixel: row and column.
        shape: height and width of the picture that it is in, px.
        small: of the one that is enlarged, px.
    """
    lower, share = [], []
    for at, full, few in zip(pixel, shape, small, strict=True):
        position = min(max((at + 0.5) * few / full - 0.5, 0.0), few - 1.0)
        lower.append(int(position))
        share.append(position - int(position))
    rows = np.minimum(lower[0] + np.array([0, 0, 1, 1]), small[0] - 1)
    columns = np.minimum(lower[1] + np.array([0, 1, 0, 1]), small[1] - 1)
    shares = np.outer([1 - share[0], share[0]], [1 - share[1], share[1]]).ravel().astype(np.float32)
    return rows, columns, shares


def _meet(
    ab: Float32[np.ndarray, "h w 2"], hints: Sequence[Hint], shape: tuple[int, int], rounds: int = 8
) -> Float32[np.ndarray, "h w 2"]:
    """Correct the pixels around each hint until the enlarged picture has the hint's color there.

    Kaczmarz's method: each hint in turn spreads what is missing over its four pixels, by their shares. What is left
    where hints contradict each other becomes their mean.
    """
    met = ab.copy()
    small = ab.shape[0], ab.shape[1]
    highest = max(max(abs(value) for value in hint.ab) for hint in hints) + float(np.abs(ab).max())
    for turn in range(rounds):
        for hint in hints:
            rows, columns, shares = corners_of(hint.pixel(*shape), shape, small)
            missing = np.asarray(hint.ab, np.float32) - shares @ met[rows, columns]
            # unbuffered: at a border two of the four are the same pixel
            at = np.unique(np.stack([rows, columns], axis=1), axis=0)
            weights = np.array([shares[(rows == row) & (columns == column)].sum() for row, column in at], np.float32)
            step = missing * weights[:, None] / np.square(weights).sum() / np.float32(1 if turn < rounds // 2 else 2)
            met[at[:, 0], at[:, 1]] += step
    return np.clip(met, -highest, highest)
