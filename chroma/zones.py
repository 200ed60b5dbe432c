"""Zones of hue: where the guard of the decode looks, and what of the posterior backs a color there.

The formula is `chroma.decoding.hue_guard`; these are its numbers, chosen on the validation split (docs/decoder.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from chroma.hues import HUE_SECTORS, hue_of, in_sector

BIN_CHROMA: Final = 15.0
"""Paler bins back no hue, Lab units."""
SECTOR_PASSES: Final = 24.0
"""Chroma that passes where a whole sector is watched, Lab units: what is above 25 counts as a statement."""
SECTOR_FADE_DEGREES: Final = 8.0


@dataclass(frozen=True)
class Zone:
    """A range of hues in which color needs backing.

    Attributes:
        name: in words.
        center_degrees: middle of the decoded hues that are watched, degrees in the ab plane.
        full_degrees: they are fully watched up to this far from the middle...
        none_degrees: ...and not at all from this far on: the zone fades out, without an edge in the picture.
        bin_hues_degrees: a bin backs the zone when its hue lies between these and its chroma is above `BIN_CHROMA`.
        passes: chroma up to this passes untouched, Lab units; what is above needs backing.
        unbacked: posterior mass on those bins up to which a color is not backed at all, [0, 1]...
        backed: ...and from which it is fully backed.
        dark: mass that both limits gain in full shadow.
    """

    name: str
    center_degrees: float
    full_degrees: float
    none_degrees: float
    bin_hues_degrees: tuple[float, float]
    passes: float
    unbacked: float
    backed: float
    dark: float = 0.0

    @classmethod
    def of_sector(cls, name: str, *, unbacked: float, backed: float) -> "Zone":
        """Make the zone of one of `chroma.hues.HUE_SECTORS`, backed by the sector's own bins."""
        start, end = HUE_SECTORS[name]
        half = (end - start) / 2
        return cls(
            name,
            start + half,
            half,
            half + SECTOR_FADE_DEGREES,
            (start, end),
            passes=SECTOR_PASSES,
            unbacked=unbacked,
            backed=backed,
        )

    def bins(self, centers: Float[np.ndarray, "Q 2"]) -> Bool[np.ndarray, "Q"]:
        """Return which bins back the zone, shape (Q,)."""
        chroma = np.hypot(centers[:, 0], centers[:, 1])
        return in_sector(hue_of(centers), self.bin_hues_degrees) & (chroma > BIN_CHROMA)


RED: Final = Zone("deep red", 0.0, 30.0, 42.0, HUE_SECTORS["red"], passes=18.0, unbacked=0.4, backed=0.9, dark=0.4)
SKIN: Final = Zone("skin", 42.0, 8.0, 16.0, HUE_SECTORS["red"], passes=24.0, unbacked=0.55, backed=0.75, dark=0.4)
YELLOW: Final = Zone.of_sector("yellow", unbacked=0.55, backed=0.65)
GREEN: Final = Zone.of_sector("green", unbacked=0.6, backed=0.7)
BLUE: Final = Zone.of_sector("blue", unbacked=0.7, backed=0.8)
ZONES: Final = (RED, SKIN, YELLOW, GREEN, BLUE)
"""What the guard watches.

Red is the rarest color and the worst mistake: it passes least. Skin lies where red fades to orange; the posterior knows
it but spreads it over neighbors that are no red bins, so it passes up to 24. In shadow a red claims more than the
network knows: of validation's pixels with 0.6 to 0.8 of their mass on red, 81 % are red, but only 69 % of those darker
than L = 25. The other three are the sectors in which false color is counted: on validation nearly no false yellow has
more than 0.65 of the mass behind it, no false green more than 0.7, few false blues more than 0.8.
"""


class ZoneColumns(NamedTuple):
    """The numbers of Z zones side by side, as the formula takes them: float64, (Z,) where nothing else is said.

    Attributes:
        directions: unit vectors towards the middles, (2, Z).
        full: cosine of `full_degrees`.
        none: cosine of `none_degrees`.
        unbacked: mass.
        backed: mass.
        dark: mass.
        passes: Lab units.
    """

    directions: Float64[np.ndarray, "2 Z"]
    full: Float64[np.ndarray, "Z"]
    none: Float64[np.ndarray, "Z"]
    unbacked: Float64[np.ndarray, "Z"]
    backed: Float64[np.ndarray, "Z"]
    dark: Float64[np.ndarray, "Z"]
    passes: Float64[np.ndarray, "Z"]


def zone_columns(zones: Sequence[Zone]) -> ZoneColumns:
    """Return the numbers of zones, side by side."""
    rows = [(z.center_degrees, z.full_degrees, z.none_degrees, z.unbacked, z.backed, z.dark, z.passes) for z in zones]
    center, full, none, *others = np.array(rows, np.float64).T
    center, full, none = np.radians((center, full, none))
    return ZoneColumns(np.stack([np.cos(center), np.sin(center)]), np.cos(full), np.cos(none), *others)


def zone_bins(centers: Float[np.ndarray, "Q 2"], zones: Sequence[Zone]) -> Bool[np.ndarray, "Q Z"]:
    """Return which bins back which zone, shape (Q, Z)."""
    return np.stack([zone.bins(centers) for zone in zones], axis=1)
