"""L -> features at several strides.

    unet                the original scene-context U-Net's way down, from scratch
    vgg                 blocks conv1 to conv7 of the ECCV16 network, from scratch
    efficientnet_lite2  with ImageNet weights
    multi_level         EfficientNet-Lite2's features of every level joined to a U-Net's, after the idea of MLEU

Every encoder takes `lightness` (batch, H, W, 1) in [0, 100] and scales it inside the graph; it returns features by
stride: {4: (batch, H/4, W/4, c4), 8: ..., ...}. All its layers are named ``encoder_...``.
"""

from typing import Any, Final

import keras
import numpy as np

from training.config import ModelConfig
from training.network.layers import BatchNormalization, Up2, conv_block, relu_block
from training.network.pretrained import load_efficientnet_lite2

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

PRETRAINED: Final = ("efficientnet_lite2", "multi_level")
"""Encoders that start from published weights."""

VGG_BLOCKS: Final = (
    # channels, convolutions, stride of the last one, dilation
    (64, 2, 2, 1),
    (128, 2, 2, 1),
    (256, 3, 2, 1),
    (512, 3, 1, 1),
    (512, 3, 1, 2),
    (512, 3, 1, 2),
    (512, 3, 1, 1),
)
"""conv1 to conv7 of the ECCV16 network; conv8 enlarges and is the `plain` decoder."""

VGG_BN_EPSILON: Final = 1e-5
"""Caffe's."""


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
        return _unet(centered, config)
    if config.encoder == "vgg":
        return _vgg(centered)
    if config.encoder == "multi_level":
        return _multi_level(centered, config)
    return _efficientnet_lite2(centered, config.frozen_stages)


def load_pretrained(model: keras.Model) -> None:
    """Put the ImageNet weights into a model with one of the `PRETRAINED` encoders.

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
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise",
        trainable=not frozen,
        # In bfloat16 its gradient takes three times as long on a CPU, whatever the backend.
        dtype="float32",
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
    return BatchNormalization(epsilon=BN_EPSILON, name=name, trainable=not frozen)(tensor)


def _unet(tensor: Any, config: ModelConfig) -> Features:
    """The original's contracting path: two 3x3 convolutions a level, 2x2 max pooling between levels.

    Its published figure normalizes once a level, its code after the second ReLU; with the `unet` decoder so do we.
    """
    features: Features = {}
    for level, width in enumerate(config.unet_channels):
        stride = 2**level
        name = f"encoder_level{stride}"
        if level:
            tensor = keras.layers.MaxPooling2D(2, name=f"encoder_pool{stride}")(tensor)
        if config.decoder == "unet":
            tensor = relu_block(tensor, (width, width), name=name)
            tensor = _norm(tensor, name=f"{name}_norm", frozen=False)
        else:
            tensor = conv_block(tensor, width, 3, name=f"{name}_a")
            tensor = conv_block(tensor, width, 3, name=f"{name}_b")
        if stride >= 4:
            features[stride] = tensor
    return features


def _vgg(tensor: Any) -> Features:
    """Blocks conv1 to conv7 of the ECCV16 network: stride 8, conv5 and conv6 dilated, one normalization a block.

    As it was trained: normalization after the block's last ReLU, without scale and shift. Theirs takes L - 50, ours
    divides that by 50; the first convolution makes up for it.

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, table 4 (the network).
    """
    features: Features = {}
    stride = 1
    for block, (channels, convolutions, step, dilation) in enumerate(VGG_BLOCKS, start=1):
        name = f"encoder_conv{block}"
        tensor = relu_block(tensor, (channels,) * convolutions, name=name, dilation=dilation, stride=step)
        tensor = BatchNormalization(epsilon=VGG_BN_EPSILON, center=False, scale=False, name=f"{name}_norm")(tensor)
        stride *= step
        if stride >= 4:
            features[stride] = tensor
    return features


def _multi_level(tensor: Any, config: ModelConfig) -> Features:
    """Join pretrained features of every level to a U-Net's.

    The idea is that of MLEU (Multi-Level Embedding U-Net): a U-Net for colorization that also reads what a network
    trained on ImageNet sees at its low, middle and high levels. The layout is ours, as the paper's text and its code
    were not at hand: EfficientNet-Lite2 gives a feature at strides 4, 8, 16 and 32; a 1x1 convolution embeds each in
    half as many channels as the U-Net has at that stride, and it is concatenated to the U-Net's feature. All four,
    embedded once more and pooled or enlarged to its size, are concatenated to the deepest level.

    References:
        Tran and others, "MLEU: Multi-Level Embedding U-Net for Fully Automatic Image Colorization", ICMLSC 2020.
    """
    pretrained = _efficientnet_lite2(tensor, config.frozen_stages)
    features = _unet(tensor, config)
    deepest = max(features)
    joined: Features = {}
    for stride, feature in features.items():
        parts = [feature]
        if stride == deepest:
            parts += [_embed(found, config, at, stride) for at, found in pretrained.items()]
        else:
            parts.append(conv_block(pretrained[stride], feature.shape[-1] // 2, 1, name=f"encoder_embed{stride}"))
        joined[stride] = keras.layers.Concatenate(name=f"encoder_join{stride}")(parts)
    return joined


def _embed(feature: Any, config: ModelConfig, stride: int, deepest: int) -> Any:
    """Bring a pretrained feature to the deepest level's size, in a quarter of its channels."""
    if stride < deepest:
        feature = keras.layers.AveragePooling2D(deepest // stride, name=f"encoder_embed{stride}_deep_pool")(feature)
    embedded = conv_block(feature, max(config.unet_channels[-1] // 4, 1), 1, name=f"encoder_embed{stride}_deep")
    at = stride
    while at > deepest:
        at //= 2
        embedded = Up2(name=f"encoder_embed{stride}_deep_up{at}")(embedded)
    return embedded
