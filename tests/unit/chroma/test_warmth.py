"""chroma.warmth: the warm look leans toward what is likely in warm photographs, and never toward red."""

import numpy as np

from chroma.bins import Q, load_centers
from chroma.decoding import softmax
from chroma.warmth import WARM_HUE_DEGREES, WARMTH, load_warm_ratio, warm_shift
from chroma.zones import RED

CENTERS = load_centers()
WARM = np.array([np.cos(np.radians(WARM_HUE_DEGREES)), np.sin(np.radians(WARM_HUE_DEGREES))])


def test_the_shift_is_the_ratio_but_for_what_red_would_gain() -> None:
    ratio, shift, red = load_warm_ratio(), warm_shift(), RED.bins(CENTERS)
    assert ratio.shape == shift.shape == (Q,)
    assert np.isfinite(ratio).all()
    np.testing.assert_allclose(shift[~red], WARMTH * ratio[~red], rtol=1e-6)
    np.testing.assert_allclose(shift[red], np.minimum(WARMTH * ratio[red], 0), rtol=1e-6)
    assert shift.min() < 0 < shift.max()


def test_posteriors_of_ordinary_colors_become_warmer() -> None:
    rng = np.random.default_rng(0)
    gains = []
    for place in rng.uniform(-20, 20, (50, 2)):
        logits = -np.square(CENTERS - place).sum(axis=1) / (2 * 15**2)
        gains.append((softmax(logits + warm_shift()) - softmax(logits)) @ CENTERS @ WARM)
    assert min(gains) > 0
    assert 2 < np.mean(gains) < 10


def test_what_the_network_is_sure_of_stays() -> None:
    logits = np.full(Q, -20, np.float32)
    logits[100] = 0
    assert softmax(logits + warm_shift()).argmax() == 100
    np.testing.assert_allclose(softmax(logits + warm_shift())[100], 1, atol=1e-3)
