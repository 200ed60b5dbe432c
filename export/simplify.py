"""Rewrites what tf2onnx leaves behind into fewer nodes that compute the same.

TensorFlow's `tensordot` and `resize` do arithmetic on shapes that ONNX does not need; on a GPU such arithmetic runs on
the processor beside it. Each rewrite looks for one pattern of this network and leaves everything else alone;
`export.verify` proves the outcome.
"""

from collections import defaultdict
from typing import Final

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper

ENLARGEMENT: Final = "enlarge_by_2"
"""Name of the constant that holds the scale of `training.layers.Up2`."""


def simplify(graph: GraphProto) -> None:
    """Apply all rewrites.

    Args:
        graph: as tf2onnx gives it; changed in place.
    """
    multiply_directly(graph)
    enlarge_by_scales(graph)
    drop_unused(graph)


def multiply_directly(graph: GraphProto) -> None:
    """Turn TensorFlow's `tensordot` by a matrix into one multiplication: ONNX multiplies any rank by a matrix.

    TensorFlow reshapes to a matrix, multiplies, and reshapes back to a computed shape.

    Args:
        graph: changed in place.
    """
    producers = {value: node for node in graph.node for value in node.output}
    consumers = _consumers(graph)
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

    `training.layers.Up2` is the only layer of the network that resizes.

    Args:
        graph: changed in place.
    """
    by_size = [node for node in graph.node if node.op_type == "Resize" and len(node.input) == 4]
    for node in by_size:
        node.input[2:] = [ENLARGEMENT]
    if by_size:
        graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), ENLARGEMENT))


def drop_unused(graph: GraphProto) -> None:
    """Remove nodes and constants that no output depends on.

    Args:
        graph: changed in place.
    """
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)


def _consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for value in node.input:
            readers[value].append(node)
    return readers
