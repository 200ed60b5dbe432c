"""What an answer keeps of skin, foliage and reds, and how much of a picture is one tint.

A sector is where the *truth* has such a color, so that it stays the same whatever the answer does. An answer may be
near the truth on average and still leave every face gray: `chroma_kept` shows that, and pictures without a truth show
it as one tint all over (`fullest_sector_share`, `mean_chroma`).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from chroma.comparison import check_pair, check_picture, chroma_of, ratio_of_sums
from chroma.hues import hue_of, in_sector

Lab = Float[np.ndarray, "H W 3"]
Mask = Bool[np.ndarray, "H W"]

SKIN_HUES: Final = (10.0, 85.0)
"""CIE Lab hue in degrees, from (included) to (excluded); wide, as boxes drawn by hand say where skin is."""
SKIN_CHROMA: Final = 5.0
"""Skin has more than this (Lab units): highlights on it have no color to keep."""
SKIN_LIGHTNESS: Final = (20.0, 92.0)
"""Skin lies between these L, both included: neither hair and shadow nor burnt-out light."""
FOLIAGE_HUES: Final = (102.0, 165.0)
FOLIAGE_CHROMA: Final = 12.0
"""Foliage has at least this (Lab units)."""
RED_HUES: Final = (340.0, 45.0)
RED_CHROMA: Final = 25.0
"""Reds have more than this (Lab units)."""
TINT_DEGREES: Final = 60
"""Width of the window of hues that counts as one tint."""


class Box(NamedTuple):
    """A box in a picture, as shares of its width (x) and height (y), in [0, 1]; from the upper left corner."""

    x0: float
    y0: float
    x1: float
    y1: float


def inside_boxes(shape: tuple[int, int], boxes: Sequence[Box]) -> Mask:
    """Return where a picture of shape (H, W) lies in any of the boxes, shape (H, W); edges go to the nearest pixel.

    Args:
        shape: (H, W).
        boxes: none gives a mask that is false everywhere.

    Returns:
        Shape (H, W).

    Raises:
        ValueError: a box leaves the picture, or has no area.

    Example:
        >>> inside_boxes((2, 4), [Box(0.5, 0.0, 1.0, 0.5)]).astype(int).tolist()
        [[0, 0, 1, 1], [0, 0, 0, 0]]
    """
    H, W = shape
    inside = np.zeros(shape, bool)
    for box in boxes:
        if not (0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1):
            raise ValueError(f"{box} is no box in a picture")
        inside[round(box.y0 * H) : round(box.y1 * H), round(box.x0 * W) : round(box.x1 * W)] = True
    return inside


def skin_mask(truth: Lab, inside: Mask) -> Mask:
    """Return where the truth has skin: hue in [10, 85), chroma above 5, L in [20, 92], inside boxes drawn round it.

    Args:
        truth: CIE Lab, shape (H, W, 3).
        inside: where faces and hands are, shape (H, W); see `inside_boxes`.

    Returns:
        Shape (H, W).

    Raises:
        ValueError: the picture is empty, or the shapes differ.
    """
    check_picture(truth)
    if inside.shape != truth.shape[:2]:
        raise ValueError(f"shapes differ: {inside.shape} and {truth.shape[:2]}")
    is_lit = (truth[..., 0] >= SKIN_LIGHTNESS[0]) & (truth[..., 0] <= SKIN_LIGHTNESS[1])
    return np.asarray(inside & is_lit & _has_hue(truth, SKIN_HUES) & (chroma_of(truth) > SKIN_CHROMA))


def foliage_mask(truth: Lab) -> Mask:
    """Return where the truth, CIE Lab, (H, W, 3), is green as plants are: hue in [102, 165), chroma from 12; (H, W).

    Raises:
        ValueError: the picture is empty or has another shape.
    """
    check_picture(truth)
    return np.asarray(_has_hue(truth, FOLIAGE_HUES) & (chroma_of(truth) >= FOLIAGE_CHROMA))


def red_mask(truth: Lab) -> Mask:
    """Return where the truth, CIE Lab, (H, W, 3), is plainly red: hue in [340, 45), chroma above 25; shape (H, W).

    Raises:
        ValueError: the picture is empty or has another shape.
    """
    check_picture(truth)
    return np.asarray(_has_hue(truth, RED_HUES) & (chroma_of(truth) > RED_CHROMA))


def chroma_kept(predicted: Sequence[np.ndarray], truth: Sequence[np.ndarray], sectors: Sequence[np.ndarray]) -> float:
    """How much of a sector's chroma a set of answers has: its sum over all pixels and pictures, answers / truth.

    Only how colorful, not which color: read it beside an error.

    Args:
        predicted: pictures, each CIE Lab, shape (H, W, 3).
        truth: as many, of the same shapes.
        sectors: where each truth has the sector, shape (H, W).

    Returns:
        1 where both are as colorful, 0 for gray answers.

    Raises:
        ValueError: the sets differ in length, shapes differ, or no truth has such a color.

    Example:
        >>> leaf = np.full((2, 2, 3), [50.0, -20.0, 20.0])
        >>> round(chroma_kept([leaf * [1, 0.5, 0.5]], [leaf], [foliage_mask(leaf)]), 6)
        0.5
    """
    for one, other in zip(predicted, truth, strict=True):
        check_pair(one, other)
    answers = [chroma_sum(lab, mask) for lab, mask in zip(predicted, sectors, strict=True)]
    return ratio_of_sums(answers, [chroma_sum(lab, mask) for lab, mask in zip(truth, sectors, strict=True)])


def chroma_sum(lab: Lab, sector: Mask) -> float:
    """Return the chroma of a picture, CIE Lab, (H, W, 3), summed over a mask, (H, W); Lab units times pixels.

    `chroma_kept` is the ratio of two of them, each summed over pictures: for sets too large to hold.
    """
    return float(chroma_of(lab)[sector].sum(dtype=np.float64))


def mean_chroma(lab: Lab) -> float:
    """Return the mean chroma of a picture, CIE Lab, shape (H, W, 3); Lab units.

    Raises:
        ValueError: the picture is empty or has another shape.
    """
    check_picture(lab)
    return float(chroma_of(lab).mean(dtype=np.float64))


def fullest_sector_share(lab: Lab) -> float:
    """Share of a picture's chroma that lies within 60 degrees of hue, at the best place of that window.

    The window slides in steps of one degree; each pixel counts with its chroma.

    Args:
        lab: CIE Lab, shape (H, W, 3).

    Returns:
        From 1/6 (all hues alike) to 1 (one tint); 0 for a picture that is gray throughout.

    Raises:
        ValueError: the picture is empty or has another shape.

    Example:
        >>> sepia, sky = np.full((3, 4, 3), [50.0, 5.0, 15.0]), np.full((1, 4, 3), [50.0, -3.0, -15.0])
        >>> fullest_sector_share(sepia), round(fullest_sector_share(np.concatenate((sepia, sky))), 2)
        (1.0, 0.76)
    """
    check_picture(lab)
    degrees = hue_of(lab[..., 1:]).astype(int).ravel() % 360  # a hue just below 0 may have been rounded up to 360
    chroma = np.bincount(degrees, weights=chroma_of(lab).ravel(), minlength=360)
    if not chroma.any():
        return 0.0
    sums = np.cumsum(np.concatenate(([0.0], chroma, chroma[: TINT_DEGREES - 1])))
    return min(float((sums[TINT_DEGREES:] - sums[:-TINT_DEGREES]).max() / chroma.sum()), 1.0)


def _has_hue(lab: Lab, hues: tuple[float, float]) -> Mask:
    return in_sector(hue_of(lab[..., 1:]), hues)
