"""ab -> sparse weights over the bins."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import Q, load_centers
from chroma.soft_encoding import (
    ab_to_row,
    build_table,
    densify,
    gaussian_weights,
    integer_ab,
    load_ball_tree_neighbors,
    nearest_bins,
    soft_encode,
)


def brute_force(ab: np.ndarray, k: int, sigma: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """The definition, one value at a time."""
    index, weight = [], []
    for value in ab.reshape(-1, 2).astype(np.float64):
        distance = [float((value[0] - a) ** 2 + (value[1] - b) ** 2) for a, b in load_centers().tolist()]
        nearest = sorted(range(Q), key=lambda q, distance=distance: (distance[q], q))[:k]
        mass = [np.exp((distance[nearest[0]] - distance[q]) / (2 * sigma**2)) for q in nearest]
        index.append(nearest)
        weight.append(np.array(mass) / sum(mass))
    return np.array(index).reshape(*ab.shape[:-1], k), np.array(weight).reshape(*ab.shape[:-1], k)


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_equals_the_definition_on_random_float_ab(k: int, sigma: float) -> None:
    ab = np.random.default_rng(k).uniform(-100, 100, (6, 25, 2)).astype(np.float32)
    index, weight = soft_encode(ab, load_centers(), k=k, sigma=sigma)
    expected_index, expected_weight = brute_force(ab, k, sigma)
    assert index.dtype == np.int32
    assert weight.dtype == np.float32
    assert_array_equal(index, expected_index)
    assert_allclose(weight, expected_weight, atol=1e-6)


def test_equals_the_definition_on_ties() -> None:
    """Cell corners, edges and centers: 4, 2 and 1 nearest bins, and many more ties behind them."""
    axis = np.arange(-30.0, 31.0, 5.0, dtype=np.float32)
    ab = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    index, weight = soft_encode(ab, load_centers(), k=5)
    expected_index, expected_weight = brute_force(ab, 5)
    assert_array_equal(index, expected_index)
    assert_allclose(weight, expected_weight, atol=1e-6)


def test_a_center_gets_its_own_bin_first() -> None:
    index, weight = soft_encode(load_centers(), load_centers(), k=5)
    assert_array_equal(index[:, 0], np.arange(Q))
    assert (weight[:, 0] > weight[:, 1]).all()


def test_nearest_bin_comes_first_and_weights_fall() -> None:
    ab = np.random.default_rng(0).uniform(-110, 110, (500, 2))
    _, weight = soft_encode(ab, load_centers(), k=10)
    assert (np.diff(weight, axis=-1) <= 1e-7).all()


def test_all_bins_can_share() -> None:
    index, weight = soft_encode(np.zeros((1, 2), np.float32), load_centers(), k=Q)
    assert_array_equal(np.sort(index[0]), np.arange(Q))
    assert weight.sum() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 3, 4), (0,), (0, 4)])
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    index, weight = soft_encode(np.zeros((*shape, 2), np.float32), load_centers(), k=5)
    assert index.shape == weight.shape == (*shape, 5)


@pytest.mark.parametrize("far", [1e3, 1e6])
def test_values_far_outside_the_gamut_keep_a_sum_of_one(far: float) -> None:
    _, weight = soft_encode(np.array([[far, -far], [0.0, 0.0]]), load_centers(), k=5)
    assert_allclose(weight.sum(axis=-1), 1, atol=1e-6)


def test_a_far_value_does_not_change_its_neighbors() -> None:
    near = np.random.default_rng(0).uniform(-100, 100, (50, 2))
    index = nearest_bins(near, load_centers(), k=5)
    alone = gaussian_weights(near, index, load_centers(), 5.0)
    company = np.concatenate([near, [[1e4, 1e4]]])
    together = gaussian_weights(company, nearest_bins(company, load_centers(), k=5), load_centers(), 5.0)
    assert_array_equal(together[:-1], alone)


@pytest.mark.parametrize("k", [0, -1, 314])
def test_k_outside_the_bins_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"1..313, is {k}"):
        soft_encode(np.zeros((1, 2)), load_centers(), k=k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ab_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or an infinity"):
        soft_encode(np.array([[0.0, bad]]), load_centers(), k=5)


def test_more_values_than_one_chunk() -> None:
    ab = np.random.default_rng(0).uniform(-100, 100, (20_000, 2))
    index, _ = soft_encode(ab, load_centers(), k=3)
    for row in (0, 8191, 8192, 16384, 19_999):
        assert_array_equal(index[row], soft_encode(ab[row], load_centers(), k=3)[0])


def test_table_equals_the_exact_encoding_of_integers() -> None:
    ab = np.random.default_rng(0).integers(-128, 128, (64, 64, 2))
    table_index, table_weight = build_table(load_centers(), k=10).encode(ab)
    index, weight = soft_encode(ab, load_centers(), k=10)
    assert_array_equal(table_index, index)
    assert_allclose(table_weight, weight, atol=1e-7)


def test_table_rounds_and_clips() -> None:
    table = build_table(load_centers(), k=5)
    rough = np.array([[3.4, -2.6], [500.0, -500.0]])
    assert_array_equal(table.encode(rough)[0], table.encode(np.array([[3, -3], [127, -128]]))[0])


def test_rows_count_through_all_integer_pairs() -> None:
    assert integer_ab().shape == (65536, 2)
    assert_array_equal(ab_to_row(integer_ab()), np.arange(65536))
    assert_array_equal(ab_to_row(integer_ab().astype(np.float32)), np.arange(65536))
    assert ab_to_row(np.array([-128, 127], np.int8)) == 255


def test_ball_tree_choice_is_stored_for_five_neighbors_only() -> None:
    assert load_ball_tree_neighbors().shape == (65536, 5)
    with pytest.raises(ValueError, match="k = 5, not 10"):
        build_table(load_centers(), k=10, ties="ball_tree")


def test_densify_puts_each_weight_on_its_bin_and_nothing_else() -> None:
    index, weight = soft_encode(np.random.default_rng(0).uniform(-90, 90, (3, 4, 2)), load_centers(), k=5)
    dense = densify(index, weight, Q)
    assert dense.shape == (3, 4, Q)
    assert_array_equal(np.take_along_axis(dense, index.astype(np.int64), axis=-1), weight)
    assert (np.count_nonzero(dense, axis=-1) == 5).all()


def test_encoding_does_not_change_its_input() -> None:
    ab: Any = np.random.default_rng(0).uniform(-90, 90, (5, 2))
    ab.flags.writeable = False
    soft_encode(ab, load_centers(), k=5)
    assert not ab.flags.writeable
