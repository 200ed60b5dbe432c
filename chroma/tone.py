"""The tones of a faded print, stretched for the network to look at; the answer keeps the print's own lightness.

In a faded or underexposed print black is gray and white is dim. The network learned on pictures whose tones nearly all
span more, and takes what spans little for brown. How the constant was chosen: docs/experiments.md.
"""

from typing import Final

import numpy as np
from jaxtyping import Float

END_PERCENT: Final = 1.0
"""Black and white are what so many percent of the pixels do not pass: stamps, holes and scratches do not count."""

LEAST_SPAN: Final = 75.0
"""What spans less than this from black to white, Lab units, is stretched to it."""

NARROWEST_SPAN: Final = 20.0
"""What spans even less is stretched as if it spanned this: it would be grain that grows, up to 3.75 times."""


def stretch_tones(lightness: Float[np.ndarray, "h w 1"]) -> tuple[Float[np.ndarray, "h w 1"], bool]:
    """Stretch the tones of a picture that has few.

    The room below black and the room above white shrink alike, so that a dark print stays a dark one.

    Args:
        lightness: L in [0, 100], shape (h, w, 1).

    Returns:
        L in [0, 100], same shape and dtype, the input itself where it spans enough; and whether it was stretched.

    Example:
        >>> faded = np.linspace(30, 80, 101, dtype=np.float32).reshape(1, -1, 1)
        >>> stretched, is_stretched = stretch_tones(faded)
        >>> stretched.ravel()[[1, 50, 99]].round(1).tolist(), is_stretched
        ([15.0, 52.5, 90.0], True)
    """
    black, white = np.percentile(lightness, (END_PERCENT, 100 - END_PERCENT))
    if white - black >= LEAST_SPAN:
        return lightness, False
    span = max(float(white - black), NARROWEST_SPAN)
    start = min(max((black + white - span) / 2, 0.0), 100 - span)
    stretched_start = start * (100 - LEAST_SPAN) / (100 - span)
    stretched = stretched_start + (lightness - start) * (LEAST_SPAN / span)
    return np.clip(stretched, 0, 100).astype(lightness.dtype), True
