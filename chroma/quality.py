"""Judge a colored picture: how near to the truth, how colorful, and how much of its color is noise.

Two families. The first, here, compares values: `psnr`, `delta_e_2000`, `ab_error`, `auc`, `colorfulness`.
The second, in `chroma.noise` and importable from here too, counts what an eye objects to: wrong hues
(`false_hue_fraction` and its special cases), color that wanders where the light does not (`smooth_variation`, `tvq`),
and isolated spots (`speckle`).

A fraction is a share of pixels in [0, 1], not a percentage. Functions judge one picture; `colorfulness_ratio`, `tvr`
and `tvq` take a set and divide mean by mean: a mean of ratios is ruled by the few pictures that are almost gray.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, UInt8

from chroma.comparison import check_pair, check_picture, ratio_of_sums
from chroma.hues import HUE_SECTORS, hue_of
from chroma.noise import (
    dark_false_red_fraction,
    dark_share,
    false_deep_red_fraction,
    false_hue_fraction,
    false_hue_fractions,
    false_hues,
    false_red_fraction,
    quarter_lab,
    smooth_variation,
    speckle,
    tvq,
    tvr,
)

__all__ = [
    "HUE_SECTORS",
    "ab_error",
    "auc",
    "colorfulness",
    "colorfulness_differences",
    "colorfulness_ratio",
    "dark_false_red_fraction",
    "dark_share",
    "delta_e_2000",
    "false_deep_red_fraction",
    "false_hue_fraction",
    "false_hue_fractions",
    "false_hues",
    "false_red_fraction",
    "psnr",
    "quarter_lab",
    "right_thresholds",
    "smooth_variation",
    "speckle",
    "tvq",
    "tvr",
]

RgbU8 = UInt8[np.ndarray, "H W 3"]

AUC_LIMIT = 150
"""Largest ab distance of the accuracy curve (Lab units)."""


def psnr(predicted: RgbU8, truth: RgbU8) -> float:
    """Peak signal-to-noise ratio over all pixels and channels: 10 log10(255^2 / mean squared difference).

    Args:
        predicted: sRGB, uint8, shape (H, W, 3).
        truth: the same shape.

    Returns:
        Decibels; infinite for equal pictures.

    Raises:
        ValueError: the shapes differ, or a picture is empty.

    Example:
        >>> gray = np.full((4, 4, 3), 100, np.uint8)
        >>> round(psnr(gray, gray + 1), 2)
        48.13
    """
    check_pair(predicted, truth)
    squared = np.square(predicted.astype(np.float32) - truth.astype(np.float32))
    error = float(squared.mean(dtype=np.float64))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ab_error(predicted: Float[np.ndarray, "H W 2"], truth: Float[np.ndarray, "H W 2"]) -> float:
    """Mean distance between two ab maps: mean of sqrt((a - a')^2 + (b - b')^2).

    Args:
        predicted: ab in Lab units, shape (H, W, 2).
        truth: the same shape.

    Returns:
        Lab units, at least 0.

    Raises:
        ValueError: the shapes differ, or a map is empty.

    Example:
        >>> ab_error(np.zeros((2, 2, 2)), np.full((2, 2, 2), [3.0, 4.0]))
        5.0
    """
    return float(_ab_distance(predicted, truth).mean(dtype=np.float64))


def auc(
    predicted: Float[np.ndarray, "H W 2"],
    truth: Float[np.ndarray, "H W 2"],
    *,
    weights: Float[np.ndarray, "H W"] | None = None,
) -> float:
    """Area under the accuracy curve: the share of pixels whose ab error is at most t, averaged over t = 0, 1, ..., 150.

    Args:
        predicted: ab in Lab units, shape (H, W, 2).
        truth: the same shape.
        weights: what each pixel counts, at least 0, shape (H, W); all alike if None. The rebalanced AuC uses one over
            how often the bin of the true color occurs.

    Returns:
        In [0, 1]; 1 for a perfect prediction.

    Raises:
        ValueError: the shapes differ, a map is empty, or the weights are negative or all zero.

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 3.1.

    Example:
        >>> auc(np.zeros((1, 1, 2)), np.full((1, 1, 2), [0.0, 75.5]))  # right at t = 76, ..., 150: 75 of 151
        0.4966887417218543
    """
    right = right_thresholds(predicted, truth)
    if weights is None:
        weights = np.ones(right.shape)
    if weights.shape != right.shape or (weights < 0).any() or not weights.any():
        raise ValueError(f"weights must have shape {right.shape}, be at least 0 and not all zero")
    return float(np.average(right, weights=weights))


def right_thresholds(
    predicted: Float[np.ndarray, "H W 2"], truth: Float[np.ndarray, "H W 2"]
) -> Float[np.ndarray, "H W"]:
    """Share of the thresholds 0, 1, ..., 150 at which each pixel is right: the accuracy curve, integrated by pixel.

    Its mean is `auc`; over many pictures, the weighted mean of all their pixels is the rebalanced AuC.

    Args:
        predicted: ab in Lab units, shape (H, W, 2).
        truth: the same shape.

    Returns:
        In [0, 1], shape (H, W).

    Raises:
        ValueError: the shapes differ, or a map is empty.
    """
    thresholds = AUC_LIMIT + 1
    return 1 - np.clip(np.ceil(_ab_distance(predicted, truth)), 0, thresholds) / thresholds


def delta_e_2000(
    predicted: Float[np.ndarray, "... 3"], truth: Float[np.ndarray, "... 3"]
) -> Float64[np.ndarray, "..."]:
    """CIEDE2000 color difference of each pixel, with kL = kC = kH = 1.

    Args:
        predicted: CIE Lab, shape (..., 3).
        truth: the same shape.

    Returns:
        Difference, at least 0, about 1 where an eye begins to see it; float64, shape (...).

    Raises:
        ValueError: the shapes differ.

    References:
        Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test Data, and
        Mathematical Observations", Color Research and Application 30(1), 2005, equations 2 to 22.

    Example:
        >>> round(float(delta_e_2000(np.array([50.0, 2.6772, -79.7751]), np.array([50.0, 0.0, -82.7485]))), 4)
        2.0425
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"shapes differ: {predicted.shape} and {truth.shape}")
    L1, a1, b1 = np.moveaxis(predicted.astype(np.float64), -1, 0)
    L2, a2, b2 = np.moveaxis(truth.astype(np.float64), -1, 0)

    # Stretch a near the gray axis; then chroma and hue.
    mean_C_ab = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    G = 0.5 * (1 - np.sqrt(mean_C_ab**7 / (mean_C_ab**7 + 25.0**7)))
    C1, C2 = np.hypot((1 + G) * a1, b1), np.hypot((1 + G) * a2, b2)
    h1, h2 = hue_of(np.stack(((1 + G) * a1, b1), -1)), hue_of(np.stack(((1 + G) * a2, b2), -1))

    # Differences and means; the hue takes the short way round the circle.
    colored = C1 * C2 > 0
    delta_h = np.where(colored, h2 - h1, 0)
    across = np.abs(delta_h) > 180 + 1e-9  # opposite hues count as 180 degrees apart, whatever arctan2 rounds them to
    delta_h -= 360 * np.sign(delta_h) * across
    delta_L, delta_C = L2 - L1, C2 - C1
    delta_H = 2 * np.sqrt(C1 * C2) * np.sin(np.radians(delta_h / 2))
    mean_L, mean_C = (L1 + L2) / 2, (C1 + C2) / 2
    sum_h = h1 + h2
    mean_h = np.where(across, sum_h + np.where(sum_h < 360, 360, -360), sum_h) / np.where(colored, 2, 1)

    # Weights of the three differences, and the turn that the blue region needs.
    T = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    S_L = 1 + 0.015 * (mean_L - 50) ** 2 / np.sqrt(20 + (mean_L - 50) ** 2)
    S_C = 1 + 0.045 * mean_C
    S_H = 1 + 0.015 * mean_C * T
    turn = np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2)))
    R_T = -2 * np.sqrt(mean_C**7 / (mean_C**7 + 25.0**7)) * np.sin(turn)
    terms = (delta_L / S_L) ** 2 + (delta_C / S_C) ** 2 + (delta_H / S_H) ** 2 + R_T * (delta_C / S_C) * (delta_H / S_H)
    return np.asarray(np.sqrt(np.maximum(terms, 0)))


def colorfulness(rgb_u8: RgbU8) -> float:
    """How colorful a picture looks: sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).

    rg = R - G and yb = (R + G) / 2 - B, on the 0..255 scale of sRGB.

    Args:
        rgb_u8: sRGB, uint8, shape (H, W, 3).

    Returns:
        0 for a gray picture; about 15 slightly, 45 quite, 80 and more highly colorful.

    Raises:
        ValueError: the picture is empty or has another shape.

    References:
        Hasler and Suesstrunk, "Measuring Colourfulness in Natural Images", Human Vision and Electronic Imaging, 2003.

    Example:
        >>> colorfulness(np.full((2, 2, 3), [255, 255, 0], np.uint8))  # plain yellow: rg = 0, yb = 255
        76.5
    """
    check_picture(rgb_u8)
    red, green, blue = np.moveaxis(rgb_u8.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())


def colorfulness_ratio(predicted: Sequence[RgbU8], truth: Sequence[RgbU8]) -> float:
    """How colorful a set is beside its truth: mean colorfulness of the predictions / mean colorfulness of the truth.

    Args:
        predicted: pictures, each sRGB, uint8, (H, W, 3).
        truth: as many.

    Returns:
        1 where both are alike, below 1 for pale predictions.

    Raises:
        ValueError: the sets differ in length, are empty, or all the truth is gray.

    Example:
        >>> half, full = np.full((2, 2, 3), [128, 128, 64], np.uint8), np.full((2, 2, 3), [128, 128, 0], np.uint8)
        >>> colorfulness_ratio([half, full], [full, full])
        0.75
    """
    return ratio_of_sums([colorfulness(p) for p in predicted], [colorfulness(t) for t in truth])


def colorfulness_differences(predicted: Sequence[float], truth: Sequence[float]) -> tuple[float, float]:
    """Both differences in colorfulness that papers print as "delta CF".

    Args:
        predicted: `colorfulness` of each prediction.
        truth: of each true picture, in the same order.

    Returns:
        (|mean of the predictions - mean of the truth|, mean of |prediction - truth|); the first is 0 where too pale and
        too vivid pictures cancel, the second is never smaller.

    Raises:
        ValueError: the lengths differ, or there is none.

    Example:
        >>> colorfulness_differences([20.0, 40.0], [30.0, 30.0])
        (0.0, 10.0)
    """
    if len(predicted) != len(truth) or not len(predicted):
        raise ValueError(f"{len(predicted)} predictions for {len(truth)} true pictures")
    difference = np.subtract(predicted, truth)
    return float(abs(difference.mean())), float(np.abs(difference).mean())


def _ab_distance(predicted: Float[np.ndarray, "H W 2"], truth: Float[np.ndarray, "H W 2"]) -> Float[np.ndarray, "H W"]:
    check_pair(predicted, truth, channels=2)
    difference = predicted - truth
    return np.asarray(np.hypot(difference[..., 0], difference[..., 1]))
