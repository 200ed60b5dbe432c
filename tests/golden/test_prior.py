"""The 1-D smoothing of the prior against the original formula, written with SciPy as it was published."""

import numpy as np
from numpy.testing import assert_allclose
from scipy.interpolate import interp1d
from scipy.signal import convolve
from scipy.signal.windows import gaussian

from chroma.prior import rebalancing_weights, smooth_prior_1d


def raw_prior() -> np.ndarray:
    """A prior like a real one: a few common bins, many rare ones, 52 that never occur."""
    rng = np.random.default_rng(3)
    shares = rng.pareto(0.7, 313)
    shares[rng.choice(313, 52, replace=False)] = 0
    return shares / shares.sum()


def original_smoothing(prior: np.ndarray, sigma: float = 5) -> np.ndarray:
    prior = prior + 1e-3 * np.min(prior)
    prior = prior / (1.0 * np.sum(prior))
    curve = interp1d(np.arange(prior.shape[0]), prior)
    fine = np.linspace(0, prior.shape[0] - 1, 1000)
    window = gaussian(2000, sigma)
    smoothed = convolve(curve(fine), window / window.sum(), mode="same")
    back = interp1d(fine, smoothed)
    result = np.array([back(i) for i in range(prior.shape[0])])
    return result / np.sum(result)


def test_smooth_prior_1d_reproduces_the_original_smoothing() -> None:
    prior = raw_prior()
    assert_allclose(smooth_prior_1d(prior), original_smoothing(prior), rtol=1e-9, atol=1e-16)


def test_rebalancing_weights_reproduce_the_original_factor() -> None:
    """Zhang's `PriorFactor`: mix with the uniform distribution over occurring bins, invert, mean 1 under the prior."""
    prior = original_smoothing(raw_prior())
    uniform = np.zeros_like(prior)
    uniform[prior != 0] = 1.0
    uniform = uniform / np.sum(uniform)
    for lam, alpha in ((0.5, 1.0), (0.7, 1.0), (0.5, 0.25)):
        mixed = (1 - lam) * prior + lam * uniform
        factor = mixed**-alpha
        factor = factor / np.sum(prior * factor)
        assert_allclose(rebalancing_weights(prior, lam=lam, alpha=alpha), factor, rtol=1e-12)
