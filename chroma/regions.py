"""Regions: a person marks a thing with a few clicks or strokes, and the region grows over it, up to its edges.

What belongs to it is judged pixel by pixel, on a coarse grid, by how far it is from the marks along ways that avoid
steps of lightness and of the network's posterior, how much it is like the places marked, and how it is like the
picture's border, which mostly is background. A small network, fitted to masks (`chroma.region_network`), weighs these
and what lies around. The grid is then enlarged along the edges of lightness.

References:
    Criminisi, Sharp, Rother, Perez, "Geodesic Image and Video Editing", ACM TOG 29(5), 2010 (distance by raster scans).
    He, Sun, Tang, "Guided Image Filtering", ECCV 2010.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from chroma.compose import enlarge_ab
from chroma.framing import resize_lightness, size_within
from chroma.hints import LARGEST_AB, UNIFORM, WORK_SIDE_PX, distances_from
from chroma.region_network import at_half, directions_of, judge
from chroma.region_shape import connected, filled, parts_with, uniform_around

GRID_SIDE_PX: Final = 160
"""Long side of the grid that regions grow on, px."""
COMPONENTS: Final = 6
"""Principal components of the posterior's logits that count."""
FAR: Final = 3.0
"""A feature's value where there is nothing that it could be measured from."""
MOST: Final = 4.0
"""Unlikeness is cut off here."""
BORDER: Final = 0.05
"""Width of the border that counts as background, in heights of the picture; its lower edge is left out."""
WITHIN: Final = 0.9
"""A region of which this share lies in a uniform area is a part of that."""
MOST_JUDGED: Final = 6
"""So many marks that take away are judged, each for itself; further ones take away what they cover."""
_WAYS: Final = ((0.05, 0.1, 1.0, 1), (0.1, 0.03, 0.3, 2))
"""Two kinds of way: weights of L, ab and components, and the power of a step."""
_PIXEL: Final = 0.01
_MARK_PX: Final = 2
_GUIDE_RADIUS_PX: Final = 8
_GUIDE_EPSILON: Final = 9.0


@dataclass(frozen=True)
class Mark:
    """A click or a stroke.

    Attributes:
        points: from the left border and the top, each from 0 to 1; one is a click, several are a line through them.
        radius: of the brush, in long sides of the picture; at least a pixel of the grid counts.
        takes_away: whether the place is not of the region.
    """

    points: tuple[tuple[float, float], ...]
    radius: float
    takes_away: bool = False


@dataclass(frozen=True)
class Region:
    """A thing, and the color that it should have.

    Attributes:
        ab: in Lab units, each in [-128, 128]; (0, 0) makes gray.
        marks: at least one that does not take away.
        strength: how far the color counts, [0, 1].
    """

    ab: tuple[float, float]
    marks: tuple[Mark, ...]
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what marks nothing, lies outside, or is no color.

        Raises:
            ValueError: a point, a radius or the strength is outside [0, 1], a or b outside [-128, 128], or no mark
                adds.
        """
        shares = [value for mark in self.marks for point in mark.points for value in (*point, mark.radius)]
        if not all(0 <= value <= 1 for value in (*shares, self.strength)):
            raise ValueError("points, radius and strength of a region must be in [0, 1]")
        if not all(-LARGEST_AB <= value <= LARGEST_AB for value in self.ab):
            raise ValueError(f"a region's a and b must be in [-128, 128], are {self.ab}")
        if not any(mark.points and not mark.takes_away for mark in self.marks):
            raise ValueError("a region needs a mark that adds to it")


@dataclass(frozen=True, eq=False)
class Ground:
    """What is the same for all regions of a picture, on the coarse grid.

    Attributes:
        L: calmed lightness, (h, w).
        ab: predicted, (h, w, 2).
        parts: principal components of the logits, (h, w, 6).
        ways: cumulated costs along columns and rows, one pair a kind of way.
        from_border: distance from the border by each way, (h, w).
        features: those that no mark changes, (h, w, F).
        seen: what the colorization network saw, at half the size, (h', w', D).
    """

    L: Float32[np.ndarray, "h w"]
    ab: Float32[np.ndarray, "h w 2"]
    parts: Float32[np.ndarray, "h w C"]
    ways: tuple[tuple[np.ndarray, np.ndarray], ...]
    from_border: tuple[np.ndarray, ...]
    features: Float32[np.ndarray, "h w F"]
    seen: Float32[np.ndarray, "half_h half_w D"]


def survey(L: Float[np.ndarray, "H W 1"], ab: Float[np.ndarray, "h w 2"], logits: Float[np.ndarray, "n m Q"]) -> Ground:
    """Prepare a picture for regions.

    Args:
        L: lightness in [0, 100], full size, shape (H, W, 1).
        ab: predicted ab in Lab units, of any size.
        logits: over the ab bins, of any size.

    Returns:
        The ground that regions grow on.

    Raises:
        ValueError: L is empty or of another shape.
    """
    if L.ndim != 3 or L.shape[-1] != 1 or L.size == 0:
        raise ValueError(f"expected L of shape (H, W, 1), got {L.shape}")
    shape = size_within(L.shape[0], L.shape[1], GRID_SIDE_PX)
    calm = cv2.bilateralFilter(resize_lightness(np.asarray(L, np.float32), shape)[..., 0], 5, 12.0, 2.5)
    small_ab = enlarge_ab(ab, shape)
    parts = _resized(_components(np.asarray(logits, np.float32)), shape)
    ways, steps = [], np.zeros(shape, np.float32)
    for number, (of_L, of_ab, of_parts, power) in enumerate(_WAYS):
        stack = np.concatenate([calm[..., None] * of_L, small_ab * of_ab, parts * of_parts], axis=-1, dtype=np.float32)
        ways.append(_costs(stack, power))
        if number == 0:
            for axis in (0, 1):
                steps += np.abs(np.diff(stack, axis=axis, append=stack.take([-1], axis=axis))).sum(axis=-1)
    border = _border(shape)
    from_border = tuple(distances_from(border, way) for way in ways)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    edge = np.minimum(np.minimum(rows, shape[0] - 1 - rows), np.minimum(columns, shape[1] - 1 - columns))
    unlike = np.sqrt(np.square(parts - parts[border].mean(axis=0)).sum(axis=-1))
    features = [calm / 50 - 1, small_ab[..., 0] / 20, small_ab[..., 1] / 20, np.log1p(steps), edge / max(shape)]
    features += [rows / shape[0], unlike, np.abs(calm - calm[border].mean()) / 30, *map(_relative, from_border)]
    seen = at_half(directions_of(logits), shape)
    return Ground(calm, small_ab, parts, tuple(ways), from_border, np.stack(features, axis=-1).astype(np.float32), seen)


def features_of(ground: Ground, marks: Sequence[Mark]) -> Float32[np.ndarray, "h w F"]:
    """Return what is known of each pixel of the grid, given marks: what the small network weighs.

    Args:
        ground: from `survey`.
        marks: of one region.

    Returns:
        Numbers without unit, float32, shape (h, w, 30).
    """
    shape = ground.L.shape
    told: list[np.ndarray] = []
    for takes_away in (False, True):
        place = place_of(marks, shape, takes_away=takes_away)
        if not place.any():
            told += [np.full(shape, np.float32(FAR))] * 8
            continue
        first, second = (distances_from(place, way) for way in ground.ways)
        away = cv2.distanceTransform((~place).astype(np.uint8), cv2.DIST_L2, 5) / max(shape)
        told += [np.log1p(first), _relative(first), _relative(second), away, np.sqrt(away), *_unlike(ground, place)]
        if not takes_away:
            beside = (
                np.log1p(ours) - np.log1p(other)
                for ours, other in zip((first, second), ground.from_border, strict=True)
            )
            told += list(beside)
    x, y = next(mark.points[0] for mark in marks if mark.points and not mark.takes_away)
    height, width = shape
    near = min(y * height, x * width, (1 - y) * height, (1 - x) * width) / max(shape)
    told += [np.full(shape, np.float32(min(len(marks), 6) - 2)), np.full(shape, np.float32(near))]
    return np.concatenate([ground.features, np.stack(told, axis=-1)], axis=-1, dtype=np.float32)


def likeness_of(ground: Ground, marks: Sequence[Mark]) -> Float32[np.ndarray, "half_h half_w 2"]:
    """Return how far what the network saw at each pixel points where it points at the marks, those that add first.

    Args:
        ground: from `survey`.
        marks: of one region.

    Returns:
        Cosines, float32, shape (h', w', 2); zeros where there is no such mark.
    """
    unit = ground.seen / (np.linalg.norm(ground.seen, axis=-1, keepdims=True) + np.float32(1e-3))
    likeness = np.zeros((*ground.seen.shape[:2], 2), np.float32)
    for number, takes_away in enumerate((False, True)):
        place = place_of(marks, ground.L.shape, takes_away=takes_away).astype(np.float32)
        if place.any():
            small = cv2.resize(place, ground.seen.shape[1::-1], interpolation=cv2.INTER_AREA)[..., None]
            mean = (ground.seen * small).sum(axis=(0, 1)) / small.sum()
            likeness[..., number] = unit @ (mean / (np.linalg.norm(mean) + np.float32(1e-3)))
    return likeness


def grow(ground: Ground, marks: Sequence[Mark]) -> Float32[np.ndarray, "h w"]:
    """Grow a region from marks. One more mark that takes away makes it larger nowhere.

    Args:
        ground: from `survey`.
        marks: at least one that adds; of two at the same place the later one counts.

    Returns:
        How far each pixel of the grid belongs to it, [0, 1], shape (h, w); what is not connected with a mark does not.
    """
    taking = [number for number, mark in enumerate(marks) if mark.takes_away]
    shares = []
    for count in range(min(len(taking), MOST_JUDGED) + 1):
        later = set(taking[count:])
        shares.append(_grown(ground, [mark for number, mark in enumerate(marks) if number not in later]))
    inside, outside = _obeyed(marks, ground.L.shape)
    return connected(np.where(outside, np.float32(0), np.minimum.reduce(shares)), inside)


def _grown(ground: Ground, marks: Sequence[Mark]) -> Float32[np.ndarray, "h w"]:
    """Return what the small network takes for the region; of a click in a uniform area at least that.

    In a flat picture, or a sky, the network sees nothing, and marks a dot or a patch. So where all that it marks around
    a click lies within the click's uniform area, that area is what is meant; what a mark takes away lies nearer to it.
    """
    judged = judge(features_of(ground, marks), np.concatenate([ground.seen, likeness_of(ground, marks)], axis=-1))
    inside, outside = _obeyed(marks, ground.L.shape)
    share = np.where(inside, np.float32(1), np.where(outside, np.float32(0), judged))
    area = np.zeros_like(inside)
    for mark in marks:
        if len(mark.points) == 1 and not mark.takes_away:
            click = place_of([mark], share.shape, takes_away=False) & inside
            around = uniform_around(ground.L, click)
            part = parts_with(share > 0.5, click)
            if np.count_nonzero(part & (around | click)) > WITHIN * np.count_nonzero(part):
                area |= around
    if area.any() and outside.any():
        area &= distances_from(inside, ground.ways[0]) < distances_from(outside, ground.ways[0])
    share = np.where(area & ~outside, np.float32(1), connected(share, inside))
    return filled(connected(share, inside), outside)


def _obeyed(marks: Sequence[Mark], shape: tuple[int, ...]) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Return what marks add and what they take away, whatever a network thinks."""
    drawn = np.zeros(shape, np.int8)
    for mark in marks:
        drawn[place_of([mark], shape, takes_away=mark.takes_away)] = -1 if mark.takes_away else 1
    return drawn > 0, drawn < 0


def apply_regions(
    L: Float[np.ndarray, "H W 1"],
    ab: Float[np.ndarray, "h w 2"],
    logits: Float[np.ndarray, "n m Q"],
    regions: Sequence[Region],
) -> Float32[np.ndarray, "work_h work_w 2"]:
    """Let ab follow regions, one after the other.

    Where a region's share is w and its color m, ab becomes ab + w (m - (0.7 ab + 0.3 the region's mean of ab)).

    Args:
        L: lightness in [0, 100], full size, shape (H, W, 1).
        ab: predicted ab in Lab units, of any size.
        logits: over the ab bins, of any size.
        regions: what a person wants; none changes nothing but the size.

    Returns:
        ab in Lab units for `chroma.compose.compose`, float32; its long side is that of L, at most 512 px.

    Raises:
        ValueError: L or ab is empty or of another shape.
    """
    ground = survey(L, ab, logits)
    shape = size_within(L.shape[0], L.shape[1], WORK_SIDE_PX)
    guide = resize_lightness(np.asarray(L, np.float32), shape)[..., 0]
    after = enlarge_ab(ab, shape)
    for region in regions:
        share = _along_edges(_resized(grow(ground, region.marks), shape), guide)[..., None] * np.float32(
            region.strength
        )
        mean = (share * after).sum(axis=(0, 1)) / np.maximum(share.sum(), np.float32(1e-6))
        wanted = np.asarray(region.ab, np.float32)
        after = after + share * (wanted - UNIFORM * after - (1 - UNIFORM) * mean)
    return after


def place_of(marks: Sequence[Mark], shape: tuple[int, ...], *, takes_away: bool) -> Bool[np.ndarray, "h w"]:
    """Return which pixels of a grid marks cover.

    Args:
        marks: of one region.
        shape: of the grid.
        takes_away: which of them count.
    """
    drawn = np.zeros(shape, np.uint8)
    for mark in marks:
        if mark.takes_away != takes_away:
            continue
        pixels = [(min(int(x * shape[1]), shape[1] - 1), min(int(y * shape[0]), shape[0] - 1)) for x, y in mark.points]
        radius = max(_MARK_PX, round(mark.radius * max(shape)))
        for start, end in zip(pixels, pixels[1:] or pixels, strict=False):
            cv2.line(drawn, start, end, 1, 2 * radius + 1)
        for pixel in pixels:
            cv2.circle(drawn, pixel, radius, 1, cv2.FILLED)
    return drawn > 0


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    resized = cv2.resize(np.ascontiguousarray(values), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return resized.reshape(*shape, *values.shape[2:])


def _components(logits: Float32[np.ndarray, "h w Q"]) -> Float32[np.ndarray, "h w C"]:
    """Return the principal components of a picture's logits, the first with deviation 1."""
    flat = logits.reshape(-1, logits.shape[-1]) - logits.mean(axis=-1, keepdims=True).reshape(-1, 1)
    flat = (flat - flat.mean(axis=0)).astype(np.float64)
    _, vectors = np.linalg.eigh(flat.T @ flat)
    parts = flat @ vectors[:, : -COMPONENTS - 1 : -1]
    parts = parts / (parts[:, 0].std() + 1e-6)
    return parts.astype(np.float32).reshape(*logits.shape[:2], -1)


def _costs(stack: Float32[np.ndarray, "h w C"], power: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what it costs from the border to each pixel along its column, and along its row."""
    down, right = (
        np.cumsum(
            np.sqrt(np.square(np.diff(stack, axis=axis, prepend=stack.take([0], axis=axis))).sum(axis=-1)) ** power
            + np.float32(_PIXEL),
            axis=axis,
            dtype=np.float64,
        ).astype(np.float32)
        for axis in (0, 1)
    )
    return down, right


def _border(shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    width = min(max(2, round(BORDER * shape[0])), *shape)
    border = np.zeros(shape, bool)
    border[:width] = border[:, :width] = border[:, -width:] = True
    return border


def _relative(distance: np.ndarray) -> np.ndarray:
    """Return a distance in medians of itself, as a logarithm."""
    return np.log1p(distance / (np.median(distance) + np.float32(1e-3)))


def _unlike(ground: Ground, place: Bool[np.ndarray, "h w"]) -> list[np.ndarray]:
    """Return how far each pixel's components, L and ab are from those of a place's nearest part; parts are strips."""
    _, labels = cv2.connectedComponents(place.astype(np.uint8))
    least: list[np.ndarray] = []
    for label in range(1, int(labels.max()) + 1):
        part = labels == label
        parts = np.sqrt(np.square(ground.parts - ground.parts[part].mean(axis=0)).sum(axis=-1))
        L = np.abs(ground.L - ground.L[part].mean()) / 20
        ab = np.sqrt(np.square(ground.ab - ground.ab[part].mean(axis=0)).sum(axis=-1)) / 15
        now = [parts, L, ab]
        least = [np.minimum(old, new) for old, new in zip(least, now, strict=True)] if least else now
    return [np.minimum(each, np.float32(MOST)) for each in least]


def _along_edges(share: Float32[np.ndarray, "h w"], guide: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Let a share follow the edges of lightness: He's guided filter."""
    size = (2 * _GUIDE_RADIUS_PX + 1,) * 2
    mean_L, mean_share = cv2.blur(guide, size), cv2.blur(share, size)
    variance = cv2.blur(guide * guide, size) - mean_L * mean_L
    slope = (cv2.blur(guide * share, size) - mean_L * mean_share) / (variance + np.float32(_GUIDE_EPSILON))
    offset = mean_share - slope * mean_L
    return np.clip(cv2.blur(slope, size) * guide + cv2.blur(offset, size), 0, 1)
