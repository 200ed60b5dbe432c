"""How often each ab bin occurs in a run's training data, and how much each bin counts because of it.

The prior belongs to a run. Dozens of the 313 bins may never occur, so it is smoothed before anything divides by it,
in the ab plane: neighbors in *index* are not neighbors in color.
"""

from typing import Final

import numpy as np
from jaxtyping import Float

from chroma.bins import nearest_bin, squared_distances

LEAST_SHARE: Final = 1e-12
"""A smoothed share is never below this: the Gaussian of a far bin underflows to 0, and weights divide by shares."""


def count_bins(ab: Float[np.ndarray, "*shape 2"], centers: Float[np.ndarray, "Q 2"]) -> Float[np.ndarray, "Q"]:
    """Count how many ab values fall to each nearest bin.

    Args:
        ab: Lab units, float, shape (..., 2).
        centers: bin centers in Lab units, shape (Q, 2).

    Returns:
        Counts, float64, shape (Q,).
    """
    return np.bincount(nearest_bin(ab, centers).ravel(), minlength=len(centers)).astype(np.float64)


def smooth_prior(
    prior: Float[np.ndarray, "Q"], centers: Float[np.ndarray, "Q 2"], *, sigma: float = 5.0
) -> Float[np.ndarray, "Q"]:
    """Smooth a prior with a Gaussian in the ab plane.

    Each bin spreads its share over all bins by their ab distance, so the sum is kept and no bin stays at zero.

    Args:
        prior: share of each bin, >= 0, shape (Q,).
        centers: bin centers in Lab units, shape (Q, 2).
        sigma: width of the Gaussian, Lab units.

    Returns:
        Smoothed shares, sum 1, float64, shape (Q,).

    Raises:
        ValueError: the prior has a negative or non-finite share, or no mass.
    """
    shares = _as_shares(prior)
    kernel = np.exp(-squared_distances(centers, centers) / (2 * sigma**2))
    return _as_shares(np.maximum(shares @ (kernel / kernel.sum(axis=1, keepdims=True)), LEAST_SHARE))


def smooth_prior_1d(
    prior: Float[np.ndarray, "Q"], *, sigma: float = 5.0, points: int = 1000, window: int = 2000
) -> Float[np.ndarray, "Q"]:
    """Smooth a prior over bin *index*, as the original recipe does.

    Kept by name to reproduce it: it blurs along b but not along a, wraps at the ends of the columns, and leaves zeros
    at both ends. Use `smooth_prior` for anything else.

    Args:
        prior: share of each bin, >= 0, shape (Q,).
        sigma: width of the Gaussian, in steps of the refined index.
        points: the index axis is refined to this many steps by linear interpolation.
        window: length of the Gaussian window, in steps.

    Returns:
        Smoothed shares, sum 1, float64, shape (Q,).

    Raises:
        ValueError: the prior has a negative or non-finite share, or no mass.

    References:
        The published training scripts of the ECCV 2016 re-implementations (``smooth_color_prior``).
    """
    shares = _as_shares(prior)
    shares = _as_shares(shares + 1e-3 * shares.min())
    index = np.arange(len(shares))
    fine = np.linspace(0, len(shares) - 1, points)
    position = np.arange(window) - (window - 1) / 2
    gaussian = np.exp(-np.square(position) / (2 * sigma**2))
    full = np.convolve(np.interp(fine, index, shares), gaussian / gaussian.sum())
    start = (len(full) - points) // 2
    return _as_shares(np.interp(index, fine, full[start : start + points]))


def rebalancing_weights(
    prior: Float[np.ndarray, "Q"], *, lam: float = 0.5, alpha: float = 1.0
) -> Float[np.ndarray, "Q"]:
    """Return how much each bin counts: w = ((1 - lam) p + lam / Q')^-alpha, mean 1 under the prior.

    Q' is the number of bins that occur; the uniform part goes to those alone, as in the original.

    Args:
        prior: share of each bin, smoothed, >= 0, shape (Q,).
        lam: share of the uniform distribution, [0, 1]; 1 means equal weights.
        alpha: exponent; 0 means equal weights.

    Returns:
        Weights > 0, float64, shape (Q,). A bin with neither prior nor uniform part gets the largest weight of
        the others.

    Raises:
        ValueError: lam outside [0, 1], alpha negative, or the prior has a negative or non-finite share, or no mass.

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 2.2, equation 4.
    """
    if not 0 <= lam <= 1 or alpha < 0:
        raise ValueError(f"lam must be in [0, 1] and alpha >= 0, not {lam} and {alpha}")
    shares = _as_shares(prior)
    occurs = shares > 0
    mixed = (1 - lam) * shares + lam * occurs / occurs.sum()
    weights = np.zeros_like(mixed)
    weights[occurs] = mixed[occurs] ** -alpha
    weights[~occurs] = weights.max()
    return weights / (shares @ weights)


def _as_shares(prior: Float[np.ndarray, "Q"]) -> Float[np.ndarray, "Q"]:
    shares = np.asarray(prior, dtype=np.float64)
    if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
        raise ValueError("a prior has finite shares >= 0 and some mass")
    return shares / shares.sum()
