"""The two networks of richzhang/colorization: from L to classes of ab (2016), and from L and hints to ab (2017)."""

from typing import Final

import numpy as np

from benchmarks.architectures.graph import Graph, Tensor

BINS: Final = 313
TRUNK: Final = ((512, 1), (512, 2), (512, 2), (512, 1))
"""Channels and dilation of blocks 4 to 7."""


def eccv16(size_px: int) -> tuple[Graph, Tensor]:
    """Build ECCV16: ten blocks of convolutions, 313 classes at a quarter of the size, their mean, four times enlarged.

    Args:
        size_px: side of the picture, a multiple of 8.

    Returns:
        The graph, L in and ab out, and its output.
    """
    graph = Graph(1, size_px)
    x = _normalize(graph, graph.input)
    for channels, layers in ((64, 2), (128, 2), (256, 3)):
        x = _block(graph, x, channels, layers, stride=2)
    for channels, dilation in TRUNK:
        x = _block(graph, x, channels, 3, dilation=dilation)
    x = graph.relu(graph.up_conv(x, 256))
    for _ in range(2):
        x = graph.relu(graph.conv(x, 256, 3))
    posterior = graph.op("Softmax", graph.conv(x, BINS, 1), axis=1)
    ab = graph.conv(posterior, 2, 1, bias=False)
    large = graph.op("Resize", ab, "", graph.constant([1, 1, 4, 4]), mode="linear")
    return graph, graph.op("Mul", large, graph.constant(110))


def siggraph17(size_px: int) -> tuple[Graph, Tensor]:
    """Build SIGGRAPH17: a U-Net at full size over L, the hints' ab and their mask, which are zero without hints.

    The head of 529 classes, which inference does not ask, is left out.

    Args:
        size_px: side of the picture, a multiple of 8.

    Returns:
        The graph, L in and ab out, and its output.
    """
    graph = Graph(1, size_px)
    nothing = graph.op("Mul", graph.input, graph.constant(0))
    hints = graph.op("Div", graph.concat(nothing, nothing), graph.constant(110))
    x1 = _block(graph, graph.concat(_normalize(graph, graph.input), hints, nothing), 64, 2)
    x2 = _block(graph, _every_other(graph, x1), 128, 2)
    x3 = _block(graph, _every_other(graph, x2), 256, 3)
    x = _every_other(graph, x3)
    for channels, dilation in TRUNK:
        x = _block(graph, x, channels, 3, dilation=dilation)
    x = graph.relu(graph.op("Add", graph.up_conv(x, 256), graph.conv(x3, 256, 3)))
    x = _block(graph, x, 256, 2)
    x = graph.relu(graph.op("Add", graph.up_conv(x, 128), graph.conv(x2, 128, 3)))
    x = _block(graph, x, 128, 1)
    x = graph.relu(graph.op("Add", graph.up_conv(x, 128), graph.conv(x1, 128, 3)))
    x = graph.op("LeakyRelu", graph.conv(x, 128, 3), alpha=0.2)
    ab = graph.op("Tanh", graph.conv(x, 2, 1))
    return graph, graph.op("Mul", ab, graph.constant(110))


def _normalize(graph: Graph, L: Tensor) -> Tensor:
    return graph.op("Div", graph.op("Sub", L, graph.constant(50)), graph.constant(100))


def _block(graph: Graph, x: Tensor, channels: int, layers: int, *, stride: int = 1, dilation: int = 1) -> Tensor:
    """Add convolutions with ReLU, the last one with a stride, and a batch norm."""
    for layer in range(layers):
        x = graph.conv(x, channels, 3, stride=stride if layer == layers - 1 else 1, dilation=dilation)
        x = graph.relu(x)
    return graph.batch_norm(x)


def _every_other(graph: Graph, x: Tensor) -> Tensor:
    indices = [graph.constant(each, np.int64) for each in ([0, 0], [1 << 30, 1 << 30], [2, 3], [2, 2])]
    return graph.op("Slice", x, *indices)
