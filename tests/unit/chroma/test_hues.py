"""chroma.hues: degrees, and the sectors of the circle."""

import numpy as np
import pytest

from chroma.hues import HUE_SECTORS, hue_of, in_sector


@pytest.mark.parametrize(
    ("ab", "degrees"), [((1, 0), 0), ((0, 1), 90), ((-1, 0), 180), ((0, -1), 270), ((1, -1), 315), ((0, 0), 0)]
)
def test_hue_is_in_degrees_from_the_axis_of_a(ab: tuple[float, float], degrees: float) -> None:
    assert hue_of(np.array(ab, np.float64)) == pytest.approx(degrees)


def test_every_hue_is_in_one_sector() -> None:
    hue = np.arange(0.0, 360.0, 0.5)
    inside = np.array([in_sector(hue, sector) for sector in HUE_SECTORS.values()])
    assert (inside.sum(axis=0) == 1).all()


def test_a_sector_has_its_start_and_not_its_end() -> None:
    hue = np.array([50.0, 114.9, 115.0, 340.0, 0.0, 49.9])
    assert in_sector(hue, HUE_SECTORS["yellow"]).tolist() == [True, True, False, False, False, False]
    assert in_sector(hue, HUE_SECTORS["red"]).tolist() == [False, False, False, True, True, True]
