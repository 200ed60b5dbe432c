"""Looks: places on the curve of vividness, and shifts of the posterior toward the colors of certain photographs.

`warm` leans toward warm photographs (`chroma.warmth`), the looks of a time toward those of its color process:
photochrom prints of the 1890s, autochromes of the 1910s, color transparencies of the 1940s. All are made alike: the log
of how much likelier each bin is there than in ordinary photographs, of red bins at most 0. A shift is the same for
every picture, so a film does not flicker, and no single scene tints another.

References:
    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
"""

from functools import cache
from importlib import resources
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32

from chroma.bins import load_centers
from chroma.hues import hue_of, in_sector
from chroma.warmth import warm_shift
from chroma.zones import RED

Look = Literal["natural", "warm", "vivid", "photochrom", "autochrome", "transparency"]
VIVIDNESS_OF: Final[dict[Look, float]] = {
    "natural": 0.5,
    "warm": 0.5,
    "vivid": 0.85,
    "photochrom": 0.5,
    "autochrome": 0.5,
    "transparency": 0.7,
}
"""The vividness of each look, where none is given."""
PERIOD_WEIGHTS: Final[dict[Look, float]] = {"photochrom": 0.35, "autochrome": 0.7, "transparency": 2.0}
"""Weight of the log of the ratio. With the first two the mean color of colored photographs goes half of the way; all of
it would turn skies yellow, and clothes gray. The mean of transparencies is near the usual one: they count as
much as a reference photograph at full strength. All on validation photographs."""

VIOLET_DEGREES: Final = (290.0, 340.0)
"""Hues that no look of a time gains: the violet of old snow and skies is age, not what was seen."""


@cache
def load_period_ratios() -> dict[Look, Float32[np.ndarray, "Q"]]:
    """Return how much likelier each bin is in photographs of a time, as a log, float32, shape (Q,); see chroma/data."""
    with resources.as_file(resources.files("chroma") / "data" / "period_ratios.npz") as path, np.load(path) as stored:
        ratios = {look: stored[look] for look in PERIOD_WEIGHTS}
    for ratio in ratios.values():
        ratio.flags.writeable = False
    return ratios


@cache
def look_shift(look: Look) -> Float32[np.ndarray, "Q"] | None:
    """Return what a look adds to the logits, at most 0 for the bins of red; of a look of a time, for violet ones, too.

    Args:
        look: which one.

    Returns:
        Float32, shape (Q,); None for a look that only has its place on the curve.
    """
    if look == "warm":
        return warm_shift()
    if look not in PERIOD_WEIGHTS:
        return None
    shift = np.float32(PERIOD_WEIGHTS[look]) * load_period_ratios()[look]
    centers = load_centers()
    gains_nothing = RED.bins(centers) | in_sector(hue_of(centers), VIOLET_DEGREES)
    shift = np.where(gains_nothing, np.minimum(shift, 0), shift)
    shift.flags.writeable = False
    return shift
