"""The colors that one place of a picture can have: the modes of its posterior there, as they would look.

Each bin of the posterior has a look: its color at the picture's lightness, as the hue guard shows it and inside sRGB.
A mode is the color round which most of the mass lies; what looks like it is its share. Then the same of what is left.

The guard holds here as in the decode: a red that the posterior does not back is shown as pale as the guard makes it. It
is not left out, since the hue is a guess like others, and becomes one with the mode that it then looks like.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

from chroma.decoding import hue_guard, softmax, zone_masses
from chroma.gamut import fit_gamut
from chroma.hints import Hint, corners_of
from chroma.lab import lab_to_rgb
from chroma.quality import delta_e_2000

MOST_COLORS: Final = 6
"""How many colors a place has at most."""
DISTINCT_DELTA_E: Final = 8.0
"""Colors differ by at least so much, CIEDE2000."""
LEAST_SHARE: Final = 0.03
"""What the network finds less probable is no color of the place."""
LEAST_MASS: Final = 1e-5
"""Bins of less are not looked at: all of them together are no color, and most bins are such."""
PATCH_PX: Final = 5
"""The lightness of a place is the median of so many rows and columns: a grain of the film is no lightness."""

LightnessOf = Callable[[slice, slice], Float[np.ndarray, "h w 1"]]
"""Gives L in [0, 100] of some rows and columns of a picture, shape (h, w, 1)."""


def find_place(
    x: float, y: float, shape: tuple[int, int], grid: tuple[int, int], lightness: LightnessOf
) -> tuple[tuple[int, int], float]:
    """Find which pixel of the posterior speaks of a place.

    The posterior is coarse: of the four pixels around, the one counts whose lightness is most like that of the place,
    so that next to an edge the answer is of the right side.

    Args:
        x: from the left border, 0, to the right one, 1, of the upright picture.
        y: from the top, 0, to the bottom, 1.
        shape: height and width of the picture, px.
        grid: height and width of the posterior.
        lightness: of the picture.

    Returns:
        Row and column in the posterior; and L of the place, [0, 100].

    Raises:
        ValueError: x or y is outside [0, 1].
    """
    place = Hint(x, y, (0.0, 0.0)).pixel(*shape)
    patch = [slice(max(at - PATCH_PX // 2, 0), at + PATCH_PX // 2 + 1) for at in place]
    L = float(np.median(lightness(patch[0], patch[1])))
    rows, columns, shares = corners_of(place, shape, grid)
    unlike = []
    for cell, share in zip(zip(rows, columns, strict=True), shares, strict=True):
        part = [_reach(int(at), size, count) for at, size, count in zip(cell, shape, grid, strict=True)]
        unlike.append(abs(float(lightness(part[0], part[1]).mean()) - L) - float(share))
    best = int(np.argmin(unlike))
    return (int(rows[best]), int(columns[best])), L


def _reach(at: int, size: int, count: int) -> slice:
    """Return which of `size` pixels the one at a place of `count` stands for, at least one."""
    start = min(at * size // count, size - 1)
    return slice(start, max((at + 1) * size // count, start + 1))


def plausible_colors(
    logits: Float[np.ndarray, "Q"], centers: Float[np.ndarray, "Q 2"], *, seen: float, L: float
) -> list[tuple[str, float]]:
    """Return the colors that a place can have.

    Args:
        logits: over the bins, shape (Q,).
        centers: bin centers in Lab units, shape (Q, 2).
        seen: CIE L that the network saw there, [0, 100]: the hue guard is stricter in shadow.
        L: of the picture there, [0, 100]: that of the colors.

    Returns:
        ("#rrggbb", posterior mass in [0, 1]) by falling mass, 1 to `MOST_COLORS` of them. Any two differ by at least
        `DISTINCT_DELTA_E` before their rounding to 8 bits; the shares sum to at most 1.
    """
    posterior = softmax(logits.astype(np.float64))
    counts = posterior > LEAST_MASS
    left, looks = posterior[counts], _looks(logits, centers, seen, L)[counts]
    alike = delta_e_2000(*np.broadcast_arrays(looks[:, None], looks[None])) < DISTINCT_DELTA_E
    colors, shares = np.empty((0, 3)), list[float]()
    while len(shares) < MOST_COLORS:
        masses = alike @ left
        best = int(masses.argmax())
        mass = float(masses[best])
        if shares and mass < LEAST_SHARE:
            break
        weights = np.where(alike[best], left, 0)
        color = _as_gray(weights @ looks / mass)
        left = np.where(alike[best], 0, left)
        distances = delta_e_2000(*np.broadcast_arrays(colors, color))
        if len(shares) and distances.min() < DISTINCT_DELTA_E:
            shares[int(distances.argmin())] += mass
            continue
        colors = np.vstack([colors, color])
        shares.append(mass)
    codes = (lab_to_rgb(colors.astype(np.float32)) * 255 + 0.5).astype(np.uint8)
    named = [("#{:02x}{:02x}{:02x}".format(*code), share) for code, share in zip(codes, shares, strict=True)]
    return sorted(named, key=lambda entry: -entry[1])


def _looks(
    logits: Float[np.ndarray, "Q"], centers: Float[np.ndarray, "Q 2"], seen: float, L: float
) -> Float32[np.ndarray, "Q 3"]:
    """Return each bin's color as it would look at the place, CIE Lab, shape (Q, 3)."""
    backing = zone_masses(logits, centers)
    ab = hue_guard(centers, np.broadcast_to(backing, (len(centers), len(backing))), np.full(1, seen, centers.dtype))
    lightness = np.full((len(centers), 1), L, np.float32)
    return np.concatenate([lightness, fit_gamut(lightness, ab)], axis=-1)


def _as_gray(color: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Return a color, or gray where that looks like it."""
    gray = color * np.array([1, 0, 0])
    return gray if delta_e_2000(color, gray) < DISTINCT_DELTA_E / 2 else color
