"""Convolutions in 8 bits: a float32 ONNX model and a few photographs -> a model that a CPU runs about twice as fast.

Weights get one scale a channel, activations one a tensor, from the smallest and largest value that the photographs
cause there (static quantization, in the form that ONNX calls QDQ). Three parts stay float32, because rounding them
shows in the pictures:

    the shallow convolutions   few channels of very uneven ranges; rounding them alone costs four times the rest
    the heads                  their rounding reaches the colors undamped
    the decode                 softmax over 313 bins

Activations are unsigned: signed ones take as long or longer. Weights use all 8 bits, which halves their rounding: the
processors that this is for have VNNI, or what corresponds to it. Those without add two products in 16 bits and may
overflow: the service says so, and where int8 is asked for compares pictures before it begins.

References:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018, section 2. ONNX Runtime, "Quantize ONNX models": formats, VNNI and the reduced range.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, numpy_helper

from chroma import signature
from export import ConversionError
from export.precision import check
from export.simplify import consumers_of

ACTIVATIONS: Final = ("Clip", "Relu")
"""Become part of the rounding when ONNX Runtime loads the file: the scale's range ends where they clip."""
NETWORK_OUTPUTS: Final = (signature.AB, signature.AB_LOGITS, signature.SCENE_LOGITS)
PREPARED: Final = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Tells ONNX Runtime's quantizer that the scales behind convolutions are folded in already."""


def to_int8(model: ModelProto, lightness: Iterable[np.ndarray]) -> ModelProto:
    """Round the network's deep convolutions to 8 bits.

    Args:
        model: float32, from `export.convert.to_onnx`; stays as it is.
        lightness: what to find ranges with, CIE L in [0, 100], float32, each (1, H, W, 1) with sides multiples of 32;
            of photographs like those that the model is for.

    Returns:
        A checked copy in opset 17 with QuantizeLinear and DequantizeLinear nodes, of standard operators only.

    Raises:
        ConversionError: the model is not float32, has no convolution to round, there are no pictures, or ONNX Runtime
            cannot quantize it.
    """
    check(model, "float32")
    pictures = list(lightness)
    if not pictures:
        raise ConversionError("no photographs to find the ranges of int8 with")
    plain = ModelProto()
    plain.CopyFrom(model)
    fold_scales(plain.graph)
    chosen = nodes_to_round(plain.graph)
    if not chosen:
        raise ConversionError("the network has no convolution that may be rounded: export it in float32 or float16")
    rounded = ModelProto()
    rounded.CopyFrom(model)
    rounded.graph.CopyFrom(_quantize(plain, chosen, pictures))
    check(rounded, "int8")
    return rounded


def fold_scales(graph: GraphProto) -> None:
    """Put a multiplication and an addition a channel, which batch normalization leaves behind, into the convolution.

    ONNX Runtime does so when it loads a file, but a rounded convolution must have it done before.

    Args:
        graph: changed in place.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = consumers_of(graph)
    outputs = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        for kind in ("Mul", "Add"):
            followers = readers[node.output[0]]
            if len(followers) != 1 or followers[0].op_type != kind or node.output[0] in outputs:
                continue
            factor = [constants[value] for value in followers[0].input if value in constants]
            weights = numpy_helper.to_array(constants[node.input[1]])
            if not factor or (column := _by_channel(factor[0], len(weights))) is None:
                continue
            bias = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 else np.float32(0)
            if kind == "Mul":
                weights, bias = weights * column.reshape(-1, 1, 1, 1), bias * column
            else:
                bias = bias + column
            names = [node.input[0], f"{node.name}.weights.{kind}", f"{node.name}.bias.{kind}"]
            for name, values in zip(names[1:], (weights, np.broadcast_to(bias, len(weights))), strict=True):
                constants[name] = numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
            node.input[:] = names
            node.output[0] = followers[0].output[0]
            graph.node.remove(followers[0])
    wanted = {value for node in graph.node for value in node.input}
    del graph.initializer[:]
    graph.initializer.extend(tensor for name, tensor in constants.items() if name in wanted)


def nodes_to_round(graph: GraphProto) -> list[str]:
    """Choose the convolutions that bear rounding, and the activations right behind them.

    Left out are the shallow ones, before the picture has shrunk to twice the smallest size it takes in the network (in
    EfficientNet-Lite2, whose smallest is 1/32: before 1/16), and the heads: those that lead to a single output.

    Args:
        graph: of the network and the decode.

    Returns:
        Names of nodes, in their order.
    """
    shrunk = _shrinkage(graph)
    leads_to = _outputs_reached(graph)
    readers = consumers_of(graph)
    deepest = max(shrunk.values())
    names = []
    for node in graph.node:
        if node.op_type != "Conv" or 2 * shrunk[node.output[0]] < deepest or len(leads_to[node.output[0]]) < 2:
            continue
        followers = readers[node.output[0]]
        names += [node.name, *(follower.name for follower in followers if follower.op_type in ACTIVATIONS)]
    return names


def _quantize(model: ModelProto, nodes: list[str], lightness: Iterable[np.ndarray]) -> GraphProto:
    # Slow imports that only this function needs.
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Pictures(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime has no types
        def __init__(self, lightness: Iterable[np.ndarray]) -> None:
            self._feeds = _feeds(lightness)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, kept | PREPARED)
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        try:
            quantize_static(
                source,
                target,
                Pictures(lightness),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["Conv", *ACTIVATIONS],
                nodes_to_quantize=nodes,
                # They cost nothing where scales take their place, and `export.precision.to_float32` needs them.
                extra_options={"QDQKeepRemovableActivations": True},
            )
            graph: GraphProto = onnx.load(target).graph
        except Exception as error:  # The quantizer raises whatever its parts raise.
            raise ConversionError(f"ONNX Runtime cannot quantize the model: {error}") from error
    del graph.value_info[:]
    return graph


def _feeds(lightness: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yield what the model takes; the knobs only reach the decode, which is not rounded."""
    knobs: dict[str, Any] = {name: np.ones(1, np.float32) for name in signature.KNOB_NAMES}
    return (knobs | {signature.LIGHTNESS: picture} for picture in lightness)


def _by_channel(tensor: onnx.TensorProto, channels: int) -> np.ndarray | None:
    """Return a constant that has one value a channel, (1, channels, 1, 1) or without the 1, as (channels,)."""
    shape = tuple(tensor.dims)
    if shape[-3:] != (channels, 1, 1) or shape[:-3] not in ((), (1,)):
        return None
    column: np.ndarray = numpy_helper.to_array(tensor).ravel()
    return column


def _shrinkage(graph: GraphProto) -> dict[str, int]:
    """Return the smallest size that a value's ancestors have had, as the input's side over theirs, by value."""
    shrunk: dict[str, int] = defaultdict(lambda: 1)
    for node in graph.node:
        factor = 1
        if node.op_type in ("Conv", "MaxPool", "AveragePool"):
            factor = next((attribute.ints[0] for attribute in node.attribute if attribute.name == "strides"), 1)
        reached = max((shrunk[value] for value in node.input), default=1)
        shrunk |= dict.fromkeys(node.output, reached * factor)
    return shrunk


def _outputs_reached(graph: GraphProto) -> dict[str, set[str]]:
    """Return which outputs of the network each value leads to."""
    reached: dict[str, set[str]] = defaultdict(set)
    for name in NETWORK_OUTPUTS:
        reached[name].add(name)
    for node in reversed(graph.node):
        for value in node.input:
            # What the decode makes of the logits is no head of its own.
            reached[value] |= set().union(*(reached[output] for output in node.output))
    return reached
