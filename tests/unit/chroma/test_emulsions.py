import doctest

import numpy as np
import pytest

from chroma import emulsions
from chroma.emulsions import BLUE, EMULSIONS, ORTHO, PAN, plate_lightness
from chroma.lab import rgb_u8_to_lightness

DOMINANT_NM = {"red": 611.4, "green": 549.1, "blue": 464.2}
"""Dominant wavelengths of sRGB's primaries against D65."""
ILFORD_ORTHO_PLUS = [(410, 1.0), (480, 1.0), (508, 0.81), (539, 0.98), (564, 0.2), (590, 0.0)]
"""Relative sensitivity of Ilford Ortho Plus 80 by wavelength, nm, digitized in JanLohse/spectral_film_lut. Plates
of old had no more green than this film."""


def colors(*rgb: tuple[int, int, int]) -> np.ndarray:
    return np.array([rgb], np.uint8)


def mixes(name: str) -> list[np.ndarray]:
    return [EMULSIONS[name].mix(red, green) for red in (0.0, 0.5, 1.0) for green in (0.0, 0.5, 1.0)]


@pytest.mark.parametrize("name", EMULSIONS)
def test_gray_is_gray_to_every_plate(name: str) -> None:
    ramp = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[:, None], 3, axis=1)
    for mix in mixes(name):
        assert mix.sum() == pytest.approx(1)
        assert mix.min() >= 0
        assert plate_lightness(ramp, mix) == pytest.approx(rgb_u8_to_lightness(ramp), abs=0.01)


def test_the_ortho_mix_reaches_as_far_into_the_green_as_a_film_of_today() -> None:
    wavelengths, sensitivity = zip(*ILFORD_ORTHO_PLUS, strict=True)
    seen = {name: np.interp(nm, wavelengths, sensitivity) for name, nm in DOMINANT_NM.items()}
    share = seen["green"] / sum(seen.values())
    low, high = EMULSIONS[ORTHO].green
    assert low < share < high
    assert seen["red"] == 0
    assert EMULSIONS[ORTHO].red[1] <= 0.05


def test_an_ordinary_plate_sees_blue_alone() -> None:
    # Collodion and early gelatin end near 500 nm, before sRGB's green.
    assert EMULSIONS[BLUE].red == (0, 0)
    assert min(mix[2] for mix in mixes(BLUE)) >= 0.9


def test_a_panchromatic_plate_sees_blue_better_than_the_eye() -> None:
    assert EMULSIONS[PAN].mix()[2] > 2 * 0.0722  # the luminance of sRGB's blue, IEC 61966-2-1
    assert all(mix[0] >= 0.2 for mix in mixes(PAN))


def test_red_is_black_and_sky_is_white_on_what_sees_no_red() -> None:
    scene = colors((200, 30, 30), (120, 170, 235), (120, 120, 120))
    red, sky, gray = (np.array([plate_lightness(scene, EMULSIONS[n].mix()).ravel() for n in (PAN, ORTHO, BLUE)])).T
    assert red[0] > red[1] > red[2]
    assert red[1] < 25
    assert sky[0] < sky[1] < sky[2]
    assert (sky > gray).all()


def test_a_plate_is_exposed_for_the_mean_of_the_light_and_burns_out_above_white() -> None:
    scene = colors((20, 60, 250), (90, 80, 40), (250, 250, 250))
    seen = plate_lightness(scene, EMULSIONS[BLUE].mix(), exposure=4.0)
    assert seen.max() == 100
    assert plate_lightness(colors((0, 0, 0)), EMULSIONS[BLUE].mix()).max() == pytest.approx(0, abs=1e-4)
    once, twice = (plate_lightness(colors((60, 60, 60)), EMULSIONS[PAN].mix(), exposure=e).item() for e in (1.0, 2.0))
    assert twice > once


def test_the_examples_of_its_docstrings_are_true() -> None:
    assert doctest.testmod(emulsions).failed == 0
    assert doctest.testmod(emulsions).attempted > 0
