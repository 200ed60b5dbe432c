"""A warm look: the posterior as it would be had the network learned on warm photographs more than on others.

Another distribution of colors is a term added to the logits: the log of how much likelier each bin is in it. It is the
same for every pixel, picture and frame, so what the network is sure of stays, and films do not flicker. Red bins gain
nothing: the hue guard of the decode judges as it did.

References:
    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
"""

from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

from chroma.bins import load_centers
from chroma.zones import RED

WARM_HUE_DEGREES: Final = 60.0
"""Warm is what lies toward this hue, between yellow and red; cold is the opposite."""
WARM_SHARE: Final = 0.25
"""Warm photographs are so many of all, those whose mean color lies furthest there."""
WARMTH: Final = 0.4
"""Weight of the log of the ratio: colored photographs then are about as warm as the least warm of those."""


@cache
def load_warm_ratio() -> Float[np.ndarray, "Q"]:
    """Return the log of how much likelier each bin is in warm photographs, float32, shape (Q,); see chroma/data."""
    with resources.as_file(resources.files("chroma") / "data" / "warm_ratio.npy") as path:
        ratio = np.load(path).astype(np.float32)
    ratio.flags.writeable = False
    return ratio


@cache
def warm_shift() -> Float32[np.ndarray, "Q"]:
    """Return what the warm look adds to the logits, float32, shape (Q,); at most 0 for the bins of red."""
    shift = np.float32(WARMTH) * load_warm_ratio()
    shift = np.where(RED.bins(load_centers()), np.minimum(shift, 0), shift)
    shift.flags.writeable = False
    return shift
