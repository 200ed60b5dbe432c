"""Rewrites what tf2onnx leaves behind into fewer nodes that compute the same, and names them alike every time.

TensorFlow's `tensordot`, `resize` and transposed convolution do arithmetic on shapes that ONNX does not need; on a GPU
such arithmetic runs on the processor beside it. Each rewrite looks for one pattern of this network and leaves all else
alone; `export.verify` proves the outcome.
"""

import re
from collections import defaultdict
from typing import Final

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

ENLARGEMENT: Final = "enlarge_by_2"
"""Name of the constant that holds the scale of `training.network.layers.Up2`."""


def simplify(graph: GraphProto) -> None:
    """Apply all rewrites.

    Args:
        graph: as tf2onnx gives it; changed in place.
    """
    multiply_directly(graph)
    enlarge_by_scales(graph)
    pad_transposed(graph)
    keep_needed(graph)
    name_by_place(graph)


def multiply_directly(graph: GraphProto) -> None:
    """Turn TensorFlow's `tensordot` by a matrix into one multiplication: ONNX multiplies any rank by a matrix.

    TensorFlow reshapes to a matrix, multiplies, and reshapes back to a computed shape.

    Args:
        graph: changed in place.
    """
    producers = {value: node for node in graph.node for value in node.output}
    consumers = consumers_of(graph)
    matrices = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
    gone = []
    for node in graph.node:
        if node.op_type != "MatMul" or "Tensordot" not in node.name or node.input[1] not in matrices:
            continue
        flatten, readers = producers.get(node.input[0]), consumers[node.output[0]]
        if flatten is None or flatten.op_type != "Reshape" or [reader.op_type for reader in readers] != ["Reshape"]:
            continue
        node.input[0] = flatten.input[0]
        node.output[0] = readers[0].output[0]
        gone.append(readers[0])
    for node in gone:
        graph.node.remove(node)


def enlarge_by_scales(graph: GraphProto) -> None:
    """Give every enlargement a constant scale of 2, instead of a size computed from the input's shape.

    `training.network.layers.Up2` is the only layer of the network that resizes. Where it repeats pixels, tf2onnx asks
    for a coordinate mode that ONNX has deprecated; by two, rounding down gives the same pixels.

    Args:
        graph: changed in place.
    """
    by_size = [node for node in graph.node if node.op_type == "Resize" and len(node.input) == 4]
    for node in by_size:
        node.input[2:] = [ENLARGEMENT]
        if any(attribute.name == "mode" and attribute.s == b"nearest" for attribute in node.attribute):
            del node.attribute[:]
            options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            node.attribute.extend(helper.make_attribute(name, value) for name, value in options.items())
    if by_size:
        graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), ENLARGEMENT))


def pad_transposed(graph: GraphProto) -> None:
    """Let a transposed convolution cut its own border, instead of a slice and a pad to a size computed from the shape.

    TensorFlow's same padding cuts kernel - stride rows and columns, the odd one at the end, so that the output is
    stride times as large as the input.

    Args:
        graph: changed in place.
    """
    consumers = consumers_of(graph)
    for node in [node for node in graph.node if node.op_type == "ConvTranspose"]:
        options = {attribute.name: attribute for attribute in node.attribute}
        slices = [reader for reader in consumers[node.output[0]] if reader.op_type == "Slice"]
        pads = [reader for reader in consumers[slices[0].output[0]] if reader.op_type == "Pad"] if slices else []
        if "pads" in options or len(pads) != 1:
            continue
        cut = [
            kernel - step for kernel, step in zip(options["kernel_shape"].ints, options["strides"].ints, strict=True)
        ]
        before = [side // 2 for side in cut]
        after = [side - first for side, first in zip(cut, before, strict=True)]
        node.attribute.append(helper.make_attribute("pads", before + after))
        node.output[0] = pads[0].output[0]
        graph.node.remove(pads[0])


def keep_needed(graph: GraphProto) -> None:
    """Keep the nodes and constants that an output depends on, each node after those it reads, in one order every time.

    Args:
        graph: changed in place.
    """
    producers = {value: node for node in graph.node for value in node.output}
    pending = [producers[value.name] for value in reversed(graph.output) if value.name in producers]
    order: dict[str, NodeProto] = {}
    while pending:
        node = pending[-1]
        waits_for = [producers[value] for value in node.input if value in producers and value not in order]
        if waits_for:
            pending += reversed(waits_for)
        else:
            pending.pop()
            order |= dict.fromkeys(node.output, node)
    kept = [node for value, node in order.items() if value == node.output[0]]
    wanted = {value for node in kept for value in node.input} | {value.name for value in graph.output}
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def name_by_place(graph: GraphProto) -> None:
    """Name nodes, values and constants after their place and layer; inputs and outputs of the graph keep theirs.

    tf2onnx names by counters and in the order of sets, so two exports of one run would be two files.

    Args:
        graph: changed in place; its nodes have one output each.
    """
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    del graph.initializer[:]
    for place, node in enumerate(graph.node):
        node.name = f"{place:03d}_{_layer(node)}"
        for position, value in enumerate(node.input):
            if value in constants and value not in names:
                names[value] = f"{node.name}.{position}"
                constants[value].name = names[value]
                graph.initializer.append(constants[value])
        for value in node.output:
            names.setdefault(value, node.name)
        node.input[:] = [names[value] if value else "" for value in node.input]
        node.output[:] = [names[value] for value in node.output]


def _layer(node: NodeProto) -> str:
    """Return the Keras layer that a node belongs to, or what it does."""
    layer = re.match(r"photochrom(?:_\d+)?/([a-z]\w*?)(?:_\d+)?/", node.name)
    return layer.group(1) if layer else node.op_type.lower()


def consumers_of(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Return the nodes that read each value, by the value's name.

    Args:
        graph: any.
    """
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for value in node.input:
            readers[value].append(node)
    return readers
