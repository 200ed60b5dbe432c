"""The Q = 313 ab bins: centers on a grid of 10 Lab units that covers the sRGB gamut, edges included.

Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 2.1 (``pts_in_hull``).
"""

from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from jaxtyping import Float, Int

Q: Final = 313
"""Number of ab bins."""
GRID_SPACING: Final = 10.0
"""Distance between neighboring bin centers, Lab units."""
BINS_SHA256: Final = "5275882a7263e5264c890b6219e787c430c6ce018f3b2799e2f320ea4ed82069"
"""sha256 of the centers as little-endian float32, C order."""


@cache
def load_centers() -> Float[np.ndarray, "Q 2"]:
    """Return the bin centers in Lab units; float32, shape (313, 2), read-only, ordered by a, then b."""
    with resources.as_file(resources.files("chroma") / "data" / "ab_bins.npy") as path:
        centers = np.load(path).astype(np.float32)
    centers.flags.writeable = False
    return centers


def squared_distances(
    ab: Float[np.ndarray, "*shape 2"], centers: Float[np.ndarray, "Q 2"]
) -> Float[np.ndarray, "*shape Q"]:
    """Return the squared distance of each ab value to each center.

    Args:
        ab: Lab units, float, shape (..., 2).
        centers: bin centers in Lab units, shape (Q, 2).

    Returns:
        Lab units squared, float64, shape (..., Q); exact for integer ab.
    """
    ab = ab.astype(np.float64)
    c = centers.astype(np.float64)
    distances = np.square(ab[..., :1] - c[:, 0])
    distances += np.square(ab[..., 1:] - c[:, 1])
    return distances


def nearest_bin(ab: Float[np.ndarray, "*shape 2"], centers: Float[np.ndarray, "Q 2"]) -> Int[np.ndarray, "*shape"]:
    """Return the index of the nearest bin of each ab value; among equals the lowest index.

    Args:
        ab: Lab units, float, shape (..., 2).
        centers: bin centers in Lab units, shape (Q, 2).

    Returns:
        Bin indices, int32, shape (...).
    """
    # ab.c - |c|^2 / 2 is largest where |ab - c|^2 is smallest; float64 keeps integer ab exact.
    c = centers.astype(np.float64)
    score = ab.astype(np.float64) @ c.T
    score -= 0.5 * np.square(c).sum(axis=1)
    return np.asarray(score.argmax(axis=-1), dtype=np.int32)
