"""Exported means compared: every output of the ONNX file against Keras or NumPy, before the file is written.

The heads are compared with Keras on several batch and picture sizes. The decode inside the graph is compared with
`chroma.decoding` on the graph's own logits, so that the two comparisons do not blur each other, for the temperatures
and corrections that are asked for in practice. A picture must also get the same answer alone as in company.

A file in float16 or int8 is compared in the same way, with wider tolerances for what is rounded, and once more as
pictures: those of the rounded network beside those of the network in float32.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from chroma import decoding, signature
from chroma.bins import load_centers
from chroma.compose import compose_u8
from chroma.decoding import Knobs
from chroma.signature import SignatureError, Stamp
from export import ConversionError, ToleranceError
from export.stamp import read_stamp
from export.tolerances import PICTURE_TOLERANCE, tolerances_for
from training.network.model import HEADS
from training.run.prediction import Decoder, predict_heads

SHAPES: Final = ((1, 64, 64), (1, 96, 160), (3, 160, 96))
"""Batches to compare on: pictures, height, width."""
KNOBS: Final = (
    Knobs(temperature=0.1, tau=0.0, cap=1.0, gain=1.0),
    Knobs(temperature=0.1, tau=0.5, cap=5.0, gain=1.2),
    Knobs(temperature=0.1, tau=1.0, cap=8.0, gain=1.25),
    Knobs(temperature=0.38, tau=0.0, cap=5.0, gain=2.0),
    Knobs(temperature=0.38, tau=0.5, cap=2.0, gain=1.0),
    Knobs(temperature=0.38, tau=1.0, cap=1000.0, gain=1.5),
    Knobs(temperature=1.0, tau=0.0, cap=8.0, gain=0.0),
    Knobs(temperature=1.0, tau=0.5, cap=3.0, gain=1.2),
    Knobs(temperature=1.0, tau=1.0, cap=5.0, gain=1.0),
)
"""Settings to decode with; a batch takes several at once, one a picture."""
KERAS: Final = "Keras"
NUMPY: Final = "NumPy"
ALONE: Final = "one by one"
FLOAT32: Final = "float32"
PICTURE: Final = "picture, mean of 255"


@dataclass(frozen=True)
class Difference:
    """How far one output is from its reference.

    Attributes:
        output: name of the output, or `PICTURE`.
        reference: what it was compared with.
        largest: absolute difference, Lab units or nats; of pictures the mean one, of 255.
        tolerance: the most allowed.
    """

    output: str
    reference: str
    largest: float
    tolerance: float

    @property
    def is_small(self) -> bool:
        """Return whether the difference is within the tolerance; a NaN is not."""
        return self.largest <= self.tolerance


def write_verified(
    model: ModelProto,
    network: keras.Model,
    stamp: Stamp,
    path: Path,
    *,
    others: Sequence[Difference] = (),
) -> tuple[Difference, ...]:
    """Compare a model with its network, and write it only when all is within tolerance.

    A file that was at `path` stays untouched until the new one is whole.

    Args:
        model: stamped ONNX model.
        network: the Keras network it was made from.
        stamp: what the model must say of itself.
        path: where to write.
        others: differences measured before, which must be small, too.

    Returns:
        What was compared and how far apart it is.

    Raises:
        ToleranceError: something differs by more than its tolerance; nothing is written.
        SignatureError: the model does not say what it should; nothing is written.
        ConversionError: ONNX Runtime refuses the model; nothing is written.
        OSError: the file cannot be written.
    """
    content = model.SerializeToString()
    differences = (*compare(content, network, stamp), *others)
    require_small(differences)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return differences


def require_small(differences: Sequence[Difference]) -> None:
    """Refuse a model that is not within tolerance.

    Raises:
        ToleranceError: something differs by more than its tolerance.
    """
    large = [difference for difference in differences if not difference.is_small]
    if large:
        lines = [f"{d.output} is {d.largest:.2g} from {d.reference}, at most {d.tolerance:g} allowed" for d in large]
        raise ToleranceError(f"not written: {'; '.join(lines)}")


def compare(content: bytes, network: keras.Model, stamp: Stamp) -> tuple[Difference, ...]:
    """Measure how far a model is from Keras, from NumPy, and from itself in another batch.

    Args:
        content: of the ONNX file.
        network: the Keras network it was made from.
        stamp: what the model must say of itself.

    Returns:
        The largest difference for each output and reference.

    Raises:
        SignatureError: the stamp read back is another, or the inputs or outputs have other names.
        ConversionError: ONNX Runtime refuses the model.
    """
    session = _open(content)
    found = read_stamp(session.get_modelmeta().custom_metadata_map)
    if found != stamp:
        raise SignatureError("the stamp read back from the model is not the one written")
    for kind, wanted, nodes in (
        ("inputs", signature.INPUT_NAMES, session.get_inputs()),
        ("outputs", signature.OUTPUT_NAMES, session.get_outputs()),
    ):
        if {node.name for node in nodes} != set(wanted):
            raise SignatureError(f"the model's {kind} are {sorted(node.name for node in nodes)}, not {sorted(wanted)}")
    decoder = Decoder.of_prior(np.asarray(found.prior), load_centers())
    largest: dict[tuple[str, str], float] = {}
    for shape in SHAPES:
        for output, reference, difference in _differences(session, network, decoder, make_lightness(*shape)):
            # A NaN stays, whatever comes after it.
            largest[output, reference] = float(np.maximum(largest.get((output, reference), 0.0), difference))
    rounded, exact = tolerances_for(found.parameters, found.precision), tolerances_for(found.parameters)
    return tuple(
        Difference(output, reference, value, (rounded if reference == KERAS else exact)[output])
        for (output, reference), value in sorted(largest.items())
    )


def compare_pictures(content: bytes, float32: bytes, stamp: Stamp, lightness: Iterable[np.ndarray]) -> Difference:
    """Measure how far the pictures of a rounded network are from those of the network in float32.

    Args:
        content: of the rounded network's ONNX file.
        float32: of the ONNX file that it was made from.
        stamp: of either; pictures have its default vividness.
        lightness: what to color, CIE L in [0, 100], float32, each (1, H, W, 1) with sides multiples of 32.

    Returns:
        The mean absolute difference over all pictures, at the size that the network saw, of 255.

    Raises:
        ConversionError: ONNX Runtime refuses a model.
    """
    sessions, knobs = (_open(content), _open(float32)), stamp.vividness_curve.at(0.5)
    means = []
    for L in lightness:
        pictures = [compose_u8(L[0], run(session, L, [knobs])[signature.AB_DECODED][0]) for session in sessions]
        means.append(np.abs(np.subtract(*pictures, dtype=np.int16)).mean(dtype=np.float64))
    return Difference(PICTURE, FLOAT32, float(np.mean(means)), PICTURE_TOLERANCE)


def make_lightness(count: int, height: int, width: int) -> np.ndarray:
    """Make test pictures that are smooth in places, grainy in others, with plain black and white.

    Args:
        count: of pictures; they differ.
        height: px, a multiple of 32.
        width: px, a multiple of 32.

    Returns:
        CIE L in [0, 100], float32, (count, height, width, 1).
    """
    rng = np.random.default_rng(count * height * width)
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 6, height))
    phase = rng.uniform(0, 6, (count, 1, 1))
    L = 50 + 45 * np.sin(x + phase) * np.cos(y * (1 + phase / 6)) + rng.normal(0, 6, (count, height, width)) * (x > 3)
    L[:, : height // 4, : width // 4] = 0
    L[:, -height // 4 :, -width // 4 :] = 100
    return np.clip(L, 0, 100).astype(np.float32)[..., None]


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference; infinite where shape or dtype differ, NaN where a value is NaN.

    Args:
        found: any shape.
        expected: any shape.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    return float(np.abs(found - expected).max())


def _open(content: bytes) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common root but Exception.
        raise ConversionError(f"ONNX Runtime refuses the model: {error}") from error


def _differences(
    session: ort.InferenceSession, network: keras.Model, decoder: Decoder, lightness: np.ndarray
) -> Iterator[tuple[str, str, float]]:
    """Yield output, reference and difference for one batch."""
    count = len(lightness)
    expected = predict_heads(network, lightness)
    for start in range(0, len(KNOBS), count):
        knobs = KNOBS[start : start + count]
        found = run(session, lightness, knobs)
        for name in HEADS:
            yield name, KERAS, largest_difference(found[name], expected[name])
        logits, L = found[signature.AB_LOGITS], expected[signature.LIGHTNESS]
        decoded, spread = decode_with_numpy(logits, L, decoder, knobs)
        yield signature.AB_DECODED, NUMPY, largest_difference(found[signature.AB_DECODED], decoded)
        yield signature.SPREAD, NUMPY, largest_difference(found[signature.SPREAD], spread)
        for place in range(count if count > 1 else 0):
            alone = run(session, lightness[place : place + 1], knobs[place : place + 1])
            for name, head in alone.items():
                yield name, ALONE, largest_difference(found[name][place : place + 1], head)


def run(session: ort.InferenceSession, lightness: np.ndarray, knobs: Sequence[Knobs]) -> dict[str, np.ndarray]:
    """Run an exported model.

    Args:
        session: of the model.
        lightness: CIE L in [0, 100], float32, (N, H, W, 1).
        knobs: one a picture.

    Returns:
        Every output by name.
    """
    columns = np.array([astuple(setting) for setting in knobs], np.float32).T
    feeds = {signature.LIGHTNESS: lightness} | dict(zip(signature.KNOB_NAMES, columns, strict=True))
    return dict(zip(signature.OUTPUT_NAMES, session.run(list(signature.OUTPUT_NAMES), feeds), strict=True))


def decode_with_numpy(
    logits: np.ndarray, lightness: np.ndarray, decoder: Decoder, knobs: Sequence[Knobs]
) -> tuple[np.ndarray, np.ndarray]:
    """Decode with `chroma`, the truth of the formulas.

    Args:
        logits: float32, (N, h, w, Q).
        lightness: L at the logits' grid, [0, 100], (N, h, w, 1).
        decoder: centers and log-weights.
        knobs: one a picture.

    Returns:
        (ab, spread): Lab units, float32, (N, h, w, 2) and (N, h, w, 1).
    """
    columns = np.array([astuple(setting) for setting in knobs], np.float32).T
    settings = dict(zip(signature.KNOB_NAMES, columns, strict=True))
    ab = decoding.decode(logits, decoder.centers, decoder.log_weights, lightness=lightness, **settings)
    return ab, decoding.posterior_spread(logits, decoder.centers)
