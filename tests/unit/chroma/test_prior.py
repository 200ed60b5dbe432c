"""Priors and rebalancing weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import Q, load_centers
from chroma.prior import LEAST_SHARE, count_bins, rebalancing_weights, smooth_prior, smooth_prior_1d


def one_hot(ab: tuple[float, float]) -> np.ndarray:
    return (load_centers() == np.float32(ab)).all(axis=1).astype(np.float64)


def some_prior() -> np.ndarray:
    rng = np.random.default_rng(5)
    shares = rng.pareto(0.7, Q) * (rng.random(Q) > 0.2)
    return shares / shares.sum()


def test_count_bins_counts_nearest_bins() -> None:
    ab = np.array([[[0.0, 0.0], [1.0, -2.0]], [[9.0, 0.0], [50.0, 40.0]]])
    counts = count_bins(ab, load_centers())
    assert counts.shape == (Q,)
    assert counts.sum() == 4
    assert_array_equal(counts, 2 * one_hot((0, 0)) + one_hot((10, 0)) + one_hot((50, 40)))


@pytest.mark.parametrize("sigma", [0.5, 5.0, 20.0])
def test_smoothing_sums_to_one_and_leaves_no_zero(sigma: float) -> None:
    for prior in (some_prior(), one_hot((0, 0)), one_hot(tuple(load_centers()[0]))):
        smooth = smooth_prior(prior, load_centers(), sigma=sigma)
        assert smooth.sum() == pytest.approx(1)
        assert smooth.min() >= LEAST_SHARE * (1 - 1e-9)


def test_smoothing_is_the_same_in_every_direction() -> None:
    """One bin far from the border spreads alike along a and b, unlike the 1-D variant."""
    centers = load_centers()
    smooth = smooth_prior(one_hot((0, 0)), centers)
    distance = np.hypot(*centers.T)
    for ring in (10, np.hypot(10, 10), 20):
        on_ring = np.isclose(distance, ring)
        assert on_ring.sum() == 4
        assert np.ptp(smooth[on_ring]) < 1e-12
    in_index = smooth_prior_1d(one_hot((0, 0)))
    along_b, along_a = in_index[one_hot((0, 10)) > 0].item(), in_index[one_hot((10, 0)) > 0].item()
    assert along_b > 0.05
    assert along_a < 1e-6


def test_smoothing_follows_the_gaussian() -> None:
    smooth = smooth_prior(one_hot((0, 0)), load_centers(), sigma=5.0)
    ratio = smooth[one_hot((10, 0)) > 0].item() / smooth[one_hot((0, 0)) > 0].item()
    assert ratio == pytest.approx(np.exp(-100 / 50))


def test_no_share_leaks_out_at_the_border() -> None:
    """A bin at the border keeps its share among its neighbors, like one in the middle."""
    centers = load_centers()
    border = centers[0]
    smooth = smooth_prior(one_hot((0, 0)) + one_hot(tuple(border)), centers)
    near_border = np.hypot(*(centers - border).T) < 40
    assert smooth[near_border].sum() == pytest.approx(0.5, abs=1e-6)


def test_smoothing_takes_counts_as_well_as_shares() -> None:
    prior = some_prior()
    assert_allclose(smooth_prior(prior * 1e6, load_centers()), smooth_prior(prior, load_centers()), rtol=1e-12)
    assert_allclose(smooth_prior_1d(prior * 1e6), smooth_prior_1d(prior), rtol=1e-9)


def test_hardly_any_smoothing_changes_nothing() -> None:
    prior = some_prior()
    assert_allclose(smooth_prior(prior, load_centers(), sigma=0.5), prior, atol=1e-9)


def test_1d_variant_leaks_round_the_ends_of_columns() -> None:
    """The fault it is kept for: the highest b of one a leaks to the lowest b of the next."""
    centers = load_centers()
    end = np.flatnonzero(np.diff(centers[:, 0]))[12]
    prior = np.zeros(Q)
    prior[end] = 1
    assert smooth_prior_1d(prior)[end + 1] > 0.05
    assert smooth_prior(prior, centers)[end + 1] < 1e-6


def test_weights_have_mean_one_under_the_prior() -> None:
    for lam in (0.0, 0.5, 1.0):
        for alpha in (0.25, 1.0):
            prior = smooth_prior(some_prior(), load_centers())
            assert prior @ rebalancing_weights(prior, lam=lam, alpha=alpha) == pytest.approx(1)


def test_rare_bins_weigh_more() -> None:
    prior = smooth_prior(some_prior(), load_centers())
    weights = rebalancing_weights(prior)
    assert weights[prior.argmin()] == weights.max()
    assert weights[prior.argmax()] == weights.min()
    assert (np.diff(weights[np.argsort(prior)]) <= 0).all()


@pytest.mark.parametrize("options", [{"lam": 1.0}, {"alpha": 0.0}])
def test_weights_can_be_switched_off(options: dict[str, float]) -> None:
    prior = smooth_prior(some_prior(), load_centers())
    assert_allclose(rebalancing_weights(prior, **options), 1)


def test_no_uniform_part_is_plain_inverse_frequency() -> None:
    prior = smooth_prior(some_prior(), load_centers())
    assert_allclose(rebalancing_weights(prior, lam=0.0) * prior, 1 / Q, rtol=1e-9)


def test_bins_that_never_occur_get_the_largest_weight() -> None:
    prior = some_prior()
    occurs = prior > 0
    weights = rebalancing_weights(prior)
    assert (weights[~occurs] == weights.max()).all()
    assert np.isfinite(weights).all()
    inverse = 1 / (0.5 * prior[occurs] + 0.5 / occurs.sum())
    assert_allclose(weights[occurs], inverse / (prior[occurs] @ inverse), rtol=1e-9)


@pytest.mark.parametrize("spoil", [-1.0, np.nan, np.inf])
def test_a_broken_prior_is_refused(spoil: float) -> None:
    prior = some_prior()
    prior[7] = spoil
    for use in (lambda p: smooth_prior(p, load_centers()), smooth_prior_1d, rebalancing_weights):
        with pytest.raises(ValueError, match="finite shares"):
            use(prior)


def test_a_prior_without_mass_is_refused() -> None:
    with pytest.raises(ValueError, match="some mass"):
        smooth_prior(np.zeros(Q), load_centers())


@pytest.mark.parametrize(("lam", "alpha"), [(-0.1, 1.0), (1.1, 1.0), (0.5, -1.0)])
def test_weight_options_out_of_range_are_refused(lam: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="lam must be in"):
        rebalancing_weights(some_prior(), lam=lam, alpha=alpha)
