"""L -> features at several strides.

Every encoder takes `lightness` (batch, H, W, 1) in [0, 100] and scales it inside the graph; it returns features by
stride: {4: (batch, H/4, W/4, c4), 8: ..., ...}. All its layers are named ``encoder_...``.
"""

from typing import Any, Final

import keras
import numpy as np

from training.config import ModelConfig
from training.layers import conv_block
from training.pretrained import load_efficientnet_lite2

Features = dict[int, Any]

BN_EPSILON: Final = 1e-3
"""Of EfficientNet-Lite's batch normalization."""
STEM_CHANNELS: Final = 32
LITE2_STAGES: Final = (
    # expansion, kernel, stride, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 3),
    (6, 5, 2, 48, 3),
    (6, 3, 2, 88, 4),
    (6, 5, 1, 120, 4),
    (6, 5, 2, 208, 5),
    (6, 3, 1, 352, 1),
)
"""EfficientNet-Lite2: EfficientNet-B0's stages at width 1.1 and depth 1.2, first and last stage not deepened."""
LITE2_LEVELS: Final = {1: 4, 2: 8, 4: 16, 6: 32}
"""Stage -> stride, for the last stage of each stride the decoder reads."""


def build_encoder(config: ModelConfig, lightness: Any) -> Features:
    """Build the encoder that the recipe names.

    Args:
        config: which encoder, and its options.
        lightness: Keras tensor (batch, H, W, 1), CIE L in [0, 100].

    Returns:
        Keras tensors by stride, from 4 up to the deepest.
    """
    centered = keras.layers.Rescaling(1 / 50, offset=-1.0, name="encoder_scale")(lightness)
    if config.encoder == "unet":
        return _unet(centered, config.unet_channels)
    return _efficientnet_lite2(centered, config.frozen_stages)


def load_pretrained(model: keras.Model) -> None:
    """Put the ImageNet weights into a model with the `efficientnet_lite2` encoder.

    The published stem reads three equal channels of a gray picture; their kernels are summed to read one.

    Raises:
        RecipeError: the weights' package is missing or another version.
    """
    source = load_efficientnet_lite2()
    stem = source["_conv_stem.weight"].sum(axis=1, keepdims=True)
    model.get_layer("encoder_stem_conv").set_weights([stem.transpose(2, 3, 1, 0)])
    _set_norm(model, "encoder_stem_norm", source, "_bn0")
    index = 0
    for stage, (expansion, _, _, _, blocks) in enumerate(LITE2_STAGES):
        for block in range(blocks):
            name, prefix = f"encoder_stage{stage}_block{block}", f"_blocks.{index}"
            if expansion > 1:
                _set_conv(model, f"{name}_expand", source[f"{prefix}._expand_conv.weight"])
                _set_norm(model, f"{name}_expand_norm", source, f"{prefix}._bn0")
            depthwise = source[f"{prefix}._depthwise_conv.weight"]
            model.get_layer(f"{name}_depthwise").set_weights([depthwise.transpose(2, 3, 0, 1)])
            _set_norm(model, f"{name}_depthwise_norm", source, f"{prefix}._bn1")
            _set_conv(model, f"{name}_project", source[f"{prefix}._project_conv.weight"])
            _set_norm(model, f"{name}_project_norm", source, f"{prefix}._bn2")
            index += 1


def _set_conv(model: keras.Model, name: str, kernel: np.ndarray) -> None:
    model.get_layer(name).set_weights([kernel.transpose(2, 3, 1, 0)])


def _set_norm(model: keras.Model, name: str, source: dict[str, np.ndarray], prefix: str) -> None:
    parts = ("weight", "bias", "running_mean", "running_var")
    model.get_layer(name).set_weights([source[f"{prefix}.{part}"] for part in parts])


def _efficientnet_lite2(tensor: Any, frozen_stages: int) -> Features:
    """EfficientNet-Lite2 without its classifier (no squeeze-excite, ReLU6, first and last stage not deepened)."""
    frozen = frozen_stages > 0
    tensor = _conv(tensor, STEM_CHANNELS, 3, 2, name="encoder_stem_conv", frozen=frozen)
    tensor = _norm(tensor, name="encoder_stem_norm", frozen=frozen)
    tensor = keras.layers.ReLU(6.0, name="encoder_stem_relu")(tensor)
    features: Features = {}
    for stage, (expansion, kernel, stride, channels, blocks) in enumerate(LITE2_STAGES):
        for block in range(blocks):
            tensor = _inverted_residual(
                tensor,
                expansion=expansion,
                kernel=kernel,
                stride=stride if block == 0 else 1,
                channels=channels,
                name=f"encoder_stage{stage}_block{block}",
                frozen=stage < frozen_stages,
            )
        if stage in LITE2_LEVELS:
            features[LITE2_LEVELS[stage]] = tensor
    return features


def _inverted_residual(
    tensor: Any, *, expansion: int, kernel: int, stride: int, channels: int, name: str, frozen: bool
) -> Any:
    inputs, width = tensor, tensor.shape[-1]
    if expansion > 1:
        tensor = _conv(tensor, width * expansion, 1, 1, name=f"{name}_expand", frozen=frozen)
        tensor = _norm(tensor, name=f"{name}_expand_norm", frozen=frozen)
        tensor = keras.layers.ReLU(6.0, name=f"{name}_expand_relu")(tensor)
    depthwise = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise", trainable=not frozen
    )
    tensor = _norm(depthwise(tensor), name=f"{name}_depthwise_norm", frozen=frozen)
    tensor = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(tensor)
    tensor = _conv(tensor, channels, 1, 1, name=f"{name}_project", frozen=frozen)
    tensor = _norm(tensor, name=f"{name}_project_norm", frozen=frozen)
    if stride == 1 and width == channels:
        return keras.layers.Add(name=f"{name}_add")([inputs, tensor])
    return tensor


def _conv(tensor: Any, channels: int, kernel: int, stride: int, *, name: str, frozen: bool) -> Any:
    layer = keras.layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=False, name=name, trainable=not frozen
    )
    return layer(tensor)


def _norm(tensor: Any, *, name: str, frozen: bool) -> Any:
    # A frozen batch normalization also keeps its published statistics (Keras runs it in inference mode).
    return keras.layers.BatchNormalization(epsilon=BN_EPSILON, name=name, trainable=not frozen)(tensor)


def _unet(tensor: Any, channels: tuple[int, ...]) -> Features:
    """The original's contracting path: two 3x3 convolutions a level, 2x2 max pooling between levels."""
    features: Features = {}
    for level, width in enumerate(channels):
        stride = 2**level
        if level:
            tensor = keras.layers.MaxPooling2D(2, name=f"encoder_pool{stride}")(tensor)
        tensor = conv_block(tensor, width, 3, name=f"encoder_level{stride}_a")
        tensor = conv_block(tensor, width, 3, name=f"encoder_level{stride}_b")
        if stride >= 4:
            features[stride] = tensor
    return features
