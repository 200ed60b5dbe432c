"""DDColor-tiny: a ConvNeXt-T, a decoder of pixels, and one of colors that asks it 100 questions in nine layers."""

import math
from typing import Final

import numpy as np

from benchmarks.architectures.graph import Graph, Tensor

STAGES: Final = ((96, 3), (192, 3), (384, 9), (768, 3))
"""Channels and blocks of ConvNeXt-T."""
PIXEL_CHANNELS: Final = 512
QUERIES: Final = 100
FEATURES: Final = 256
HEADS: Final = 8
FORWARD: Final = 2048
LAYERS: Final = 9
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of ImageNet's RGB."""
EPSILON: Final = 1e-6
"""Of ConvNeXt's layer norms."""


def ddcolor_tiny(size_px: int) -> tuple[Graph, Tensor]:
    """Build DDColor with a ConvNeXt-T.

    Args:
        size_px: side of the picture, a multiple of 32.

    Returns:
        The graph, a gray RGB in [0, 1] in and ab out, and its output.
    """
    graph = Graph(3, size_px)
    mean, deviation = (np.reshape(each, (1, 3, 1, 1)) for each in (MEAN, DEVIATION))
    rgb = graph.op("Div", graph.op("Sub", graph.input, graph.constant(mean)), graph.constant(deviation))
    *skips, x = _convnext(graph, rgb)
    scales = []
    for skip, channels in zip(reversed(skips), (PIXEL_CHANNELS, PIXEL_CHANNELS, PIXEL_CHANNELS // 2), strict=True):
        up = graph.batch_norm(graph.conv(x, 4 * channels, 1, bias=False))
        up = graph.pixel_shuffle(graph.relu(up), 2)
        x = graph.relu(graph.concat(up, graph.batch_norm(skip)))
        x = graph.batch_norm(graph.relu(graph.conv(x, channels, 3, bias=False)))
        scales.append(x)
    pixels = graph.pixel_shuffle(graph.relu(graph.conv(x, 16 * FEATURES, 1)), 4)
    colors = _color_decoder(graph, scales, size_px)
    flat = graph.reshape(pixels, 0, 0, -1)
    found = graph.reshape(graph.op("MatMul", colors, flat), 0, 0, size_px, size_px, channels=QUERIES)
    return graph, graph.conv(graph.concat(found, rgb), 2, 1)


def _convnext(graph: Graph, x: Tensor) -> list[Tensor]:
    """Add a ConvNeXt-T without its head; return the normed pictures of 1/4, 1/8, 1/16 and 1/32."""
    normed = []
    for channels, blocks in STAGES:
        if normed:
            x = graph.conv(_norm_channels(graph, x), channels, 2, stride=2, padding=0)
        else:
            x = _norm_channels(graph, graph.conv(x, channels, 4, stride=4, padding=0))
        for _ in range(blocks):
            x = _convnext_block(graph, x)
        normed.append(_norm_channels(graph, x))
    return normed


def _convnext_block(graph: Graph, x: Tensor) -> Tensor:
    inner = graph.conv(x, x.channels, 7, groups=x.channels)
    inner = graph.layer_norm(graph.op("Transpose", inner, perm=[0, 2, 3, 1]), EPSILON)
    inner = graph.linear(inner, 4 * x.channels)
    erf = graph.op("Erf", graph.op("Div", inner, graph.constant(math.sqrt(2))))
    inner = graph.op("Mul", graph.op("Mul", inner, graph.op("Add", erf, graph.constant(1))), graph.constant(0.5))
    inner = graph.linear(inner, x.channels)
    inner = graph.op("Mul", inner, graph.weight(x.channels, deviation=0.1))
    return graph.op("Add", x, graph.op("Transpose", inner, perm=[0, 3, 1, 2]))


def _norm_channels(graph: Graph, x: Tensor) -> Tensor:
    """Add ConvNeXt's layer norm over the channels of a picture, step by step as its authors wrote it."""
    centered = graph.op("Sub", x, graph.op("ReduceMean", x, axes=[1], keepdims=1))
    variance = graph.op("ReduceMean", graph.op("Pow", centered, graph.constant(2)), axes=[1], keepdims=1)
    normed = graph.op("Div", centered, graph.op("Sqrt", graph.op("Add", variance, graph.constant(EPSILON))))
    scaled = graph.op("Mul", graph.weight(x.channels, 1, 1, deviation=0.1, mean=1.0), normed, channels=x.channels)
    return graph.op("Add", scaled, graph.weight(x.channels, 1, 1, deviation=0.01))


def _color_decoder(graph: Graph, scales: list[Tensor], size_px: int) -> Tensor:
    """Add the decoder of colors; return (1, QUERIES, FEATURES)."""
    memories, keys = [], []
    for scale, stride in zip(scales, (16, 8, 4), strict=True):
        projected = graph.reshape(graph.conv(scale, FEATURES, 1), 0, 0, -1)
        level = graph.weight(1, FEATURES, 1, deviation=0.1)
        memory = graph.op("Transpose", graph.op("Add", projected, level), perm=[0, 2, 1])
        memories.append(memory)
        keys.append(graph.op("Add", memory, graph.constant(sine_positions(size_px // stride))))
    x = Tensor(graph.weight(1, QUERIES, FEATURES, deviation=1.0), FEATURES)
    places = graph.weight(1, QUERIES, FEATURES, deviation=1.0)
    for layer in range(LAYERS):
        memory, key = memories[layer % len(memories)], keys[layer % len(keys)]
        x = graph.layer_norm(graph.op("Add", x, _attention(graph, graph.op("Add", x, places), key, memory)))
        asked = graph.op("Add", x, places)
        x = graph.layer_norm(graph.op("Add", x, _attention(graph, asked, asked, x)))
        x = graph.layer_norm(graph.op("Add", x, graph.linear(graph.relu(graph.linear(x, FORWARD)), FEATURES)))
    x = graph.layer_norm(x)
    for _ in range(2):
        x = graph.relu(graph.linear(x, FEATURES))
    return graph.linear(x, FEATURES)


def _attention(graph: Graph, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Add attention with eight heads."""

    def project(x: Tensor) -> Tensor:
        return graph.reshape(graph.linear(x, FEATURES), 0, -1, HEADS, FEATURES // HEADS)

    asked = graph.op("Transpose", project(query), perm=[0, 2, 1, 3])
    asked = graph.op("Mul", asked, graph.constant((FEATURES // HEADS) ** -0.5))
    scores = graph.op("MatMul", asked, graph.op("Transpose", project(key), perm=[0, 2, 3, 1]))
    values = graph.op("Transpose", project(value), perm=[0, 2, 1, 3])
    seen = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), values)
    seen = graph.reshape(graph.op("Transpose", seen, perm=[0, 2, 1, 3]), 0, -1, FEATURES, channels=FEATURES)
    return graph.linear(seen, FEATURES)


def sine_positions(side: int) -> np.ndarray:
    """Return where each pixel is, as sines and cosines; an export for one size has them as numbers, too.

    Args:
        side: of a square picture, px.

    Returns:
        Half of the features for the row, half for the column; float32, shape (1, side * side, FEATURES).
    """
    half = FEATURES // 2
    wavelength = 10000 ** (2 * (np.arange(half) // 2) / half)
    angles = (np.arange(1, side + 1) / (side + EPSILON) * 2 * math.pi)[:, None] / wavelength
    waves = np.stack([np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])], axis=-1).reshape(side, half)
    rows, columns = np.repeat(waves, side, axis=0), np.tile(waves, (side, 1))
    return np.concatenate([rows, columns], axis=1)[None].astype(np.float32)
