"""One formula, three places: NumPy (chroma), Keras (training.network.color_ops) and the exported graph decode alike.

The graph's decode is cut out of the exported file at `ab_logits`, so that it can be fed any logits. NumPy on float64
is the judge; real logits come from the pretrained encoder under a decoder that never trained, and from the shipped
model where there is one.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from chroma import decoding, signature
from chroma.bins import Q, load_centers
from chroma.decoding import Knobs
from chroma.framing import head_lightness, network_size, resize_lightness
from chroma.lab import rgb_u8_to_lightness
from export.convert import to_onnx
from export.stamp import read_stamp
from export.verify import run
from tests.synthetic_run import make_prior
from training.network.model import build_model
from training.recipes import load_recipe
from training.run.prediction import Decoder, predict_heads

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "service" / "model" / "default.onnx"
LAB_UNITS = 1e-3
"""Agreement asked for."""
COOL = 0.2
"""Below this temperature the rounding of float32 logits, which is divided by it, may do more."""
SPREAD_LAB_UNITS = 1e-2
"""The same for the spread: the root of a small difference of large squares."""

TEMPERATURES = (0.1, 0.38, 1.0)
TAUS = (0.0, 0.5, 1.0)
CAPS_AND_GAINS = ((1.0, 1.0), (5.0, 1.2), (1e4, 1.25))


@cache
def decoder() -> Decoder:
    return Decoder.of_prior(make_prior(), load_centers())


@cache
def exported() -> onnx.ModelProto:
    """The graph around a tiny network; its decode is that of every export."""
    return to_onnx(build_model(load_recipe("tiny").model, scenes=2), decoder())


@cache
def decode_session() -> ort.InferenceSession:
    """The exported graph from `ab_logits` on."""
    inputs = [signature.AB_LOGITS, *signature.INPUT_NAMES]
    part = onnx.utils.Extractor(exported()).extract_model(inputs, [signature.AB_DECODED, signature.SPREAD])
    return ort.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])


@cache
def lightness_of(name: str, size: int = 192) -> np.ndarray:
    """L of a test picture as the network takes it, (1, h, w, 1)."""
    bgr = cv2.imread(str(ROOT / "tests" / "data" / name))
    assert bgr is not None
    L = rgb_u8_to_lightness(np.ascontiguousarray(bgr[..., ::-1]))
    return resize_lightness(L, network_size(*L.shape[:2], size))[None]


@cache
def pretrained_logits() -> np.ndarray:
    """Logits of a cat: pretrained encoder, untrained decoder, as sharp as a trained network's."""
    import keras

    keras.utils.set_random_seed(4)
    model = build_model(load_recipe("first_light").model, scenes=2)
    logits = predict_heads(model, lightness_of("chelsea.png"))[signature.AB_LOGITS]
    return np.asarray(logits * np.float32(3 / logits.std()))


def random_logits(name: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    if name == "flat":
        return np.zeros((3, 2, 5, Q), np.float32)
    if name == "one-hot":
        sure = rng.integers(0, Q, (2, 16, 16))
        return np.where(np.arange(Q) == sure[..., None], 40, 0).astype(np.float32)
    return rng.normal(0, {"soft": 1, "sharp": 3}[name], (3, 24, 16, Q)).astype(np.float32)


def columns(knobs: Sequence[Knobs]) -> dict[str, np.ndarray]:
    rows = np.array([[k.temperature, k.tau, k.cap, k.gain] for k in knobs], np.float32)
    return dict(zip(signature.KNOB_NAMES, rows.T, strict=True))


def inputs_of(logits: np.ndarray, knobs: Sequence[Knobs], lightness: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What the decode takes besides logits; without a picture's L, one of all shades from black to white."""
    if lightness is None:
        count, height, width, _ = logits.shape
        lightness = np.random.default_rng(8).uniform(0, 100, (count, 4 * height, 4 * width, 1)).astype(np.float32)
        lightness *= np.linspace(0, 1, 4 * width, dtype=np.float32)[:, None]
    return columns(knobs) | {signature.LIGHTNESS: lightness}


def at_heads(settings: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with L at the heads' grid, as `chroma.decoding.decode` takes it."""
    return settings | {signature.LIGHTNESS: head_lightness(settings[signature.LIGHTNESS])}


def judge(logits: np.ndarray, decoder: Decoder, settings: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """NumPy in float64: ab (N, h, w, 2) and spread (N, h, w, 1)."""
    exact = logits.astype(np.float64)
    settings = at_heads(settings)
    centers, log_weights = decoder.centers.astype(np.float64), decoder.log_weights.astype(np.float64)
    ab = decoding.decode(exact, centers, log_weights, **settings)
    return ab, decoding.posterior_spread(exact, centers)


def in_numpy(logits: np.ndarray, decoder: Decoder, settings: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    ab = decoding.decode(logits, decoder.centers, decoder.log_weights, **at_heads(settings))
    return ab, decoding.posterior_spread(logits, decoder.centers)


def in_keras(logits: np.ndarray, decoder: Decoder, settings: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    from keras import ops

    from training.network import color_ops

    settings = settings | {signature.LIGHTNESS: color_ops.head_lightness(settings[signature.LIGHTNESS])}
    ab = color_ops.decode(logits, decoder.centers, decoder.log_weights, **settings)
    spread = color_ops.posterior_spread(logits, decoder.centers)
    return ops.convert_to_numpy(ab), ops.convert_to_numpy(spread)


def in_onnx(logits: np.ndarray, decoder: Decoder, settings: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    del decoder  # It is inside.
    names = [signature.AB_DECODED, signature.SPREAD]
    ab, spread = decode_session().run(names, {signature.AB_LOGITS: logits} | settings)
    return ab, spread


def check_agreement(
    logits: np.ndarray, knobs: Sequence[Knobs], decoders: Sequence[Any], lightness: np.ndarray | None = None
) -> None:
    settings = inputs_of(logits, knobs, lightness)
    ab, spread = judge(logits, decoder(), settings)
    for place in decoders:
        found_ab, found_spread = place(logits, decoder(), settings)
        assert found_ab.dtype == found_spread.dtype == np.float32
        assert found_ab.shape == ab.shape
        assert found_spread.shape == spread.shape
        coolest = min(float(settings["temperature"].min()), COOL)
        assert np.abs(found_ab - ab).max() <= LAB_UNITS * COOL / coolest, place.__name__
        assert np.abs(found_spread - spread).max() <= SPREAD_LAB_UNITS, place.__name__


@pytest.mark.parametrize(("temperature", "tau"), list(product(TEMPERATURES, TAUS)))
@pytest.mark.parametrize("name", ["flat", "soft", "sharp", "one-hot"])
def test_random_logits_decode_alike(name: str, temperature: float, tau: float) -> None:
    logits = random_logits(name)
    knobs = [Knobs(temperature, tau, *CAPS_AND_GAINS[place]) for place in range(len(logits))]
    check_agreement(logits, knobs, [in_numpy, in_keras, in_onnx])


@pytest.mark.parametrize(("temperature", "tau"), list(product(TEMPERATURES, TAUS)))
def test_logits_of_a_picture_decode_alike(temperature: float, tau: float) -> None:
    for cap, gain in CAPS_AND_GAINS:
        knobs = [Knobs(temperature, tau, cap, gain)]
        check_agreement(pretrained_logits(), knobs, [in_numpy, in_keras, in_onnx], lightness_of("chelsea.png"))


@pytest.mark.skipif(not SHIPPED.exists(), reason="no model is shipped in this tree")
@pytest.mark.parametrize(("temperature", "tau"), list(product(TEMPERATURES, TAUS)))
@pytest.mark.parametrize("picture", ["chelsea.png", "astronaut.jpg"])
def test_the_shipped_model_decodes_its_own_logits_alike(picture: str, temperature: float, tau: float) -> None:
    session = shipped_session()
    stamp = read_stamp(session.get_modelmeta().custom_metadata_map)
    own = Decoder.of_prior(np.asarray(stamp.prior), load_centers())
    knobs = Knobs(temperature, tau, 5.0, 1.2)
    heads = run(session, lightness_of(picture, stamp.size), [knobs])
    logits = heads[signature.AB_LOGITS]
    settings = inputs_of(logits, [knobs], lightness_of(picture, stamp.size))
    ab, spread = judge(logits, own, settings)
    in_graph = (heads[signature.AB_DECODED], heads[signature.SPREAD])
    for found_ab, found_spread in (in_graph, *(place(logits, own, settings) for place in (in_numpy, in_keras))):
        assert np.abs(found_ab - ab).max() <= LAB_UNITS * COOL / min(temperature, COOL)
        assert np.abs(found_spread - spread).max() <= SPREAD_LAB_UNITS


@cache
def shipped_session() -> ort.InferenceSession:
    return ort.InferenceSession(SHIPPED, providers=["CPUExecutionProvider"])


def test_knobs_belong_to_their_picture() -> None:
    """A batch with three settings gives what three batches with one give."""
    logits = np.repeat(random_logits("soft")[:1], 3, axis=0)
    knobs = [Knobs(0.1, 0.0, 1.0, 1.0), Knobs(1.0, 1.0, 8.0, 1.5), Knobs(0.38, 0.5, 3.0, 0.5)]
    inputs = inputs_of(logits, knobs)
    together, _ = in_onnx(logits, decoder(), inputs)
    for place, setting in enumerate(knobs):
        own = columns([setting]) | {signature.LIGHTNESS: inputs[signature.LIGHTNESS][place : place + 1]}
        alone, _ = in_onnx(logits[:1], decoder(), own)
        np.testing.assert_allclose(together[place], alone[0], rtol=0, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 5
    assert np.abs(together[1] - together[2]).max() > 5


def test_a_temperature_below_the_lowest_counts_as_the_lowest() -> None:
    logits = random_logits("sharp")
    zero = inputs_of(logits, [Knobs(1.0, 0.0, 1.0, 1.0)] * 3) | {signature.TEMPERATURE: np.zeros(3, np.float32)}
    lowest = zero | {signature.TEMPERATURE: np.full(3, decoding.MIN_TEMPERATURE, np.float32)}
    found, _ = in_onnx(logits, decoder(), zero)
    assert np.isfinite(found).all()
    assert np.array_equal(found, in_onnx(logits, decoder(), lowest)[0])


def test_the_judge_can_tell() -> None:
    """Half a percent of a knob is more than the agreement asked for."""
    logits, knobs = random_logits("sharp"), [Knobs(0.38, 1.0, 5.0, 1.0)] * 3
    off = [Knobs(0.38 * 1.005, 1.0, 5.0, 1.0)] * 3
    ab, _ = judge(logits, decoder(), inputs_of(logits, knobs))
    found, _ = in_onnx(logits, decoder(), inputs_of(logits, off))
    assert np.abs(found - ab).max() > 10 * LAB_UNITS
