"""DeOldify's artistic model: a ResNet-34, and a U-Net 1.5 times as wide that shuffles pixels and looks at itself."""

from typing import Final

import numpy as np

from benchmarks.architectures.graph import Graph, Tensor

WIDTH: Final = 1.5
"""DeOldify's `nf_factor`."""
ATTENTIVE: Final = 1
"""The block with self-attention."""


def deoldify_artistic(size_px: int) -> tuple[Graph, Tensor]:
    """Build DeOldify's `DynamicUnetDeep` on a ResNet-34, `nf_factor` 1.5.

    Args:
        size_px: side of the picture, a multiple of 16, as DeOldify's `render_factor` makes it.

    Returns:
        The graph, a gray RGB in and a colored one out, both in ImageNet's units, and its output.
    """
    graph = Graph(3, size_px)
    skips, x = _resnet34(graph)
    x = graph.relu(graph.batch_norm(x))
    x = _conv(graph, x, 2 * x.channels)
    x = _conv(graph, x, x.channels // 2)
    for index, skip in enumerate(reversed(skips)):
        up = graph.conv(x, 4 * (x.channels // 2), 1, bias=False)
        up = graph.pixel_shuffle(graph.relu(graph.batch_norm(up)), 2)
        side = -(-size_px // 2 ** (len(skips) - index))
        if side % 2:  # Twice the half, rounded up, is one pixel too many.
            up = graph.op("Resize", up, "", "", graph.constant([1, up.channels, side, side], np.int64), mode="nearest")
        x = graph.relu(graph.concat(up, graph.batch_norm(skip)))
        last = index == len(skips) - 1
        channels = int((x.channels // 2 if last else x.channels) * WIDTH)
        x = _conv(graph, _conv(graph, x, channels), channels)
        if index == ATTENTIVE:
            x = _self_attention(graph, x)
    x = graph.pixel_shuffle(graph.relu(graph.conv(x, 4 * x.channels, 1)), 2)
    x = graph.concat(x, graph.input)
    inner = x
    for _ in range(2):
        inner = graph.relu(graph.conv(inner, x.channels, 3))
    rgb = graph.op("Sigmoid", graph.conv(graph.op("Add", inner, x), 3, 1))
    return graph, graph.op("Sub", graph.op("Mul", rgb, graph.constant(6)), graph.constant(3))


def _resnet34(graph: Graph) -> tuple[list[Tensor], Tensor]:
    """Add a ResNet-34 without its head; return its pictures of 1/2, 1/4, 1/8 and 1/16, and its output."""
    x = graph.relu(graph.batch_norm(graph.conv(graph.input, 64, 7, stride=2, bias=False)))
    skips = [x]
    x = graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for channels, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and channels > 64 else 1
            shortcut = x
            if stride == 2:
                shortcut = graph.batch_norm(graph.conv(x, channels, 1, stride=2, bias=False))
            x = graph.relu(graph.batch_norm(graph.conv(x, channels, 3, stride=stride, bias=False)))
            x = graph.batch_norm(graph.conv(x, channels, 3, bias=False))
            x = graph.relu(graph.op("Add", x, shortcut))
        skips.append(x)
    return skips[:-1], x


def _conv(graph: Graph, x: Tensor, channels: int) -> Tensor:
    """Add a convolution, a ReLU and a batch norm, in fastai's order."""
    return graph.batch_norm(graph.relu(graph.conv(x, channels, 3, bias=False)))


def _self_attention(graph: Graph, x: Tensor) -> Tensor:
    """Add the attention of SAGAN: every pixel over every pixel."""
    flat = graph.reshape(x, 0, 0, -1)
    deviation = x.channels**-0.5

    def project(channels: int) -> Tensor:
        weight = graph.weight(channels, x.channels, 1, deviation=deviation)
        return graph.op("Conv", flat, weight, channels=channels, kernel_shape=[1])

    query, key, value = project(x.channels // 8), project(x.channels // 8), project(x.channels)
    scores = graph.op("MatMul", graph.op("Transpose", query, perm=[0, 2, 1]), key)
    seen = graph.op("MatMul", value, graph.op("Softmax", scores, axis=1))
    seen = graph.op("Add", graph.op("Mul", seen, graph.weight(1, deviation=0.1)), flat)
    return graph.op("Reshape", seen, graph.op("Shape", x), channels=x.channels)
