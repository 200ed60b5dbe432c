"""The tensor twin of `chroma` gives what `chroma` gives, on random inputs."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_allclose, assert_array_equal

from chroma import decoding
from chroma.bins import load_centers
from chroma.framing import head_lightness
from chroma.prior import rebalancing_weights, smooth_prior
from chroma.soft_encoding import build_table
from chroma.zones import ZONES
from training.network import color_ops

pytestmark = pytest.mark.training

CENTERS = load_centers()
TABLE = build_table(CENTERS, k=10)
ENCODER = color_ops.TableEncoder(TABLE)
TOLERANCE = 1e-3
"""Lab units."""

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25)


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def random_logits(seed: int, spread: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (3, 2, 4, 313)).astype(np.float32)


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float, temperature: np.ndarray) -> None:
    """Compare pictures; float32 rounds logits / T, so that the tolerance grows where T is small."""
    for one, other, cold in zip(got, expected, np.maximum(temperature, decoding.MIN_TEMPERATURE), strict=True):
        assert_allclose(one, other, atol=tolerance * max(1.0, 0.2 / float(cold)))


def random_log_weights(seed: int) -> np.ndarray:
    prior = smooth_prior(np.random.default_rng(seed).pareto(0.7, 313), CENTERS)
    return np.log(rebalancing_weights(prior)).astype(np.float32)


def one_a_picture(low: float, high: float) -> st.SearchStrategy[np.ndarray]:
    value = st.floats(low, high)
    return st.tuples(value, value, value).map(lambda values: np.array(values, np.float32))


@few
@given(arrays.arrays(np.float32, (2, 3, 5, 2), elements=st.floats(-200, 200, width=32)))
def test_soft_encoding_by_table(ab: np.ndarray) -> None:
    index, weight = ENCODER(ab)
    expected_index, expected_weight = TABLE.encode(ab)
    assert_array_equal(numpy(index), expected_index)
    assert_allclose(numpy(weight), expected_weight, atol=1e-7)


@few
@given(seeds, st.floats(0.1, 12), one_a_picture(1e-4, 3))
def test_annealed_mean(seed: int, spread: float, temperature: np.ndarray) -> None:
    logits = random_logits(seed, spread)
    got = numpy(color_ops.annealed_mean(logits, CENTERS, temperature))
    assert_close(got, decoding.annealed_mean(logits, CENTERS, temperature), TOLERANCE, temperature)


@few
@given(
    seeds, st.floats(0.1, 12), one_a_picture(0.05, 2), one_a_picture(0, 1), one_a_picture(1, 50), one_a_picture(0, 2)
)
def test_decode(
    seed: int, spread: float, temperature: np.ndarray, tau: np.ndarray, cap: np.ndarray, gain: np.ndarray
) -> None:
    logits, log_weights = random_logits(seed, spread), random_log_weights(seed)
    lightness = np.random.default_rng(seed).uniform(0, 100, (3, 2, 4, 1)).astype(np.float32)
    knobs = {"temperature": temperature, "tau": tau, "cap": cap, "gain": gain, "lightness": lightness}
    got = numpy(color_ops.decode(logits, CENTERS, log_weights, **knobs))
    assert got.shape == (3, 2, 4, 2)
    expected = decoding.decode(logits, CENTERS, log_weights, **knobs)
    assert_close(got, expected, 4 * TOLERANCE, temperature)  # gain doubles it, and so may the guard


@few
@given(
    arrays.arrays(np.float32, (2, 3, 3, 2), elements=st.floats(-100, 100, width=16)),
    arrays.arrays(np.float32, (2, 3, 3, len(ZONES)), elements=st.floats(0, 1, width=16)),
    arrays.arrays(np.float32, (2, 3, 3, 1), elements=st.floats(0, 100, width=16)),
)
def test_hue_guard(ab: np.ndarray, backing: np.ndarray, lightness: np.ndarray) -> None:
    got = numpy(color_ops.hue_guard(ab, backing, lightness))
    assert_allclose(got, decoding.hue_guard(ab, backing, lightness), atol=5 * TOLERANCE)


def test_head_lightness() -> None:
    lightness = np.random.default_rng(5).uniform(0, 100, (2, 32, 64, 1)).astype(np.float32)
    expected = head_lightness(lightness)
    assert expected.shape == (2, 8, 16, 1)
    assert expected[1, 3, 5, 0] == np.float32(lightness[1, 12:16, 20:24].mean())
    assert_allclose(numpy(color_ops.head_lightness(lightness)), expected, atol=TOLERANCE)


@few
@given(seeds, st.floats(0.1, 12))
def test_posterior_spread(seed: int, spread: float) -> None:
    logits = random_logits(seed, spread)
    got, expected = numpy(color_ops.posterior_spread(logits, CENTERS)), decoding.posterior_spread(logits, CENTERS)
    assert got.shape == expected.shape == (3, 2, 4, 1)
    # Near zero the root magnifies the rounding of the two moments (about 1e4 Lab units squared, in float32).
    assert_allclose(got**2, expected**2, atol=0.05)
