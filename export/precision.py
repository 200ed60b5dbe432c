"""Weights in 16 bits: an ONNX model -> the same model in a file of half the size, computed with in float32.

Each large constant is stored as float16 behind a Cast to float32. ONNX Runtime folds such a Cast when it loads the
file, so inference is that of float32, to the weights' last bits. `export.quantization` makes the third precision, int8.
"""

from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export import ConversionError
from export.simplify import consumers_of
from export.tolerances import Precision

DECODE_PREFIX: Final = "decode/"
"""In front of the names of the decode's nodes and constants: the decode is float32 in every file."""
LEAST_VALUES: Final = 1024
"""Constants with fewer values stay float32: together they take less than half a percent of the file."""
HALF_SUFFIX: Final = ".float16"
"""Behind the name of a constant that is stored in 16 bits; the Cast's output has the name without it."""

PLAIN: Final = frozenset({TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32})
"""Types of constants that every file may hold."""
READERS: Final[dict[Precision, dict[int, frozenset[str]]]] = {
    "float32": {},
    "float16": {TensorProto.FLOAT16: frozenset({"Cast"})},
    "int8": dict.fromkeys((TensorProto.INT8, TensorProto.UINT8), frozenset({"QuantizeLinear", "DequantizeLinear"})),
}
"""Types that a precision adds, and the only operators that may read them: whatever else computes is float32."""


def to_float16(model: ModelProto) -> ModelProto:
    """Store the network's large weights in 16 bits.

    Args:
        model: float32, from `export.convert.to_onnx`; stays as it is.

    Returns:
        A checked copy with the same nodes, and a Cast for each constant that is now float16.

    Raises:
        ConversionError: a weight is beyond what float16 holds, 65504, or the model is not float32.
    """
    check(model, "float32")
    copy = _copy_of(model)
    casts = []
    for tensor in copy.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.size < LEAST_VALUES or tensor.name.startswith(DECODE_PREFIX):
            continue
        if not np.abs(weights).max() <= np.finfo(np.float16).max:
            raise ConversionError(f"{tensor.name} holds weights beyond 65504, which float16 cannot: export in float32")
        name, half = tensor.name, tensor.name + HALF_SUFFIX
        tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [name], name=f"{name}.float32", to=TensorProto.FLOAT))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    check(copy, "float16")
    return copy


def to_float32(model: ModelProto) -> ModelProto:
    """Undo `to_float16` or `export.quantization.to_int8`, but for the bits that the weights have lost.

    Args:
        model: of any precision; stays as it is.

    Returns:
        A checked float32 copy, with the weights as they were rounded.

    Raises:
        ConversionError: the model is none of ours.
    """
    copy = _copy_of(model)
    graph = copy.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    restored: dict[str, np.ndarray] = {}
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        source, result = node.input[0] if node.input else "", node.output[0]
        if node.op_type == "Cast" and source in constants:
            restored[result] = constants[source].astype(np.float32)
        elif node.op_type == "DequantizeLinear" and source in constants:
            restored[result] = _scaled(constants[source], *(constants[name] for name in node.input[1:]))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            same[result] = same.get(source, source)
        else:
            node.input[:] = [same.get(value, value) for value in node.input]
            kept.append(node)
    wanted = {value for node in kept for value in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in wanted]
    tensors += [numpy_helper.from_array(values, name) for name, values in restored.items() if name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    del graph.node[:]
    graph.node.extend(kept)
    check(copy, "float32")
    return copy


def check(model: ModelProto, precision: Precision) -> None:
    """Refuse a model that is broken, or that holds or computes something its precision does not allow.

    Args:
        model: any.
        precision: what it is said to be.

    Raises:
        ConversionError: `onnx.checker` or its shape inference refuses the model, or a constant has another type than
            its precision allows, or is read by another operator than the one that makes it float32.
    """
    readers = consumers_of(model.graph)
    allowed = READERS[precision]
    for tensor in model.graph.initializer:
        kind = TensorProto.DataType.Name(tensor.data_type)
        if tensor.data_type not in PLAIN | allowed.keys():
            raise ConversionError(f"the graph holds constants of type {kind}: build it in float32")
        others = {node.op_type for node in readers[tensor.name]} - allowed.get(tensor.data_type, frozenset())
        if others and tensor.data_type in allowed:
            raise ConversionError(f"{tensor.name}, {kind}, is read by {', '.join(sorted(others))}: not {precision}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # The checker's and the shape inference's errors have no common root but Exception.
        raise ConversionError(f"the converted graph is broken: {error}") from error


def _copy_of(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _scaled(rounded: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Return what DequantizeLinear makes of a constant; several scales are those of its first axis."""
    shape = (-1, *[1] * (rounded.ndim - 1)) if scale.ndim else ()
    values = (rounded.astype(np.int64) - zero.astype(np.int64).reshape(shape)) * scale.reshape(shape).astype(np.float64)
    return values.astype(np.float32)
