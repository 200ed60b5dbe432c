"""The colors that a picture holds: named for people, counted over the ab bins, and taken over from a reference.

References:
    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021: another distribution of classes is a term added
    to the logits; here it is that of the reference photograph.
"""

import math
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from chroma.bins import load_centers
from chroma.decoding import softmax
from chroma.lab import lab_to_rgb, rgb_u8_to_lab
from chroma.prior import count_bins, smooth_prior

SAMPLES: Final = 1 << 13
"""At most about so many pixels of a picture are looked at: enough for shares of a hundredth."""
NEAR_LAB: Final = 5.0
"""Colors nearer than this to one of the palette need none of their own, Lab units."""
REFERENCE_SIGMA: Final = 7.0
"""Width of the Gaussian that smooths a reference's histogram, Lab units."""
REFERENCE_FLOOR: Final = 1e-4
"""Share of a bin, of both histograms, below which nothing is concluded from it."""
REFERENCE_GAIN: Final = 2.0
"""Weight of the log of the ratio at strength 1; above 1 the reference counts more than statistics would let it."""
REFERENCE_CAP: Final = 30.0
"""How many times as likely a bin may become, or as unlikely, before the gain."""


def palette_of(rgb_u8: UInt8[np.ndarray, "H W 3"], count: int = 6) -> list[tuple[str, float]]:
    """Return the colors that a picture is made of.

    Args:
        rgb_u8: sRGB, uint8, shape (H, W, 3).
        count: how many colors at most, at least 1.

    Returns:
        ("#rrggbb", share of the picture in [0, 1]) by falling share; the shares sum to 1. The same picture gives the
        same colors.

    Raises:
        ValueError: count below 1, or the picture is empty or of another shape.
    """
    if count < 1:
        raise ValueError(f"a palette has at least one color, not {count}")
    lab = rgb_u8_to_lab(_sampled(rgb_u8)).reshape(-1, 3)
    means = lab.mean(axis=0, keepdims=True)
    weight = np.array([0.6, 1, 1], np.float32)  # hue tells colors apart more than shade does
    points = lab * weight
    while len(means) < count:
        nearest = np.square(points[:, None] - means * weight).sum(axis=-1).min(axis=1)
        if nearest.max() < NEAR_LAB**2:
            break
        means = _settled(points, np.concatenate([means * weight, points[None, _far_crowd(points, nearest)]])) / weight
    owner = np.square(points[:, None] - means * weight).sum(axis=-1).argmin(axis=1)
    shares = np.bincount(owner, minlength=len(means)) / len(owner)
    codes = (lab_to_rgb(means) * 255 + 0.5).astype(np.uint8)
    named = [("#{:02x}{:02x}{:02x}".format(*code), float(share)) for code, share in zip(codes, shares, strict=True)]
    return sorted(((color, share) for color, share in named if share > 0), key=lambda entry: (-entry[1], entry[0]))


def ab_histogram(rgb_u8: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "Q"]:
    """Return the share of each ab bin in a picture, shape (Q,), sum 1.

    Args:
        rgb_u8: sRGB, uint8, shape (H, W, 3).

    Returns:
        Shares, float64, shape (Q,).

    Raises:
        ValueError: the picture is empty or of another shape.
    """
    counts = count_bins(rgb_u8_to_lab(_sampled(rgb_u8))[..., 1:], load_centers())
    return counts / counts.sum()


def reference_logits(
    logits: Float[np.ndarray, "h w Q"],
    reference_ab_histogram: Float[np.ndarray, "Q"],
    centers: Float[np.ndarray, "Q 2"],
    *,
    strength: float,
) -> Float[np.ndarray, "h w Q"]:
    """Move a picture's colors toward those that a reference photograph holds, as far as the posterior allows.

    Each bin's logit gets strength * gain * log(share in the reference / share in the picture as predicted), both
    smoothed in the ab plane, the ratio capped. What the network is sure of stays; where it hesitates, the reference
    decides.

    Args:
        logits: over the bins, shape (h, w, Q).
        reference_ab_histogram: from `ab_histogram`, shape (Q,).
        centers: bin centers in Lab units, shape (Q, 2).
        strength: 0 changes nothing, 1 follows the reference as far as it goes.

    Returns:
        Logits, same shape and dtype.

    Raises:
        ValueError: strength is not in [0, 1], or the histogram has a negative or non-finite share, or no mass.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in [0, 1], is {strength}")
    wanted = smooth_prior(reference_ab_histogram, centers, sigma=REFERENCE_SIGMA)
    if strength == 0:
        return logits
    found = smooth_prior(softmax(logits).mean(axis=(0, 1), dtype=np.float64), centers, sigma=REFERENCE_SIGMA)
    ratio = np.log((wanted + REFERENCE_FLOOR) / (found + REFERENCE_FLOOR))
    highest = np.log(REFERENCE_CAP)
    shift = strength * REFERENCE_GAIN * np.clip(ratio, -highest, highest)
    return logits + shift.astype(logits.dtype)


def _sampled(rgb_u8: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return every n-th pixel of every n-th row, about `SAMPLES` of them."""
    if rgb_u8.ndim != 3 or rgb_u8.shape[-1] != 3 or rgb_u8.size == 0 or rgb_u8.dtype != np.uint8:
        raise ValueError(f"expected sRGB, uint8, of shape (H, W, 3), got {rgb_u8.dtype} {rgb_u8.shape}")
    step = math.ceil(math.sqrt(rgb_u8.shape[0] * rgb_u8.shape[1] / SAMPLES))
    return np.ascontiguousarray(rgb_u8[::step, ::step])


def _far_crowd(points: np.ndarray, nearest: np.ndarray) -> int:
    """Return the index of the pixel to start the next color from: far from all colors, but not alone."""
    return int(np.argsort(nearest, kind="stable")[int(0.98 * (len(points) - 1))])


def _settled(points: np.ndarray, means: np.ndarray, rounds: int = 6) -> np.ndarray:
    """Run a few rounds of k-means."""
    for _ in range(rounds):
        owner = np.square(points[:, None] - means).sum(axis=-1).argmin(axis=1)
        counts = np.bincount(owner, minlength=len(means))
        sums = np.stack([np.bincount(owner, points[:, i], len(means)) for i in range(points.shape[1])], axis=1)
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], means).astype(points.dtype)
    return means
