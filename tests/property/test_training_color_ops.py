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
from chroma.prior import rebalancing_weights, smooth_prior
from chroma.soft_encoding import build_table
from training import color_ops

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
    assert_allclose(got, decoding.annealed_mean(logits, CENTERS, temperature), atol=TOLERANCE)


@few
@given(
    seeds, st.floats(0.1, 12), one_a_picture(0.05, 2), one_a_picture(0, 1), one_a_picture(1, 50), one_a_picture(0, 2)
)
def test_decode(
    seed: int, spread: float, temperature: np.ndarray, tau: np.ndarray, cap: np.ndarray, gain: np.ndarray
) -> None:
    logits, log_weights = random_logits(seed, spread), random_log_weights(seed)
    knobs = {"temperature": temperature, "tau": tau, "cap": cap, "gain": gain}
    got = numpy(color_ops.decode(logits, CENTERS, log_weights, **knobs))
    assert got.shape == (3, 2, 4, 2)
    expected = decoding.decode(logits, CENTERS, log_weights, **knobs)
    # The guard is a step at its edges: a pixel within rounding of the edge may fall on either side.
    before = decoding.annealed_mean(
        logits + tau.reshape(3, 1, 1, 1) * decoding.capped_log_weights(log_weights, cap).reshape(3, 1, 1, -1),
        CENTERS,
        temperature,
    )
    hue = np.degrees(np.arctan2(before[..., 1], before[..., 0]))
    offset = np.abs((hue - decoding.RED_CENTER_DEGREES + 180) % 360 - 180)
    at_edge = np.abs(offset - decoding.RED_HALF_WIDTH_DEGREES) < 1e-2
    assert_allclose(got[~at_edge], expected[~at_edge], atol=TOLERANCE)


@few
@given(
    arrays.arrays(np.float32, (2, 3, 3, 2), elements=st.floats(-100, 100, width=16)),
    arrays.arrays(np.float32, (2, 3, 3, 1), elements=st.floats(0, 1, width=16)),
)
def test_red_guard(ab: np.ndarray, red_mass: np.ndarray) -> None:
    got, expected = numpy(color_ops.red_guard(ab, red_mass)), decoding.red_guard(ab, red_mass)
    hue = np.degrees(np.arctan2(ab[..., 1], ab[..., 0]))
    offset = np.abs((hue - decoding.RED_CENTER_DEGREES + 180) % 360 - 180)
    at_edge = np.abs(offset - decoding.RED_HALF_WIDTH_DEGREES) < 1e-3
    assert_allclose(got[~at_edge], expected[~at_edge], atol=TOLERANCE)


@few
@given(seeds, st.floats(0.1, 12))
def test_posterior_spread(seed: int, spread: float) -> None:
    logits = random_logits(seed, spread)
    got, expected = numpy(color_ops.posterior_spread(logits, CENTERS)), decoding.posterior_spread(logits, CENTERS)
    assert got.shape == expected.shape == (3, 2, 4, 1)
    # Near zero the root magnifies the rounding of the two moments (about 1e4 Lab units squared, in float32).
    assert_allclose(got**2, expected**2, atol=0.05)
