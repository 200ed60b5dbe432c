"""chroma.looks: a look is a place on the curve, or leans toward certain photographs, never toward red."""

from typing import Any, get_args

import numpy as np
import pytest

from chroma.bins import Q, load_centers
from chroma.decoding import softmax
from chroma.hues import hue_of, in_sector
from chroma.looks import PERIOD_WEIGHTS, VIOLET_DEGREES, VIVIDNESS_OF, Look, load_period_ratios, look_shift
from chroma.warmth import warm_shift
from chroma.zones import RED

CENTERS = load_centers()


def moved(look: Any, place: np.ndarray) -> np.ndarray:
    """By how much the mean color of an unsure posterior moves, Lab units, shape (2,)."""
    shift = look_shift(look)
    assert shift is not None
    logits = -np.square(CENTERS - place).sum(axis=1) / (2 * 15**2)
    return np.asarray((softmax(logits + shift) - softmax(logits)) @ CENTERS)


def test_each_look_has_a_vividness_and_some_have_a_shift() -> None:
    assert set(VIVIDNESS_OF) == set(get_args(Look))
    assert [look for look in get_args(Look) if look_shift(look) is None] == ["natural", "vivid"]
    np.testing.assert_array_equal(look_shift("warm"), warm_shift())


@pytest.mark.parametrize("look", list(PERIOD_WEIGHTS))
def test_a_shift_is_the_weighted_ratio_but_for_what_red_and_violet_would_gain(look: Any) -> None:
    ratio, shift = load_period_ratios()[look], look_shift(look)
    capped = RED.bins(CENTERS) | in_sector(hue_of(CENTERS), VIOLET_DEGREES)
    assert shift is not None
    assert ratio.shape == shift.shape == (Q,)
    assert np.isfinite(ratio).all()
    weighted = PERIOD_WEIGHTS[look] * ratio
    np.testing.assert_allclose(shift[~capped], weighted[~capped], rtol=1e-6)
    np.testing.assert_allclose(shift[capped], np.minimum(weighted[capped], 0), rtol=1e-6)
    assert shift.min() < 0 < shift.max()
    assert not shift.flags.writeable


def test_each_time_has_its_colors() -> None:
    places = np.random.default_rng(0).uniform(-20, 20, (50, 2))
    mean = {look: np.mean([moved(look, place) for place in places], axis=0) for look in PERIOD_WEIGHTS}
    assert mean["photochrom"][1] > 3, "inks on paper are golden"
    assert mean["transparency"][1] < -1, "clothes on transparencies are blue"
    strong = [place for place in places if np.linalg.norm(place) > 12]
    paler = [moved("autochrome", place) @ place / np.linalg.norm(place) for place in strong]
    assert np.mean(paler) < -1, "autochromes are muted"


@pytest.mark.parametrize("look", list(PERIOD_WEIGHTS))
def test_what_the_network_is_sure_of_stays(look: Any) -> None:
    logits = np.full(Q, -25, np.float32)
    logits[100] = 0
    np.testing.assert_allclose(softmax(logits + look_shift(look))[100], 1, atol=1e-3)
