"""Network and decode -> one ONNX graph with the inputs and outputs of `chroma.signature`.

The network and the decode are converted one by one and joined at `ab_logits`. Converted together, tf2onnx would carry
the network's channels-first layout through the decode, where every softmax then runs over the second of four axes:
6.5 ms instead of 0.3 ms at 192 px on two CPU cores, in a graph that takes about 30 ms.

References:
    ONNX IR specification: names of dimensions are C identifiers, hence ``quarter_height`` and not ``height/4``.
"""

import logging
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, Final

import keras
import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, compose, helper

from chroma import signature
from chroma.bins import Q
from export import BackendError, ConversionError
from export.precision import DECODE_PREFIX, check
from export.simplify import simplify
from training.network import color_ops
from training.network.model import HEADS
from training.run.prediction import Decoder

OPSET: Final = 17
"""18 leaves more transpositions, and tf2onnx refuses 19."""
IR_VERSION: Final = 8
"""What opset 17 came with; older readers take the file."""
PRODUCER: Final = "photochrom"

FULL: Final = ("height", "width")
QUARTER: Final = ("quarter_height", "quarter_width")

Shape = tuple[str | int, ...]

DOC: Final = """Photochrom: colors for a black-and-white photograph.

lightness is CIE L in [0, 100]; height and width are multiples of 32. ab, ab_decoded and spread are in Lab units. See
the JSON text under the metadata key "photochrom" for the run, its prior, its vividness curve, its scenes and scores.
"""


def to_onnx(model: keras.Model, decoder: Decoder) -> ModelProto:
    """Convert a network and its decode.

    Args:
        model: float32 network from `training.run.run_folder.Run.load_model`, or `training.network.model.build_model`.
        decoder: the run's centers and log-weights; they become constants of the graph.

    Returns:
        A checked ONNX model in float32, opset 17, without stamp.

    Raises:
        BackendError: Keras does not run on TensorFlow.
        ConversionError: tf2onnx fails, or what it makes is not the graph of `chroma.signature`.
    """
    network = network_graph(model)
    decode = compose.add_prefix_graph(decode_graph(decoder), DECODE_PREFIX, rename_inputs=False, rename_outputs=False)
    scenes = model.output[signature.SCENE_LOGITS].shape[-1]
    graph = helper.make_graph(
        nodes=[*network.node, *decode.node],
        name=PRODUCER,
        inputs=_values(_input_shapes(), signature.INPUT_NAMES),
        outputs=_values(_output_shapes(scenes), signature.OUTPUT_NAMES),
        initializer=[*network.initializer, *decode.initializer],
    )
    return as_model(graph)


def network_graph(model: keras.Model) -> GraphProto:
    """Convert the network alone: `lightness` -> `ab`, `ab_logits`, `scene_logits`.

    Raises:
        BackendError: Keras does not run on TensorFlow.
        ConversionError: tf2onnx fails.
    """
    require_tensorflow()

    def run(lightness: Any) -> dict[str, Any]:
        outputs = model(lightness, training=False)
        return {name: outputs[name] for name in HEADS}

    return _convert(run, {signature.LIGHTNESS: (None, None, None, 1)})


def decode_graph(decoder: Decoder) -> GraphProto:
    """Convert the decode alone: `ab_logits`, `lightness` and the knobs -> `ab_decoded`, `spread`.

    Raises:
        BackendError: Keras does not run on TensorFlow.
        ConversionError: tf2onnx fails.
    """
    require_tensorflow()

    def run(ab_logits: Any, lightness: Any, temperature: Any, tau: Any, cap: Any, gain: Any) -> dict[str, Any]:
        knobs = {"temperature": temperature, "tau": tau, "cap": cap, "gain": gain}
        L = color_ops.head_lightness(lightness)
        ab = color_ops.decode(ab_logits, decoder.centers, decoder.log_weights, lightness=L, **knobs)
        return {
            signature.AB_DECODED: ab,
            signature.SPREAD: color_ops.posterior_spread(ab_logits, decoder.centers),
        }

    knobs: dict[str, tuple[int | None, ...]] = {name: (None,) for name in signature.KNOB_NAMES}
    shapes = {signature.AB_LOGITS: (None, None, None, Q), signature.LIGHTNESS: (None, None, None, 1)}
    return _convert(run, shapes | knobs)


def as_model(graph: GraphProto) -> ModelProto:
    """Wrap a graph as a checked model file.

    Raises:
        ConversionError: the graph is broken, has constants of another kind than float32 or whole numbers, or an
            operator that is not a standard one.
    """
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = PRODUCER
    model.producer_version = _version()
    model.doc_string = DOC
    check(model, "float32")
    return model


def require_tensorflow() -> None:
    """Refuse to go on without TensorFlow.

    Raises:
        BackendError: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise BackendError(
            f"Keras runs on {keras.backend.backend()}, export needs TensorFlow: set KERAS_BACKEND=tensorflow before "
            "keras is imported (weights saved by any backend load there)"
        )


def _convert(function: Callable[..., Any], inputs: dict[str, tuple[int | None, ...]]) -> GraphProto:
    """Trace a function of named float32 tensors that returns named tensors; return its simplified graph."""
    # Slow imports that only this function needs.
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    specs = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in inputs.items()]
    traced = tf.function(function, input_signature=specs, autograph=False)
    try:
        model, _ = tf2onnx.convert.from_function(traced, input_signature=specs, opset=OPSET)
    except Exception as error:  # tf2onnx raises whatever its handlers raise.
        raise ConversionError(f"tf2onnx cannot convert the graph: {error}") from error
    graph: GraphProto = model.graph
    found = {value.name for value in graph.input}
    if found != set(inputs):
        raise ConversionError(f"the converted graph asks for {sorted(found)} instead of {sorted(inputs)}")
    simplify(graph)
    return graph


def _input_shapes() -> dict[str, Shape]:
    return {signature.LIGHTNESS: ("batch", *FULL, 1)} | {name: ("batch",) for name in signature.KNOB_NAMES}


def _output_shapes(scenes: int) -> dict[str, Shape]:
    return {
        signature.AB: ("batch", *QUARTER, 2),
        signature.AB_DECODED: ("batch", *QUARTER, 2),
        signature.AB_LOGITS: ("batch", *QUARTER, Q),
        signature.SCENE_LOGITS: ("batch", scenes),
        signature.SPREAD: ("batch", *QUARTER, 1),
    }


def _values(shapes: dict[str, Shape], order: Sequence[str]) -> list[ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in order]


def _version() -> str:
    try:
        return metadata.version("photochrom")
    except metadata.PackageNotFoundError:  # A source tree that is not installed.
        return "0+source"


def count_weights(model: keras.Model) -> int:
    """Return the number of weights, statistics of batch normalization included."""
    return int(sum(np.prod(weight.shape) for weight in model.weights))
