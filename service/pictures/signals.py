"""What levels mean, told in numbers: coding-independent code points (cICP, nclx), gAMA and cHRM.

References:
    ITU-T H.273 (2021), tables 2 and 3. Portable Network Graphics, third edition (W3C, 2025), sections 4.3 and 11.3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from service.errors import UnsupportedPicture

Primaries = tuple[float, float, float, float, float, float, float, float]
"""Chromaticities: x and y of red, green, blue, and white."""

BT_709: Final[Primaries] = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290)

PRIMARIES: Final[dict[int, Primaries]] = {
    1: BT_709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, 0.3127, 0.3290),
}
"""By their number in H.273, table 2; 12 is Display P3."""

UNSPECIFIED: Final = 2
"""In both tables; such pictures count as sRGB."""

SRGB_CURVE: Final = 13

LINEAR: Final = 8

BT_709_CURVES: Final = (1, 6, 14, 15)

GAMMAS: Final = {4: 2.2, 5: 2.8}

REFUSED_CURVES: Final = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
"""High dynamic range: levels above white, which a picture in sRGB has no place for."""

GAMMA_OF_SRGB: Final = (0.45, 0.46)
"""What gAMA says beside sRGB pixels, 0.45455: its writers mean sRGB's curve, and libpng takes it so. With primaries of
other spaces it means what it says."""

LEAST_CHROMATICITY: Final = 0.002
"""Primaries that are nearer to sRGB's in every coordinate are sRGB's, rounded."""

LEAST_GAMMA, MOST_GAMMA = 0.05, 20.0


@dataclass(frozen=True)
class Signal:
    """How levels become light.

    Attributes:
        curve: number in H.273, table 3; None where `gamma` says it.
        gamma: exponent that turns levels into light; None where `curve` says it.
        primaries: of the three channels, and white.
    """

    curve: int | None
    gamma: float | None
    primaries: Primaries

    def to_linear(self, levels: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Return the light of levels, both in [0, 1]."""
        if self.gamma is not None:
            return np.asarray(levels**self.gamma)
        assert self.curve is not None
        return _CURVES[self.curve](levels)


def from_code_points(primaries: int, curve: int, what: str) -> Signal | None:
    """Return what code points say; None for sRGB, and where they say nothing.

    Raises:
        UnsupportedPicture: high dynamic range, or a number that is not known.
    """
    if curve in REFUSED_CURVES:
        raise UnsupportedPicture(
            f"The picture is high dynamic range: its {what} says {REFUSED_CURVES[curve]}. Save it in sRGB."
        )
    if curve == UNSPECIFIED:
        curve = SRGB_CURVE
    if primaries == UNSPECIFIED:
        primaries = 1
    if curve not in _CURVES or primaries not in PRIMARIES:
        raise UnsupportedPicture(
            f"The color of the picture is not known here: its {what} says primaries {primaries} and transfer {curve} "
            "(ITU-T H.273). Save it in sRGB."
        )
    if curve == SRGB_CURVE and primaries == 1:
        return None
    return Signal(curve, None, PRIMARIES[primaries])


def from_gamma(gamma: float | None, primaries: Primaries | None) -> Signal | None:
    """Return what gAMA and cHRM say; None for sRGB.

    Args:
        gamma: exponent from light to levels; None where the file does not say.
        primaries: None where the file does not say.
    """
    if primaries is None or max(abs(a - b) for a, b in zip(primaries, BT_709, strict=True)) < LEAST_CHROMATICITY:
        if gamma is None or GAMMA_OF_SRGB[0] < gamma < GAMMA_OF_SRGB[1]:
            return None
        primaries = BT_709
    return Signal(SRGB_CURVE, None, primaries) if gamma is None else of_gamma(gamma, primaries)


def of_gamma(gamma: float, primaries: Primaries) -> Signal | None:
    """Return what an exponent from light to levels says, whatever it is near; None for one that makes no sense."""
    return Signal(None, 1 / gamma, primaries) if LEAST_GAMMA <= gamma <= MOST_GAMMA else None


def srgb_to_linear(levels: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Return the light of sRGB levels (IEC 61966-2-1), both in [0, 1]."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _bt_709_to_linear(levels: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return np.where(levels < 0.081, levels / 4.5, ((levels + 0.099) / 1.099) ** (1 / 0.45))


_CURVES: Final[dict[int, Callable[[Float[np.ndarray, "n"]], Float[np.ndarray, "n"]]]] = {
    SRGB_CURVE: srgb_to_linear,
    LINEAR: lambda levels: levels,
    **dict.fromkeys(BT_709_CURVES, _bt_709_to_linear),
    4: lambda levels: levels ** GAMMAS[4],
    5: lambda levels: levels ** GAMMAS[5],
}
