"""Full-size L and small ab -> RGB: enlargement, gamut, rounding.

The picture's own L goes through untouched, so the answer is as sharp as the question; the network only adds ab at a
quarter of its input's size. Three steps, each a function: ab is enlarged, its chroma is reduced to what sRGB can show
at that L, and Lab becomes RGB. `compose`, `compose_u8` and `compose_u16` do all three in strips of rows, so memory
stays bounded: a picture needs its input, its output, and a few strips of temporaries. A strip computes the same numbers
that the whole picture would, bit for bit.
"""

from collections.abc import Callable
from functools import cache
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8, UInt16

from chroma.framing import resize_lightness
from chroma.lab import lab_planes_to_rgb, lab_to_linear_rgb
from chroma.strips import each_strip

GUIDE_RADIUS: Final = 1
"""Radius of the window of guided enlargement, in pixels of the small ab map."""
GUIDE_EPS: Final = 100.0
"""Variance of L below which guided enlargement trusts no edge (Lab units squared)."""

STRIP_PIXELS: Final = 1 << 17
"""Pixels of a strip if nothing else is asked for: 5 MB of temporaries, and few enough strips that starting each costs
nothing."""

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

Enlargement = Literal["bilinear", "guided"]


def enlarge_ab(ab: Float[np.ndarray, "h w 2"], shape: tuple[int, int]) -> Float32[np.ndarray, "H W 2"]:
    """Enlarge ab bilinearly, with half-pixel centers and repeated borders.

    A side that is larger than wanted is first reduced by area mean.

    Args:
        ab: ab in Lab units, shape (h, w, 2).
        shape: (H, W) wanted, px, each at least 1.

    Returns:
        ab in Lab units, float32, shape (H, W, 2); never outside the range of the input.

    Raises:
        ValueError: ab is empty, not (h, w, 2), or has a NaN or infinity; or a side below 1.
    """
    return _enlarge_rows(_reduce(ab, shape), shape, 0, shape[0])


def guided_enlarge_ab(
    ab: Float[np.ndarray, "h w 2"],
    L: Float[np.ndarray, "H W 1"],
    *,
    radius: int = GUIDE_RADIUS,
    eps: float = GUIDE_EPS,
) -> Float32[np.ndarray, "H W 2"]:
    """Enlarge ab so that its edges follow those of L.

    ab = enlarge(ab) + enlarge(A) (L - enlarge(L reduced)): bilinear enlargement plus the detail of L that the small map
    lost, times the local slope A = cov(L, ab) / (var(L) + eps) of ab on L. This is the fast guided filter in residual
    form: where L is flat the result is the bilinear one, where ab is flat nothing happens, and means are kept.

    Args:
        ab: ab in Lab units, shape (h, w, 2).
        L: lightness in [0, 100], shape (H, W, 1).
        radius: of the square window of the slope, in pixels of the small map, at least 1.
        eps: regularisation in Lab units squared, > 0; L edges well below sqrt(eps) leave ab alone.

    Returns:
        ab in Lab units, float32, shape (H, W, 2).

    Raises:
        ValueError: ab or L is empty, of another shape, ab has a NaN or infinity, radius < 1, or eps <= 0.

    References:
        He, Sun, "Fast Guided Filter", arXiv:1505.00996, 2015.
    """
    maps = _guide(ab, L, radius=radius, eps=eps)
    return _guided_rows(maps, L, 0, len(L))


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
    _fit_planes(lightness, a, b)
    return np.stack([a, b], axis=-1).reshape(np.shape(ab))


def _fit_planes(
    L: Float32[np.ndarray, "*shape"],
    a: Float32[np.ndarray, "*shape"],
    b: Float32[np.ndarray, "*shape"],
) -> None:
    """Do what `fit_gamut` does, in place."""
    if not L.size:
        return
    gamut = _gamut()
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
    highest = cv2.remap(_gamut().table, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.minimum(highest.reshape(-1)[: len(L)], radius) / radius


def compose(
    L: Float[np.ndarray, "H W 1"],
    ab: Float[np.ndarray, "h w 2"],
    *,
    enlargement: Enlargement = "bilinear",
    strip_rows: int | None = None,
    workers: int = 1,
) -> Float32[np.ndarray, "H W 3"]:
    """Join full-size L and small ab to an RGB picture.

    Args:
        L: lightness in [0, 100], shape (H, W, 1).
        ab: ab in Lab units, shape (h, w, 2).
        enlargement: "bilinear" (`enlarge_ab`) or "guided" (`guided_enlarge_ab` with its defaults).
        strip_rows: rows computed at a time; None lets a strip have about 131,072 pixels. It changes memory and speed,
            never the result.
        workers: threads that compute strips, at least 1.

    Returns:
        sRGB in [0, 1], float32, shape (H, W, 3); its L is the given one.

    Raises:
        ValueError: L or ab is empty, of another shape, ab has a NaN or infinity, an unknown enlargement, or
            strip_rows or workers below 1.
    """
    return _compose(L, ab, np.float32, _to_floats, enlargement, strip_rows, workers)


def compose_u8(
    L: Float[np.ndarray, "H W 1"],
    ab: Float[np.ndarray, "h w 2"],
    *,
    enlargement: Enlargement = "bilinear",
    strip_rows: int | None = None,
    workers: int = 1,
) -> UInt8[np.ndarray, "H W 3"]:
    """Do what `compose` does, rounded once to 8 bits, three times as fast.

    OpenCV converts here, whose table of the sRGB curve is off by up to a tenth of a code: one value in 400 is rounded
    the other way. With ab = 0 and L from `chroma.lab.gray_to_lightness` every 8-bit gray comes back exactly.

    Args:
        L: lightness in [0, 100], shape (H, W, 1).
        ab: ab in Lab units, shape (h, w, 2).
        enlargement: as in `compose`.
        strip_rows: as in `compose`.
        workers: as in `compose`.

    Returns:
        sRGB, uint8, shape (H, W, 3).

    Raises:
        ValueError: as `compose`.
    """
    return _compose(L, ab, np.uint8, _to_u8, enlargement, strip_rows, workers)


def compose_u16(
    L: Float[np.ndarray, "H W 1"],
    ab: Float[np.ndarray, "h w 2"],
    *,
    enlargement: Enlargement = "bilinear",
    strip_rows: int | None = None,
    workers: int = 1,
) -> UInt16[np.ndarray, "H W 3"]:
    """Do what `compose` does, rounded once to 16 bits.

    With ab = 0 and L from `chroma.lab.gray_to_lightness` every 16-bit gray comes back within 1.

    Args:
        L: lightness in [0, 100], shape (H, W, 1).
        ab: ab in Lab units, shape (h, w, 2).
        enlargement: as in `compose`.
        strip_rows: as in `compose`.
        workers: as in `compose`.

    Returns:
        sRGB, uint16, shape (H, W, 3).

    Raises:
        ValueError: as `compose`.
    """
    return _compose(L, ab, np.uint16, _to_u16, enlargement, strip_rows, workers)


def _compose(
    L: Float[np.ndarray, "H W 1"],
    ab: Float[np.ndarray, "h w 2"],
    dtype: type[np.generic],
    convert: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
    enlargement: Enlargement,
    strip_rows: int | None,
    workers: int,
) -> np.ndarray:
    """Fill the output strip by strip; strips are independent, so threads may share them."""
    _check_lightness(L)
    H, W = L.shape[:2]
    rows = max(STRIP_PIXELS // W, 1) if strip_rows is None else strip_rows
    if rows < 1 or workers < 1:
        raise ValueError(f"strip_rows and workers must be at least 1, are {strip_rows} and {workers}")
    enlarged_rows = _enlarger(L, ab, enlargement)
    rgb = np.empty((H, W, 3), dtype)

    def fill(start: int, stop: int) -> None:
        L_strip = np.ascontiguousarray(L[start:stop, :, 0], np.float32)
        convert(L_strip, enlarged_rows(start, stop), rgb[start:stop])

    _gamut()  # before threads would each make it
    each_strip(fill, H, rows, workers=workers)
    return rgb


def _enlarger(
    L: Float[np.ndarray, "H W 1"], ab: Float[np.ndarray, "h w 2"], enlargement: Enlargement
) -> Callable[[int, int], Float32[np.ndarray, "rows W 2"]]:
    """Return a function that gives the enlarged ab of the rows from start to stop."""
    if enlargement == "guided":
        maps = _guide(ab, L, radius=GUIDE_RADIUS, eps=GUIDE_EPS)
        return lambda start, stop: _guided_rows(maps, L, start, stop)
    if enlargement != "bilinear":
        raise ValueError(f"enlargement must be 'bilinear' or 'guided', is {enlargement!r}")
    H, W = L.shape[:2]
    small = _reduce(ab, (H, W))
    return lambda start, stop: _enlarge_rows(small, (H, W), start, stop)


def _whole_rows(pixels: int) -> int:
    """Return how many rows of `_LOOKED_UP_AT_ONCE` hold so many pixels."""
    return -(-pixels // _LOOKED_UP_AT_ONCE)


def _to_floats(
    L: Float32[np.ndarray, "H W"], ab: Float32[np.ndarray, "H W 2"], rgb: Float32[np.ndarray, "H W 3"]
) -> None:
    cv2.merge(list(_fitted_planes(L, ab)), rgb)


def _to_u16(L: Float32[np.ndarray, "H W"], ab: Float32[np.ndarray, "H W 2"], rgb: UInt16[np.ndarray, "H W 3"]) -> None:
    planes = _fitted_planes(L, ab)
    planes *= np.float32(65535)
    planes += np.float32(0.5)
    cv2.merge(list(planes.astype(np.uint16)), rgb)


def _to_u8(L: Float32[np.ndarray, "H W"], ab: Float32[np.ndarray, "H W 2"], rgb: UInt8[np.ndarray, "H W 3"]) -> None:
    # A few calls of OpenCV, which hold no lock: threads do not wait for one another.
    cv2.convertScaleAbs(cv2.cvtColor(cv2.merge([L, ab]), cv2.COLOR_Lab2RGB), rgb, alpha=255)
    # What sRGB cannot show has been clipped, so it has a channel of 0 or 255; black and white are what they are.
    clipped = np.flatnonzero(cv2.inRange(rgb, (1, 1, 1), (254, 254, 254)) == 0)
    pixels = rgb.reshape(-1).view("V3")  # One item a pixel is taken and put faster than three.
    if clipped.size:
        codes = pixels.take(clipped).view(np.uint8).reshape(-1, 3)
        clipped = clipped[(codes[:, 0] != codes[:, 1]) | (codes[:, 1] != codes[:, 2])]
    if clipped.size:
        a, b = ab.reshape(-1).view(np.complex64).take(clipped).view(np.float32).reshape(-1, 2).T
        pixels[clipped] = _fitted_u8(L.take(clipped), a, b).reshape(-1).view("V3")


def _fitted_u8(
    L: Float32[np.ndarray, "pixels"], a: Float32[np.ndarray, "pixels"], b: Float32[np.ndarray, "pixels"]
) -> UInt8[np.ndarray, "pixels 3"]:
    """Return 8-bit sRGB of what is brought into gamut before, converted by OpenCV."""
    # Whole rows here too, for the same reason as in `_gamut_factor`.
    planes = np.zeros((3, _whole_rows(len(L)) * _LOOKED_UP_AT_ONCE), np.float32)
    planes[:, : len(L)] = L, a, b
    radius = np.abs(a) + np.abs(b)
    radius += radius == 0
    planes[1:, : len(L)] *= _gamut_factor(L, a, b, radius)
    lab = cv2.merge(list(planes.reshape(3, -1, _LOOKED_UP_AT_ONCE)))
    return cv2.convertScaleAbs(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), alpha=255).reshape(-1, 3)[: len(L)]


def _fitted_planes(
    L: Float32[np.ndarray, "*shape"], ab: Float32[np.ndarray, "*shape 2"]
) -> Float32[np.ndarray, "3 *shape"]:
    """Return planes of sRGB in [0, 1] of what is brought into gamut before."""
    a, b = np.moveaxis(ab, -1, 0).copy()
    _fit_planes(L, a, b)
    return lab_planes_to_rgb(L, a, b)


def _reduce(ab: Float[np.ndarray, "h w 2"], shape: tuple[int, int]) -> Float32[np.ndarray, "small_h small_w 2"]:
    """Bring every side of ab that is larger than the picture down to it, by area mean."""
    if ab.ndim != 3 or ab.shape[-1] != 2 or ab.size == 0:
        raise ValueError(f"expected ab of shape (h, w, 2), got {ab.shape}")
    if not np.isfinite(ab).all():
        raise ValueError("ab has a NaN or an infinity")
    if min(shape) < 1:
        raise ValueError(f"a picture has at least one pixel, not {shape[0]} x {shape[1]}")
    small = np.ascontiguousarray(ab, np.float32)
    h, w = min(ab.shape[0], shape[0]), min(ab.shape[1], shape[1])
    return small if (h, w) == ab.shape[:2] else cv2.resize(small, (w, h), interpolation=cv2.INTER_AREA)


def _enlarge_rows(
    small: Float32[np.ndarray, "h w C"], shape: tuple[int, int], start: int, stop: int
) -> Float32[np.ndarray, "rows W C"]:
    """Return the rows from start to stop of a map enlarged bilinearly to shape (H, W)."""
    h, w, channels = small.shape
    H, W = shape
    # Down the columns here, so that a strip needs nothing but the small map; along the rows OpenCV is faster.
    position = np.clip((np.arange(start, stop) + 0.5) * (h / H) - 0.5, 0, h - 1)
    above = position.astype(np.int32)
    below = np.minimum(above + 1, h - 1)
    share = (position - above).astype(np.float32)[:, None, None]
    rows = small[above] * (1 - share) + small[below] * share
    if w != W:
        rows = cv2.resize(rows, (W, stop - start), interpolation=cv2.INTER_LINEAR)
    return rows.reshape(stop - start, W, channels)


def _guide(
    ab: Float[np.ndarray, "h w 2"], L: Float[np.ndarray, "H W 1"], *, radius: int, eps: float
) -> Float32[np.ndarray, "small_h small_w 5"]:
    """Return the small maps that guided enlargement needs: ab, its slope on L, and L reduced."""
    _check_lightness(L)
    if radius < 1 or not eps > 0:
        raise ValueError(f"radius must be at least 1 and eps above 0, are {radius} and {eps}")
    small = _reduce(ab, L.shape[:2]).astype(np.float64)
    h, w = small.shape[:2]
    small_L = resize_lightness(np.asarray(L, np.float32), (h, w)).astype(np.float64)
    mean_L, mean_ab = _box_mean(small_L, radius), _box_mean(small, radius)
    variance = _box_mean(small_L * small_L, radius) - mean_L * mean_L
    covariance = _box_mean(small_L * small, radius) - mean_L * mean_ab
    slope = _box_mean(covariance / (np.maximum(variance, 0) + eps), radius)
    return np.concatenate([small, slope, small_L], axis=-1).astype(np.float32)


def _guided_rows(
    maps: Float32[np.ndarray, "h w 5"], L: Float[np.ndarray, "H W 1"], start: int, stop: int
) -> Float32[np.ndarray, "rows W 2"]:
    enlarged = _enlarge_rows(maps, (L.shape[0], L.shape[1]), start, stop)
    detail = np.asarray(L[start:stop], np.float32) - enlarged[..., 4:]
    return enlarged[..., :2] + enlarged[..., 2:4] * detail


def _box_mean(values: Float64[np.ndarray, "h w C"], radius: int) -> Float64[np.ndarray, "h w C"]:
    side = 2 * radius + 1
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE).reshape(values.shape)


def _check_lightness(L: Float[np.ndarray, "H W 1"]) -> None:
    if L.ndim != 3 or L.shape[-1] != 1 or L.size == 0:
        raise ValueError(f"expected L of shape (H, W, 1), got {L.shape}")


def _diamond_angle(a: np.ndarray, b: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return the hue as a number in [0, 4], one unit a quadrant: the way round the diamond |a| + |b| = radius.

    It stands in for atan2, whose last bit may depend on where in an array a value lies; this has exact operations only.
    """
    across = a / radius
    return np.where(b >= 0, 1 - across, 3 + across)


class _Gamut(NamedTuple):
    """The largest |a| + |b| in sRGB.

    Attributes:
        table: by L and diamond angle. It has one row and two columns more than steps, so that reading the neighbor of
            the last entry needs no special case.
        least: the least of it by L, rounded to the steps of the table, shape (256,).
    """

    table: Float32[np.ndarray, "rows columns"]
    least: Float32[np.ndarray, "256"]


@cache
def _gamut() -> _Gamut:
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
    return _Gamut(table, np.pad(around, (0, 255 - GAMUT_L_STEPS), mode="edge"))
