"""chroma.zones: which bins back a zone, and its numbers side by side."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import Q, load_centers, nearest_bin
from chroma.hues import HUE_SECTORS, hue_of
from chroma.zones import BIN_CHROMA, RED, SKIN, ZONES, Zone, zone_bins, zone_columns

CENTERS = load_centers()


def test_red_bins_are_those_of_the_false_red_fraction() -> None:
    named = {(50.0, 40.0): True, (40.0, -10.0): True, (20.0, 0.0): True}
    named |= {(10.0, 0.0): False, (30.0, 50.0): False, (0.0, 50.0): False, (40.0, -20.0): False}
    for ab, expected in named.items():
        assert RED.bins(CENTERS)[nearest_bin(np.array(ab), CENTERS)] == expected


def test_pale_bins_back_nothing_and_every_other_backs_one_sector() -> None:
    bins = zone_bins(CENTERS, ZONES)
    assert bins.shape == (Q, len(ZONES))
    pale = np.hypot(*CENTERS.T) <= BIN_CHROMA
    assert not bins[pale].any()
    assert_array_equal(bins[:, ZONES.index(SKIN)], bins[:, ZONES.index(RED)])
    sectors = bins[:, [i for i, zone in enumerate(ZONES) if zone is not SKIN]].sum(axis=1)
    start, end = HUE_SECTORS["magenta"]
    hue = hue_of(CENTERS)
    assert_array_equal(sectors, ~pale & ~((hue >= start) & (hue < end)))


@pytest.mark.parametrize("name", ["yellow", "green", "blue"])
def test_the_zone_of_a_sector_watches_all_of_it(name: str) -> None:
    zone, (start, end) = Zone.of_sector(name, unbacked=0.5, backed=0.6), HUE_SECTORS[name]
    assert (zone.center_degrees - zone.full_degrees, zone.center_degrees + zone.full_degrees) == (start, end)
    assert zone.bin_hues_degrees == (start, end)


def test_columns_hold_the_zones_side_by_side() -> None:
    columns = zone_columns(ZONES)
    assert columns.directions.shape == (2, len(ZONES))
    assert_allclose(np.hypot(*columns.directions), 1)
    assert_allclose(columns.directions[:, 0], [1, 0])
    for column in columns[1:]:
        assert column.shape == (len(ZONES),)
    assert_array_equal(columns.passes, [zone.passes for zone in ZONES])
    assert (columns.full > columns.none).all()
    assert (columns.backed > columns.unbacked).all()
