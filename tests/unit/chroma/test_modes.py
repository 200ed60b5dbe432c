"""chroma.modes: each mode reads its own outputs, and no others."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import signature
from chroma.bins import load_centers
from chroma.decoding import FUSE_SPREAD
from chroma.modes import MODE_OUTPUTS, MODES, Mode, outputs_to_ab

GAIN = 1.5


def outputs() -> dict[str, np.ndarray]:
    """One picture of two pixels; bins 10 and 300 are the most probable, the second pixel is unsure."""
    logits = np.zeros((1, 1, 2, 313), np.float32)
    logits[0, 0, 0, 10] = logits[0, 0, 1, 300] = 5
    return {
        signature.AB: np.array([[[[8, -6], [2, 4]]]], np.float32),
        signature.AB_DECODED: np.array([[[[20, 10], [-30, 0]]]], np.float32),
        signature.AB_LOGITS: logits,
        signature.SPREAD: np.array([[[[0], [FUSE_SPREAD]]]], np.float32),
    }


def read(mode: Mode) -> np.ndarray:
    needed = {name: value for name, value in outputs().items() if name in MODE_OUTPUTS[mode]}
    return outputs_to_ab(needed, mode, centers=load_centers(), gain=GAIN)


def test_annealed_is_the_decoded_posterior_whose_gain_is_applied_already() -> None:
    assert_array_equal(read("annealed"), outputs()["ab_decoded"])


def test_regression_is_the_head_times_the_gain() -> None:
    assert_array_equal(read("regression"), [[[[12, -9], [3, 6]]]])


def test_fused_trusts_the_posterior_where_it_is_sure() -> None:
    fused = read("fused")
    assert_array_equal(fused[0, 0, 0], [20, 10])
    trust = np.exp(-0.5)
    assert_allclose(fused[0, 0, 1], trust * np.array([-30, 0]) + (1 - trust) * np.array([3, 6]), rtol=1e-6)


def test_argmax_is_the_likeliest_center_times_the_gain() -> None:
    assert_array_equal(read("argmax")[0, 0], load_centers()[[10, 300]] * np.float32(GAIN))


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_gives_float32_and_reads_just_what_it_says(mode: Mode) -> None:
    assert read(mode).dtype == np.float32
    assert set(MODE_OUTPUTS) == set(MODES)
    assert set(MODE_OUTPUTS[mode]) <= set(signature.OUTPUT_NAMES)
    for name in MODE_OUTPUTS[mode]:
        less = {other: value for other, value in outputs().items() if other != name}
        with pytest.raises(KeyError):
            outputs_to_ab(less, mode, centers=load_centers(), gain=GAIN)
