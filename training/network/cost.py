"""What a network costs: parameters and operations, counted on the network itself."""

import math
from dataclasses import dataclass
from typing import Any, Final

import keras

from training.config import ModelConfig
from training.network.layers import Modulate
from training.network.model import build_model
from training.recipes import COUNTED_SIDE_PX

PER_MULTIPLY_ADD: Final = 2
"""A multiplication and an addition are two operations, as OpenVINO's model pages count them; many papers count one."""


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: number of weights, statistics of batch normalization included; with one scene.
        gflops: floating-point operations for one picture of 256 x 256 px, in billions: convolutions and matrices, which
            are nearly all of them.
    """

    parameters: int
    gflops: float


def network_cost(config: ModelConfig) -> Cost:
    """Build a network without pretrained weights and count."""
    model = build_model(config, scenes=1, pretrained=False, side_px=COUNTED_SIDE_PX)
    return Cost(model.count_params(), count_flops(model) / 1e9)


def count_flops(model: keras.Model) -> int:
    """Count the floating-point operations of one picture.

    Args:
        model: its input has a fixed height and width.

    Returns:
        Operations of all convolutions and matrices, two for a multiplication with its addition.

    Raises:
        ValueError: the input's height or width is unknown.
    """
    if None in model.input.shape[1:]:
        raise ValueError(f"operations need a fixed input size, not {model.input.shape[1:]}")
    return PER_MULTIPLY_ADD * sum(_multiply_adds(layer) for layer in model.layers)


def _multiply_adds(layer: Any) -> int:
    """Each value of a kernel is used once a place: a place of the output, or of the input where the layer enlarges."""
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.kernel.shape) * math.prod(layer.input.shape[1:3])
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        return math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    if isinstance(layer, Modulate):
        return _multiply_adds(layer.scale) + _multiply_adds(layer.shift)
    return 0
