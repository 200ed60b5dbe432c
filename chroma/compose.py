"""Full-size L and small ab -> RGB: enlargement, gamut, rounding.

The picture's own L goes through untouched, so the answer is as sharp as the question; the network only adds ab at a
quarter of its input's size. Three steps, each a function: ab is enlarged, its chroma is reduced to what sRGB can show
at that L, and Lab becomes RGB. `compose`, `compose_u8` and `compose_u16` do all three in strips of rows, so memory
stays bounded: a picture needs its input, its output, and a few strips of temporaries. A strip computes the same numbers
that the whole picture would, bit for bit.
"""

from collections.abc import Callable
from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Shaped, UInt8, UInt16

from chroma.framing import LightnessRows, resize_lightness
from chroma.gamut import fit_planes, fitted_u8, gamut_table
from chroma.lab import lab_planes_to_rgb, lab_to_rgb_u8
from chroma.strips import each_strip

GUIDE_RADIUS: Final = 1
"""Radius of the window of guided enlargement, in pixels of the small ab map."""
GUIDE_EPS: Final = 100.0
"""Variance of L below which guided enlargement trusts no edge (Lab units squared)."""

STRIP_PIXELS: Final = 1 << 17
"""Pixels of a strip if nothing else is asked for: 5 MB of temporaries, and few enough strips that starting each costs
nothing."""

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
    return _enlarge_rows(_widen(_reduce(ab, shape), shape[1]), shape[0], 0, shape[0])


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
    maps = _widen(_guide(ab, L, radius=radius, eps=eps), L.shape[1])
    return _guided_rows(maps, L, 0, len(L))


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
    rows = ComposedRows(L, ab, np.float32, enlargement=enlargement)
    return rows.whole(strip_rows=strip_rows, workers=workers)


def compose_u8(
    L: Float[np.ndarray, "H W 1"],
    ab: Float[np.ndarray, "h w 2"],
    *,
    enlargement: Enlargement = "bilinear",
    strip_rows: int | None = None,
    workers: int = 1,
) -> UInt8[np.ndarray, "H W 3"]:
    """Do what `compose` does, rounded once to 8 bits, three times as fast.

    OpenCV converts to light, and a table of 16 bits from there: one value in 400, most of them dark, is rounded the
    other way. With ab = 0 and L from `chroma.lab.gray_to_lightness` every 8-bit gray comes back exactly.

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
    rows = ComposedRows(L, ab, np.uint8, enlargement=enlargement)
    return rows.whole(strip_rows=strip_rows, workers=workers)


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
    rows = ComposedRows(L, ab, np.uint16, enlargement=enlargement)
    return rows.whole(strip_rows=strip_rows, workers=workers)


def compose_planes(
    L: Float[np.ndarray, "H W 1"], ab: Float[np.ndarray, "h w 2"], *, enlargement: Enlargement = "bilinear"
) -> Callable[[int, int], Float32[np.ndarray, "3 rows W"]]:
    """Do what `compose` does, rows as they are asked for, and not joined to pixels: for who computes with planes.

    Args:
        L: lightness in [0, 100], shape (H, W, 1).
        ab: ab in Lab units, shape (h, w, 2).
        enlargement: as in `compose`.

    Returns:
        What takes the first row and the one behind the last, and gives red, green and blue of them: sRGB in [0, 1],
        float32, each of shape (rows, W).

    Raises:
        ValueError: L or ab is empty, of another shape, ab has a NaN or infinity, or an unknown enlargement.
    """
    _check_lightness(L)
    enlarged_rows = _enlarger(L, ab, enlargement)
    return lambda start, stop: _fitted_planes(
        np.ascontiguousarray(L[start:stop, :, 0], np.float32), enlarged_rows(start, stop)
    )


class ComposedRows:
    """The RGB picture of an L and an ab, rows of which are computed as they are asked for.

    Whatever rows are asked for at a time, they hold the numbers that the whole picture has, bit for bit.

    Attributes:
        shape: (H, W, 3).
        dtype: of the rows: uint8, uint16, or float32 in [0, 1].
    """

    def __init__(
        self,
        L: LightnessRows,
        ab: Float[np.ndarray, "h w 2"],
        dtype: type[np.generic],
        *,
        enlargement: Enlargement = "bilinear",
    ) -> None:
        """Do what all rows have in common.

        Args:
            L: lightness in [0, 100], shape (H, W, 1); an array, or something whose rows come as arrays.
            ab: ab in Lab units, shape (h, w, 2).
            dtype: uint8, uint16 or float32.
            enlargement: as in `compose`.

        Raises:
            ValueError: L or ab is empty, of another shape, ab has a NaN or infinity, or an unknown enlargement.
        """
        _check_lightness(L)
        self._L, self._convert = L, _CONVERT[dtype]
        self._enlarged_rows = _enlarger(L, ab, enlargement)
        self.shape = (L.shape[0], L.shape[1], 3)
        self.dtype = np.dtype(dtype)
        gamut_table()  # before threads would each make it

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, "rows W 3"]:
        """Return some rows, from the first to the one before the last, shape (rows, W, 3)."""
        start, stop, _ = rows.indices(self.shape[0])
        rgb = np.empty((stop - start, *self.shape[1:]), self.dtype)
        each_strip(lambda top, bottom: self._fill(rgb, start, top, bottom), stop - start, self._strip_rows())
        return rgb

    def whole(self, *, strip_rows: int | None = None, workers: int = 1) -> Shaped[np.ndarray, "H W 3"]:
        """Return all rows, shape (H, W, 3).

        Args:
            strip_rows: as in `compose`.
            workers: as in `compose`.

        Raises:
            ValueError: strip_rows or workers below 1.
        """
        rows = self._strip_rows() if strip_rows is None else strip_rows
        if rows < 1 or workers < 1:
            raise ValueError(f"strip_rows and workers must be at least 1, are {strip_rows} and {workers}")
        rgb = np.empty(self.shape, self.dtype)
        each_strip(lambda top, bottom: self._fill(rgb, 0, top, bottom), self.shape[0], rows, workers=workers)
        return rgb

    def _strip_rows(self) -> int:
        return max(STRIP_PIXELS // self.shape[1], 1)

    def _fill(self, rgb: np.ndarray, first: int, top: int, bottom: int) -> None:
        start, stop = first + top, first + bottom
        L = np.ascontiguousarray(self._L[start:stop][..., 0], np.float32)
        self._convert(L, self._enlarged_rows(start, stop), rgb[top:bottom])


def _enlarger(
    L: LightnessRows, ab: Float[np.ndarray, "h w 2"], enlargement: Enlargement
) -> Callable[[int, int], Float32[np.ndarray, "rows W 2"]]:
    """Return a function that gives the enlarged ab of the rows from start to stop."""
    if enlargement == "guided":
        maps = _widen(_guide(ab, L[:], radius=GUIDE_RADIUS, eps=GUIDE_EPS), L.shape[1])
        return lambda start, stop: _guided_rows(maps, L, start, stop)
    if enlargement != "bilinear":
        raise ValueError(f"enlargement must be 'bilinear' or 'guided', is {enlargement!r}")
    H, W = L.shape[:2]
    wide = _widen(_reduce(ab, (H, W)), W)
    return lambda start, stop: _enlarge_rows(wide, H, start, stop)


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
    lab_to_rgb_u8(cv2.merge([L, ab]), rgb)
    # What sRGB cannot show has been clipped, so it has a channel of 0 or 255; black and white are what they are.
    clipped = np.flatnonzero(cv2.inRange(rgb, (1, 1, 1), (254, 254, 254)) == 0)
    pixels = rgb.reshape(-1).view("V3")  # One item a pixel is taken and put faster than three.
    if clipped.size:
        codes = pixels.take(clipped).view(np.uint8).reshape(-1, 3)
        clipped = clipped[(codes[:, 0] != codes[:, 1]) | (codes[:, 1] != codes[:, 2])]
    if clipped.size:
        a, b = ab.reshape(-1).view(np.complex64).take(clipped).view(np.float32).reshape(-1, 2).T
        pixels[clipped] = fitted_u8(L.take(clipped), a, b).reshape(-1).view("V3")


def _fitted_planes(
    L: Float32[np.ndarray, "*shape"], ab: Float32[np.ndarray, "*shape 2"]
) -> Float32[np.ndarray, "3 *shape"]:
    """Return planes of sRGB in [0, 1] of what is brought into gamut before."""
    a, b = np.moveaxis(ab, -1, 0).copy()
    fit_planes(L, a, b)
    return lab_planes_to_rgb(L, a, b)


_CONVERT: Final[dict[type[np.generic], Callable[[np.ndarray, np.ndarray, np.ndarray], None]]] = {
    np.float32: _to_floats,
    np.uint8: _to_u8,
    np.uint16: _to_u16,
}


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


def _widen(small: Float32[np.ndarray, "h w C"], W: int) -> Float32[np.ndarray, "h W C"]:
    """Enlarge the rows of a map bilinearly; few rows, whatever picture they are for."""
    h, w, channels = small.shape
    wide = small if w == W else cv2.resize(small, (W, h), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(wide, np.float32).reshape(h, W, channels)


def _enlarge_rows(wide: Float32[np.ndarray, "h W C"], H: int, start: int, stop: int) -> Float32[np.ndarray, "rows W C"]:
    """Return the rows from start to stop of a map enlarged bilinearly to H rows."""
    h = wide.shape[0]
    position = np.clip((np.arange(start, stop) + 0.5) * (h / H) - 0.5, 0, h - 1)
    above = position.astype(np.int32)
    share = (position - above).astype(np.float32)[:, None, None]
    # Few calls, each for all rows: between any two, threads wait for one another.
    rows, step = wide.take(above, axis=0), wide.take(np.minimum(above + 1, h - 1), axis=0)
    step -= rows
    step *= share
    rows += step
    return rows


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
    maps: Float32[np.ndarray, "h W 5"], L: LightnessRows, start: int, stop: int
) -> Float32[np.ndarray, "rows W 2"]:
    enlarged = _enlarge_rows(maps, L.shape[0], start, stop)
    detail = np.asarray(L[start:stop], np.float32) - enlarged[..., 4:]
    return enlarged[..., :2] + enlarged[..., 2:4] * detail


def _box_mean(values: Float64[np.ndarray, "h w C"], radius: int) -> Float64[np.ndarray, "h w C"]:
    side = 2 * radius + 1
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE).reshape(values.shape)


def _check_lightness(L: LightnessRows) -> None:
    if len(L.shape) != 3 or L.shape[-1] != 1 or 0 in L.shape:
        raise ValueError(f"expected L of shape (H, W, 1), got {L.shape}")
