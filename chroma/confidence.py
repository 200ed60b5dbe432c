"""How sure a posterior is of the color that it gives each pixel."""

from typing import Final

import numpy as np
from jaxtyping import Float

from chroma.bins import load_centers
from chroma.decoding import softmax

NEAR: Final = 20.0
"""Colors closer than this in ab count as the same one, Lab units; evaluation judges by the same distance."""


def confidence_map(logits: Float[np.ndarray, "*shape Q"]) -> Float[np.ndarray, "*shape"]:
    """Return the posterior's mass within 20 Lab units of its own mean.

    That is the probability, as the network sees it, that the mean is about right: 1 where it is sure, towards 0 where
    it has no idea. It is what `photochrom-train evaluate` compares to how often the network is right.

    Args:
        logits: over the ab bins, shape (..., Q).

    Returns:
        Confidence in [0, 1], shape (...).
    """
    centers = load_centers()
    posterior = softmax(logits)
    mean = posterior @ centers
    distances = np.square(mean[..., :1] - centers[:, 0])
    distances += np.square(mean[..., 1:] - centers[:, 1])
    return np.minimum((posterior * (distances < NEAR**2)).sum(axis=-1), 1)
