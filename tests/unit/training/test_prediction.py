from dataclasses import replace

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import decoding
from chroma.bins import load_centers
from chroma.decoding import Knobs
from chroma.framing import network_size
from chroma.modes import MODES
from chroma.prior import rebalancing_weights, smooth_prior
from training.network.model import build_model
from training.recipes import load_recipe
from training.run.prediction import CURVE, Decoder, predict_heads, predict_picture

pytestmark = pytest.mark.training

CENTERS = load_centers()
KNOBS = Knobs(temperature=0.4, tau=0.8, cap=4.0, gain=1.3)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model(load_recipe("tiny").model, scenes=2)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder.of_prior(np.random.default_rng(0).pareto(0.7, 313), CENTERS)


def heads(seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits, ab = rng.normal(0, 3, (2, 3, 4, 313)), rng.normal(0, 30, (2, 3, 4, 2))
    made = {"ab_logits": logits, "ab": ab, "lightness": rng.uniform(0, 100, (2, 3, 4, 1))}
    return {name: head.astype(np.float32) for name, head in made.items()}


def test_the_decoder_of_a_run_weighs_by_its_smoothed_prior() -> None:
    prior = np.random.default_rng(2).pareto(0.7, 313)
    expected = np.log(rebalancing_weights(smooth_prior(prior, CENTERS)))
    assert_allclose(Decoder.of_prior(prior, CENTERS).log_weights, expected, rtol=1e-5)


def test_each_mode_is_its_formula(decoder: Decoder) -> None:
    given = heads()
    knobs = {"temperature": 0.4, "tau": 0.8, "cap": 4.0, "gain": 1.3}
    annealed = decoding.decode(given["ab_logits"], CENTERS, decoder.log_weights, lightness=given["lightness"], **knobs)
    regressed = given["ab"] * np.float32(0.7)
    expected = {
        "annealed": annealed,
        "regression": regressed,
        "fused": decoding.fuse(annealed, regressed, decoding.posterior_spread(given["ab_logits"], CENTERS)),
        "argmax": CENTERS[given["ab_logits"].argmax(axis=-1)] * np.float32(0.7),
    }
    assert set(MODES) == set(expected)
    for mode in MODES:
        got = decoder.ab(given, mode, KNOBS, 0.7)
        assert got.dtype == np.float32
        assert_array_equal(got, expected[mode], err_msg=mode)


def test_more_vividness_means_more_color(decoder: Decoder) -> None:
    """On an undecided posterior, which is where the knob matters; the guard would hold back what that does not back."""
    decoder = replace(decoder, guard=False)
    given = heads() | {"ab_logits": heads()["ab_logits"] / 3}
    chroma = [np.hypot(*decoder.ab(given, "annealed", CURVE.at(v)).T).mean() for v in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert chroma == sorted(chroma)
    assert chroma[-1] > 1.5 * chroma[0]


def test_heads_come_as_float32_by_name(model: keras.Model) -> None:
    got = predict_heads(model, np.full((2, 32, 64, 1), 40, np.float32))
    assert {name: (head.shape, head.dtype) for name, head in got.items()} == {
        "ab_logits": ((2, 8, 16, 313), np.float32),
        "ab": ((2, 8, 16, 2), np.float32),
        "scene_logits": ((2, 2), np.float32),
        "lightness": ((2, 8, 16, 1), np.float32),
    }
    assert (got["lightness"] == 40).all()
    assert all(type(head) is np.ndarray for head in got.values())


@pytest.mark.parametrize("shape", [(100, 80), (31, 200), (1, 1), (64, 64)])
def test_a_picture_of_any_size_is_framed_as_the_service_does(model: keras.Model, shape: tuple[int, int]) -> None:
    L = np.random.default_rng(3).uniform(0, 100, (*shape, 1)).astype(np.float32)
    got = predict_picture(model, L, 64)
    height, width = network_size(*shape, 64)
    assert got["ab"].shape == (1, height // 4, width // 4, 2)
