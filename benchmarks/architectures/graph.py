"""Layers to an ONNX graph with random weights, and how many multiplications a graph has.

`Graph` writes down layers as PyTorch names and defaults them; a `Tensor` knows its channels, so that a layer says only
what comes out. Pictures are (1, channels, height, width).
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
POOL: Final = 1 << 20
"""Random numbers that all weights repeat; a network does not get cheaper by that."""
EPSILON: Final = 1e-5
"""Of batch and layer norm, PyTorch's default."""


@dataclass(frozen=True)
class Tensor:
    """What a layer gives.

    Attributes:
        name: in the graph.
        channels: of a picture, or features of a sequence.
    """

    name: str
    channels: int


class Graph:
    """A network in the making.

    Attributes:
        parameters: weights that training would have learned, so far.
    """

    def __init__(self, channels: int, size_px: int) -> None:
        """Start with an input called `input`: one square picture."""
        self.parameters = 0
        self.input = Tensor("input", channels)
        self._input = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, channels, size_px, size_px])
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[tuple[str, tuple[int, ...], float, float]] = []
        self._constants: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: Tensor | str, channels: int | None = None, **attributes: Any) -> Tensor:
        """Add an operator of ONNX.

        Args:
            kind: its name.
            inputs: what it takes; names of constants and weights, too.
            channels: of its output; default those of the first input.
            attributes: of the operator.

        Returns:
            Its output.
        """
        name = f"{kind}_{len(self._nodes)}"
        names = [each if isinstance(each, str) else each.name for each in inputs]
        self._nodes.append(helper.make_node(kind, names, [name], **attributes))
        if channels is None:
            first = inputs[0]
            channels = first.channels if isinstance(first, Tensor) else 0
        return Tensor(name, channels)

    def weight(self, *shape: int, deviation: float, mean: float = 0.0) -> str:
        """Add random weights that count as parameters, and return their name.

        Args:
            shape: of them.
            deviation: their standard deviation.
            mean: of them.

        Returns:
            A name for `op`.
        """
        name = f"weight_{len(self._weights)}"
        self._weights.append((name, shape, deviation, mean))
        self.parameters += math.prod(shape)
        return name

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Add numbers that no training learns, and return their name.

        Args:
            values: of it, any shape.
            dtype: of it.

        Returns:
            A name for `op`.
        """
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def conv(
        self,
        x: Tensor,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> Tensor:
        """Add a convolution.

        Args:
            x: what it takes.
            channels: that it gives.
            kernel: side of it.
            stride: of it.
            padding: on each side; default keeps the size at stride 1.
            dilation: of it.
            groups: of channels.
            bias: added.

        Returns:
            Its output.
        """
        fan_in = x.channels // groups * kernel * kernel
        pad = dilation * (kernel - 1) // 2 if padding is None else padding
        weights = [self.weight(channels, x.channels // groups, kernel, kernel, deviation=(2 / fan_in) ** 0.5)]
        weights += [self.weight(channels, deviation=0.01)] if bias else []
        return self.op(
            "Conv",
            x,
            *weights,
            channels=channels,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            dilations=[dilation, dilation],
            group=groups,
        )

    def up_conv(self, x: Tensor, channels: int) -> Tensor:
        """Add a transposed convolution, 4 x 4, stride 2, that doubles the sides."""
        weight = self.weight(x.channels, channels, 4, 4, deviation=(2 / (4 * x.channels)) ** 0.5)
        bias = self.weight(channels, deviation=0.01)
        shape: dict[str, Any] = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1] * 4}
        return self.op("ConvTranspose", x, weight, bias, channels=channels, **shape)

    def linear(self, x: Tensor, features: int) -> Tensor:
        """Add a product with a matrix over the last axis, and a bias."""
        product = self.op("MatMul", x, self.weight(x.channels, features, deviation=x.channels**-0.5), channels=features)
        return self.op("Add", product, self.weight(features, deviation=0.01))

    def relu(self, x: Tensor) -> Tensor:
        """Add a ReLU."""
        return self.op("Relu", x)

    def batch_norm(self, x: Tensor) -> Tensor:
        """Add a batch norm as it is in inference."""
        scale, shift = self.weight(x.channels, deviation=0.1, mean=1.0), self.weight(x.channels, deviation=0.01)
        mean, variance = self.constant(np.full(x.channels, 0.1)), self.constant(np.full(x.channels, 1.1))
        return self.op("BatchNormalization", x, scale, shift, mean, variance, epsilon=EPSILON)

    def layer_norm(self, x: Tensor, epsilon: float = EPSILON) -> Tensor:
        """Add a layer norm over the last axis."""
        scale, shift = self.weight(x.channels, deviation=0.1, mean=1.0), self.weight(x.channels, deviation=0.01)
        return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)

    def concat(self, *tensors: Tensor) -> Tensor:
        """Add pictures together, channel after channel."""
        return self.op("Concat", *tensors, channels=sum(each.channels for each in tensors), axis=1)

    def pixel_shuffle(self, x: Tensor, factor: int) -> Tensor:
        """Turn channels to pixels, then blur with 2 x 2 over an edge that repeats, as ICNR shuffles do."""
        shuffled = self.op("DepthToSpace", x, channels=x.channels // factor**2, blocksize=factor, mode="CRD")
        padded = self.op("Pad", shuffled, self.constant([0, 0, 1, 1, 0, 0, 0, 0], np.int64), mode="edge")
        return self.op("AveragePool", padded, kernel_shape=[2, 2], strides=[1, 1])

    def reshape(self, x: Tensor, *shape: int, channels: int | None = None) -> Tensor:
        """Give a tensor another shape; 0 keeps a side, -1 takes what is left."""
        return self.op("Reshape", x, self.constant(shape, np.int64), channels=channels)

    def to_onnx(self, output: Tensor, *, weights: bool = True) -> onnx.ModelProto:
        """Write the network.

        Args:
            output: its only one.
            weights: really write them; without, the model is small and good for counting.

        Returns:
            An ONNX model with the outputs called `output`.
        """
        pool = np.random.default_rng(0).standard_normal(POOL, np.float32) if weights else np.empty(0, np.float32)
        initializers = list(self._constants)
        for name, shape, deviation, mean in self._weights:
            if weights:
                values = np.resize(pool, shape) * np.float32(deviation) + np.float32(mean)
                initializers.append(numpy_helper.from_array(values, name))
            else:
                initializers.append(TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape))
        nodes = [*self._nodes, helper.make_node("Identity", [output.name], ["output"])]
        result = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "network", [self._input], [result], initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def count_gflops(model: onnx.ModelProto, sides: dict[str, list[int]] | None = None) -> float:
    """Count what the convolutions and matrix products of a model cost.

    Args:
        model: an ONNX model; its weights may be without values.
        sides: shapes of inputs whose shapes the model leaves open, by name.

    Returns:
        Billions of multiplications and additions, each counted.

    Raises:
        ValueError: the shape of something cannot be told.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for each in fixed.graph.input:
        for dimension, side in zip(each.type.tensor_type.shape.dim, (sides or {}).get(each.name, []), strict=False):
            dimension.dim_value = side
    for each in fixed.graph.output:
        each.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {
        each.name: [dimension.dim_value for dimension in each.type.tensor_type.shape.dim]
        for each in [*graph.value_info, *graph.input, *graph.output]
    }
    shapes |= {each.name: list(each.dims) for each in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul"):
            continue
        data, weight, output = (shapes.get(name, []) for name in (node.input[0], node.input[1], node.output[0]))
        if node.op_type == "Conv":
            products = math.prod(output) * math.prod(weight[1:])
        elif node.op_type == "ConvTranspose":
            products = math.prod(data) * math.prod(weight[1:])
        else:
            products = math.prod(output) * (data or [0])[-1]
        if not products or not output:
            raise ValueError(f"the shape of {node.name or node.output[0]} ({node.op_type}) cannot be told")
        total += 2 * products
    return total / 1e9
