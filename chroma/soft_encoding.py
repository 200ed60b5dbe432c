"""ab -> weights over the bins: each value is spread over its k nearest bins by a Gaussian of their distance.

Two forms. `soft_encode` is exact for any float ab. `build_table` tabulates all 65,536 integer ab pairs once; a look-up
then costs nothing beside a training step. Both are *sparse*: k indices and k weights a pixel, never 313 values.

Ties: of the integer pairs that occur in sRGB, 19 % have two or more nearest bins, and 47 % tie between the 5th and the
6th neighbor. `soft_encode` takes the lowest index among equals. The table can also take scikit-learn's
ball-tree choice, which is what the original recipe trained on; that choice is stored, see ``chroma/data/README.md``.

References:
    Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 2.1 (k = 5 in the paper; the published
    code uses k = 10), sigma = 5.
"""

from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Int, Num

from chroma.bins import squared_distances

SIGMA: Final = 5.0
"""Width of the Gaussian, Lab units."""
AB_LOW: Final = -128
"""Lowest integer a or b of the table, Lab units."""
AB_CODES: Final = 256
"""Number of integer values of a, and of b, in the table."""
BALL_TREE_K: Final = 5
"""Number of neighbors for which the ball tree's choice among ties is stored."""
_CHUNK: Final = 256
"""Values at a time: their distances to all bins stay in the cache, 640 kB."""
_TIE_BREAK: Final = 1e-9

Ties = Literal["lowest_index", "ball_tree"]


def nearest_bins(
    ab: Num[np.ndarray, "*shape 2"], centers: Float[np.ndarray, "Q 2"], *, k: int
) -> Int[np.ndarray, "*shape k"]:
    """Return the k nearest bins of each ab value, nearest first; among equals the lowest index first.

    Args:
        ab: Lab units, shape (..., 2).
        centers: bin centers in Lab units, shape (Q, 2).
        k: how many bins, 1 to Q.

    Returns:
        Bin indices, int32, shape (..., k).

    Raises:
        ValueError: ab has a NaN or infinity, or k is not in 1..Q.
    """
    if not 1 <= k <= len(centers):
        raise ValueError(f"k must be in 1..{len(centers)}, is {k}")
    values = np.asarray(ab, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("ab has a NaN or an infinity")
    flat = values.reshape(-1, 2)
    found = np.empty((len(flat), k), dtype=np.int32)
    # A sliver per index makes equal distances differ, so that partial sorting respects the order of the bins.
    sliver = _TIE_BREAK * np.arange(len(centers))
    for start in range(0, len(flat), _CHUNK):
        distance = squared_distances(flat[start : start + _CHUNK], centers) + sliver
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(distance, nearest, axis=1).argsort(axis=1)
        found[start : start + _CHUNK] = np.take_along_axis(nearest, order, axis=1)
    return found.reshape(*values.shape[:-1], k)


def gaussian_weights(
    ab: Num[np.ndarray, "*shape 2"], index: Int[np.ndarray, "*shape k"], centers: Float[np.ndarray, "Q 2"], sigma: float
) -> Float[np.ndarray, "*shape k"]:
    """Return the Gaussian weights of given bins.

    Args:
        ab: Lab units, shape (..., 2).
        index: bins of each value, shape (..., k).
        centers: bin centers in Lab units, shape (Q, 2).
        sigma: width of the Gaussian, Lab units, > 0.

    Returns:
        Weights in [0, 1] that sum to 1 over the last axis, float64, shape (..., k).
    """
    offset = np.asarray(ab, dtype=np.float64)[..., None, :] - centers.astype(np.float64)[index]
    distance = np.sqrt(np.square(offset).sum(axis=-1))
    # Far outside the gamut relative to the nearest bin, where the exponential would underflow to 0 / 0.
    squared = distance**2
    nearest = squared.min(axis=-1, keepdims=True)
    squared -= np.where(nearest > 700 * 2 * sigma**2, nearest, 0)
    weights = np.exp(-squared / (2 * sigma**2))
    return np.asarray(weights / np.sum(weights, axis=-1, keepdims=True))


def soft_encode(
    ab: Num[np.ndarray, "*shape 2"], centers: Float[np.ndarray, "Q 2"], *, k: int, sigma: float = SIGMA
) -> tuple[Int[np.ndarray, "*shape k"], Float[np.ndarray, "*shape k"]]:
    """Spread each ab value over its k nearest bins; exact for float ab.

    Near misses in color should cost less than far ones.

    Args:
        ab: Lab units, about [-110, 110], shape (..., 2).
        centers: bin centers in Lab units, shape (Q, 2).
        k: how many bins share the mass.
        sigma: width of the Gaussian, Lab units.

    Returns:
        (index, weight): bins, int32, and weights in [0, 1] that sum to 1, float32; both of shape (..., k), nearest
        bin first.

    Raises:
        ValueError: ab has a NaN or infinity, or k is not in 1..Q.

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 2.1.
    """
    index = nearest_bins(ab, centers, k=k)
    return index, gaussian_weights(ab, index, centers, sigma).astype(np.float32)


def densify(
    index: Int[np.ndarray, "*shape k"], weight: Float[np.ndarray, "*shape k"], bins: int
) -> Float[np.ndarray, "*shape Q"]:
    """Turn sparse (index, weight) pairs of shape (..., k) into a dense distribution of shape (..., bins)."""
    dense = np.zeros((*index.shape[:-1], bins), dtype=weight.dtype)
    np.put_along_axis(dense, index.astype(np.int64), weight, axis=-1)
    return dense


@dataclass(frozen=True)
class SoftEncodingTable:
    """The soft encoding of every integer ab pair.

    Attributes:
        index: bins, int32, shape (65536, k); row (a + 128) * 256 + (b + 128).
        weight: weights that sum to 1, float64, shape (65536, k).
    """

    index: Int[np.ndarray, "codes k"]
    weight: Float[np.ndarray, "codes k"]

    def encode(
        self, ab: Num[np.ndarray, "*shape 2"]
    ) -> tuple[Int[np.ndarray, "*shape k"], Float[np.ndarray, "*shape k"]]:
        """Look up ab values, rounded to integers and clipped to [-128, 127].

        Args:
            ab: Lab units, shape (..., 2).

        Returns:
            (index, weight): int32 and float64, both of shape (..., k).
        """
        row = ab_to_row(ab)
        return self.index.take(row, axis=0), self.weight.take(row, axis=0)  # four times faster than [row]


def ab_to_row(ab: Num[np.ndarray, "*shape 2"]) -> Int[np.ndarray, "*shape"]:
    """Return the table row of each ab value, rounded to integers and clipped to [-128, 127]; shape (...)."""
    code = ab if np.issubdtype(ab.dtype, np.integer) else np.rint(ab)
    code = np.clip(code, AB_LOW, AB_LOW + AB_CODES - 1).astype(np.int32) - AB_LOW
    return np.asarray(code[..., 0] * AB_CODES + code[..., 1])


def integer_ab() -> Int[np.ndarray, "codes 2"]:
    """Return all 65,536 integer ab pairs in the order of the table's rows; int32, shape (65536, 2)."""
    axis = np.arange(AB_LOW, AB_LOW + AB_CODES, dtype=np.int32)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def load_ball_tree_neighbors() -> Int[np.ndarray, "codes 5"]:
    """Return the 5 bins that scikit-learn's ball tree picks for each integer ab pair; int32, shape (65536, 5)."""
    stored = resources.files("chroma") / "data" / "ball_tree_neighbors.npz"
    with resources.as_file(stored) as path, np.load(path) as file:
        return np.asarray(file["index"], dtype=np.int32)


def build_table(
    centers: Float[np.ndarray, "Q 2"], *, k: int, sigma: float = SIGMA, ties: Ties = "lowest_index"
) -> SoftEncodingTable:
    """Tabulate the soft encoding of all integer ab pairs.

    Args:
        centers: bin centers in Lab units, shape (Q, 2).
        k: how many bins share the mass.
        sigma: width of the Gaussian, Lab units.
        ties: which bins win among equally near ones: the lowest index, or what the ball tree of the original recipe
            returns (k = 5 only).

    Returns:
        The table; 65,536 rows.

    Raises:
        ValueError: k is not in 1..Q, or the ball tree's choice is asked for another k than 5.
    """
    ab = integer_ab()
    if ties == "ball_tree":
        if k != BALL_TREE_K:
            raise ValueError(f"the ball tree's choice is stored for k = {BALL_TREE_K}, not {k}")
        index = load_ball_tree_neighbors()
    else:
        index = nearest_bins(ab, centers, k=k)
    return SoftEncodingTable(index=index, weight=gaussian_weights(ab, index, centers, sigma))
