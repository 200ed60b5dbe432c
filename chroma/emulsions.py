"""What a photographic plate of its time saw of a color scene: linear mixes of R, G and B, and from them L.

Most old photographs are not panchromatic. An *ordinary* plate (collodion, early gelatin) saw blue, violet and
ultraviolet only: skies are white, reds and yellows black. An *orthochromatic* one, sold from 1882 and used by amateurs
into the 1950s, saw green as well, but no red. A *panchromatic* one, from 1906 on, saw all, and blue too well.

The mixes stand for spectra: sRGB's three primaries are all that a color photograph tells of the light. Their ranges are
a reading of the sources below, not a measurement.

References:
    earlyphotography.co.uk, glossary (ordinary plates; Attout-Tailfer 1882/83; Eder's erythrosin 1884).
    Studio Light, 1916 ("all plates are supersensitive to blue"; red is black on ortho, whatever the filter).
    Luo and others, "Time-Travel Rephotography", SIGGRAPH Asia 2021, section 4.2 (blue, blue and green, or gray L).
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from chroma.lab import RGB_TO_XYZ, decode_srgb_u8, luminance_to_lightness

PAN: Final = "pan"
ORTHO: Final = "ortho"
BLUE: Final = "blue"


@dataclass(frozen=True)
class Emulsion:
    """What a kind of plate sees of linear light.

    Attributes:
        red: least and most weight of R, [0, 1].
        green: least and most weight of G, [0, 1]; blue has the rest, so that white stays white.
    """

    red: tuple[float, float]
    green: tuple[float, float]

    def mix(self, red: float = 0.5, green: float = 0.5) -> Float[np.ndarray, "3"]:
        """Return the weights of R, G and B, sum 1, float64, (3,).

        Args:
            red: where the weight of R lies in its range, [0, 1].
            green: likewise of G.
        """
        r, g = (low + (high - low) * at for (low, high), at in ((self.red, red), (self.green, green)))
        return np.array([r, g, 1 - r - g])


EMULSIONS: Final = MappingProxyType(
    {
        PAN: Emulsion(red=(0.2, 0.35), green=(0.3, 0.6)),
        ORTHO: Emulsion(red=(0.0, 0.05), green=(0.2, 0.6)),
        BLUE: Emulsion(red=(0.0, 0.0), green=(0.0, 0.1)),
    }
)


def plate_lightness(
    rgb_u8: UInt8[np.ndarray, "*shape 3"], mix: Float[np.ndarray, "3"], *, exposure: float = 1.0
) -> Float[np.ndarray, "*shape 1"]:
    """Return the lightness of a photograph as a plate saw it.

    The exposure is set as a photographer would: the mean of what the plate saw is brought to that of the luminance.
    What is then brighter than white burns out, as skies did.

    Args:
        rgb_u8: the color photograph, sRGB, uint8, shape (..., 3).
        mix: weights of R, G and B in linear light, see `Emulsion.mix`, (3,).
        exposure: factor on the light, > 0.

    Returns:
        CIE L in [0, 100], float32, shape (..., 1).

    Example:
        >>> sky, red = np.array([[[80, 140, 255]]], np.uint8), np.array([[[255, 40, 30]]], np.uint8)
        >>> both, seen = np.concatenate([sky, red], axis=1), EMULSIONS["blue"].mix()
        >>> plate_lightness(both, seen).ravel().round().tolist()
        [76.0, 6.0]
    """
    light = decode_srgb_u8(rgb_u8)
    seen = light @ mix.astype(np.float32)
    mean = float(seen.mean(dtype=np.float64))
    if mean > 0:
        luminance = float(light.reshape(-1, 3).mean(axis=0, dtype=np.float64) @ RGB_TO_XYZ[1])
        seen *= np.float32(exposure * luminance / mean)
    return luminance_to_lightness(np.clip(seen, 0, 1))[..., None]
