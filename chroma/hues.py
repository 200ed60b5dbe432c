"""Hue in the ab plane, and the sectors that the circle is cut into: for judges of color and for the decode's guard."""

from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

HUE_SECTORS = MappingProxyType(
    {
        "red": (340.0, 50.0),
        "yellow": (50.0, 115.0),
        "green": (115.0, 190.0),
        "blue": (190.0, 315.0),
        "magenta": (315.0, 340.0),
    }
)
"""CIE Lab hue in degrees, from (included) to (excluded); together they are the whole circle.

Red is the range of the false-red fraction; the others are cut so that each holds the sRGB primary it is named after.
"""


def hue_of(ab: Float[np.ndarray, "*any 2"]) -> Float[np.ndarray, "*any"]:
    """Return the hue of ab, shape (..., 2), in degrees, [0, 360), shape (...); 0 where both are zero."""
    return np.asarray(np.degrees(np.arctan2(ab[..., 1], ab[..., 0])) % 360)


def in_sector(hue: Float[np.ndarray, "*any"], sector: tuple[float, float]) -> Bool[np.ndarray, "*any"]:
    """Return where a hue lies in a sector.

    Args:
        hue: degrees, [0, 360), shape (...).
        sector: from (included) to (excluded), degrees; one that starts above its end goes through 0.

    Returns:
        bool, shape (...).
    """
    start, end = sector
    return (hue >= start) & (hue < end) if start < end else (hue >= start) | (hue < end)
