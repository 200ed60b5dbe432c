"""The 313 ab bins."""

import hashlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from chroma.bins import BINS_SHA256, GRID_SPACING, Q, load_centers, nearest_bin, squared_distances
from chroma.lab import rgb_u8_to_lab


def test_centers_are_the_published_ones() -> None:
    centers = load_centers()
    assert centers.shape == (Q, 2) == (313, 2)
    assert centers.dtype == np.float32
    assert hashlib.sha256(np.ascontiguousarray(centers, "<f4").tobytes()).hexdigest() == BINS_SHA256


def test_centers_lie_on_the_grid_in_order_and_once() -> None:
    centers = load_centers()
    assert not (centers % GRID_SPACING).any()
    assert (np.lexsort((centers[:, 1], centers[:, 0])) == np.arange(Q)).all()
    assert len(np.unique(centers, axis=0)) == Q


def test_every_srgb_color_has_a_bin_of_its_own_cell() -> None:
    """No color is farther from a center than half the diagonal of a cell: the bins cover the gamut without gaps."""
    axis = np.arange(0, 256, 5, dtype=np.uint8)
    rgb_u8 = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    nearest = squared_distances(rgb_u8_to_lab(rgb_u8)[..., 1:], load_centers()).min(axis=-1)
    assert np.sqrt(nearest.max()) <= np.hypot(GRID_SPACING, GRID_SPACING) / 2 + 1e-3


def test_centers_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_centers()[0, 0] = 1


def test_nearest_bin_of_a_center_is_itself() -> None:
    centers = load_centers()
    index = nearest_bin(centers, centers)
    assert index.dtype == np.int32
    assert_array_equal(index, np.arange(Q))


def test_nearest_bin_equals_brute_force_and_takes_the_lowest_among_equals() -> None:
    centers = load_centers()
    rng = np.random.default_rng(0)
    anywhere = rng.uniform(-128, 127, (40, 50, 2))
    halfway = np.rint(rng.uniform(-20, 20, (40, 50, 2))) * 5
    for ab in (anywhere, halfway):
        exact = np.square(ab[..., None, :] - centers.astype(np.float64)).sum(axis=-1)
        assert_array_equal(nearest_bin(ab, centers), exact.argmin(axis=-1))
    tied = np.array([5.0, 0.0])  # between (0, 0) and (10, 0)
    assert centers[nearest_bin(tied, centers)].tolist() == [0.0, 0.0]


def test_squared_distances_are_exact_for_integers() -> None:
    centers = load_centers()
    ab = np.random.default_rng(0).integers(-128, 128, (7, 3, 2))
    expected = np.square(ab[..., None, :] - centers.astype(int)).sum(axis=-1)
    assert_array_equal(squared_distances(ab.astype(np.float32), centers), expected)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 3, 4)])
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    ab = np.zeros((*shape, 2), np.float32)
    assert nearest_bin(ab, load_centers()).shape == shape
    assert squared_distances(ab, load_centers()).shape == (*shape, Q)
