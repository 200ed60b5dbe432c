"""Laws of the bins, the soft encoding and the prior."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import Q, load_centers, nearest_bin
from chroma.prior import count_bins, rebalancing_weights, smooth_prior, smooth_prior_1d
from chroma.soft_encoding import densify, soft_encode

ab_values = st.floats(-130, 130, width=32)
abs_ = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=3, max_side=4).map(lambda shape: (*shape, 2)), elements=ab_values
)
ks = st.integers(1, 12)
priors = hnp.arrays(np.float64, Q, elements=st.one_of(st.just(0.0), st.floats(1e-9, 1))).filter(np.any)


@given(abs_, ks, st.floats(0.5, 50))
def test_weights_sum_to_one_over_distinct_bins(ab: np.ndarray, k: int, sigma: float) -> None:
    index, weight = soft_encode(ab, load_centers(), k=k, sigma=sigma)
    assert_allclose(weight.sum(axis=-1), 1, atol=1e-5)
    assert (weight >= 0).all()
    ordered = np.sort(index, axis=-1)
    assert (np.diff(ordered, axis=-1) > 0).all()
    assert_allclose(densify(index, weight, Q).sum(axis=-1), 1, atol=1e-5)


@given(abs_, ks)
def test_the_peak_is_the_nearest_bin(ab: np.ndarray, k: int) -> None:
    index, weight = soft_encode(ab, load_centers(), k=k)
    offset = ab[..., None, :].astype(np.float64) - load_centers().astype(np.float64)
    distance = np.sqrt(np.square(offset).sum(axis=-1))
    first = np.take_along_axis(distance, index[..., :1].astype(np.int64), axis=-1)[..., 0]
    assert_allclose(first, distance.min(axis=-1), atol=1e-6)
    assert (weight[..., 0] >= weight.max(axis=-1) - 1e-6).all()


@given(abs_, ks)
def test_bins_left_out_are_not_nearer_than_those_taken(ab: np.ndarray, k: int) -> None:
    index, _ = soft_encode(ab, load_centers(), k=k)
    offset = ab[..., None, :].astype(np.float64) - load_centers().astype(np.float64)
    distance = np.sqrt(np.square(offset).sum(axis=-1))
    taken = np.take_along_axis(distance, index.astype(np.int64), axis=-1)
    assert (np.diff(taken, axis=-1) >= -1e-6).all()
    assert_allclose(taken[..., -1], np.sort(distance, axis=-1)[..., k - 1], atol=1e-6)


@given(abs_, ks)
def test_a_batch_equals_its_values_one_by_one(ab: np.ndarray, k: int) -> None:
    index, weight = soft_encode(ab, load_centers(), k=k)
    for place in np.ndindex(ab.shape[:-1]):
        one_index, one_weight = soft_encode(ab[place], load_centers(), k=k)
        assert_array_equal(index[place], one_index)
        assert_array_equal(weight[place], one_weight)


@given(abs_)
def test_turning_the_plane_turns_the_weights(ab: np.ndarray) -> None:
    """Only distances count: bins and values, both turned by a quarter, give the same weights."""
    quarter_turn = np.array([[0, 1], [-1, 0]], np.float32)
    _, weight = soft_encode(ab, load_centers(), k=5)
    _, turned = soft_encode(ab @ quarter_turn, load_centers() @ quarter_turn, k=5)
    assert_allclose(weight, turned, atol=1e-5)


@given(abs_)
def test_counting_is_counting(ab: np.ndarray) -> None:
    counts = count_bins(ab, load_centers())
    assert counts.sum() == ab.size / 2
    assert set(np.flatnonzero(counts)) == set(nearest_bin(ab, load_centers()).ravel().tolist())


@given(priors, st.floats(1, 50))
def test_smoothing_gives_a_distribution_without_zeros(prior: np.ndarray, sigma: float) -> None:
    smooth = smooth_prior(prior, load_centers(), sigma=sigma)
    assert_allclose(smooth.sum(), 1, rtol=1e-9)
    assert (smooth > 0).all()


@given(priors)
def test_the_original_smoothing_gives_a_distribution(prior: np.ndarray) -> None:
    smooth = smooth_prior_1d(prior)
    assert_allclose(smooth.sum(), 1, rtol=1e-9)
    assert (smooth >= 0).all()


@given(priors, st.floats(0, 1), st.floats(0, 2))
def test_weights_are_positive_and_one_on_average(prior: np.ndarray, lam: float, alpha: float) -> None:
    smooth = smooth_prior(prior, load_centers())
    weights = rebalancing_weights(smooth, lam=lam, alpha=alpha)
    assert (weights > 0).all()
    assert_allclose(smooth @ weights, 1, rtol=1e-9)
