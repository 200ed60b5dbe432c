"""What the judges of pictures share: checks of shapes, chroma, ratios of sums."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def check_pair(predicted: np.ndarray, truth: np.ndarray, *, channels: int = 3) -> None:
    """Refuse two pictures that cannot be compared.

    Args:
        predicted: shape (H, W, channels).
        truth: the same shape.
        channels: how many there must be.

    Raises:
        ValueError: the shapes differ, or are not those of a picture.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"shapes differ: {predicted.shape} and {truth.shape}")
    check_picture(predicted, channels=channels)


def check_picture(picture: np.ndarray, *, channels: int = 3) -> None:
    """Refuse what is no picture.

    Args:
        picture: shape (H, W, channels).
        channels: how many there must be.

    Raises:
        ValueError: the picture is empty or has another shape.
    """
    if picture.ndim != 3 or picture.shape[-1] != channels or picture.size == 0:
        raise ValueError(f"expected a picture of shape (H, W, {channels}), got {picture.shape}")


def chroma_of(lab: Float[np.ndarray, "*any 3"]) -> Float[np.ndarray, "*any"]:
    """Return sqrt(a^2 + b^2) of CIE Lab, shape (..., 3); Lab units, shape (...)."""
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]))


def ratio_of_sums(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Divide mean by mean: a mean of ratios would be ruled by the few pictures with almost nothing to compare.

    Args:
        numerators: one value a prediction.
        denominators: one value a true picture.

    Returns:
        The ratio of the sums.

    Raises:
        ValueError: the lengths differ, or the denominators sum to 0.
    """
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} predictions for {len(denominators)} true pictures")
    if sum(denominators) == 0:
        raise ValueError("no true picture has anything to compare with")
    return sum(numerators) / sum(denominators)
