"""Features -> quarter-size features, with the scene's global context fused in where the recipe says so."""

from typing import Any, Final

import keras

from training.config import ModelConfig
from training.network.encoder import Features
from training.network.layers import BatchNormalization, Modulate, Up2, conv_block, relu_block

DROPOUT_SEED: Final = 2016
"""With a seed, dropout's state is a variable and part of the checkpoint on every backend; without one Keras draws from
torch's global generator, and a resumed run is another run."""


def build_global_context(config: ModelConfig, features: Features, scenes: int) -> tuple[Any, Any]:
    """Summarize the whole picture.

    Args:
        config: length of the vector and its dropout.
        features: encoder features by stride; the deepest is pooled.
        scenes: number of scene classes, >= 1.

    Returns:
        (context, scene_logits): what the decoder is modulated with, (batch, global_features [+ scenes]), and the scene
        head's logits (batch, scenes), float32.

    References:
        Iizuka, Simo-Serra, Ishikawa, "Let there be Color!", SIGGRAPH 2016 (global features reach the colors).
    """
    deepest = features[max(features)]
    pooled = keras.layers.GlobalAveragePooling2D(name="context_pool")(deepest)
    vector = keras.layers.Dense(config.global_features, activation="relu", name="context_dense")(pooled)
    vector = keras.layers.Dropout(config.dropout, seed=DROPOUT_SEED, name="context_dropout")(vector)
    scene_logits = keras.layers.Dense(scenes, dtype="float32", name="scene_logits")(vector)
    if scenes == 1:
        return vector, scene_logits
    scene = keras.layers.Softmax(name="context_scene", dtype="float32")(scene_logits)
    return keras.layers.Concatenate(name="context")([vector, scene]), scene_logits


def build_decoder(config: ModelConfig, features: Features, context: Any) -> Any:
    """Bring the deepest features up to a quarter of the input's size, joining the encoder's at every stride.

    Args:
        config: which decoder, its channels, and whether the context reaches it.
        features: encoder features by stride, down to 4.
        context: from `build_global_context`, modulates the second deepest level.

    Returns:
        Keras tensor (batch, H/4, W/4, head_channels; without those, the last of decoder_channels).
    """
    build = {"skips": _skips, "unet": _unet, "plain": _plain}[config.decoder]
    quarter = build(config, features, context if config.scene_fusion else None)
    return conv_block(quarter, config.head_channels, 1, name="decoder_head") if config.head_channels else quarter


def _skips(config: ModelConfig, features: Features, context: Any | None) -> Any:
    """One 3x3 convolution a stride, on the enlarged feature and the encoder's."""
    strides = sorted(features, reverse=True)
    tensor = conv_block(features[strides[0]], config.decoder_channels[0], 1, name=f"decoder{strides[0]}")
    for depth, (stride, channels) in enumerate(zip(strides[1:], config.decoder_channels[1:], strict=True)):
        tensor = Up2(name=f"decoder{stride}_up")(tensor)
        tensor = keras.layers.Concatenate(name=f"decoder{stride}_join")([tensor, features[stride]])
        tensor = conv_block(tensor, channels, 3, name=f"decoder{stride}")
        if depth == 0:
            tensor = _modulate(tensor, context, stride)
    return tensor


def _unet(config: ModelConfig, features: Features, context: Any | None) -> Any:
    """The original's expanding path: enlarge (nearest), convolve, join, convolve twice, normalize; a level a stride."""
    strides = sorted(features, reverse=True)
    tensor = features[strides[0]]
    for depth, (stride, channels) in enumerate(zip(strides[1:], config.decoder_channels, strict=True)):
        name = f"decoder{stride}"
        tensor = Up2(interpolation="nearest", name=f"{name}_up")(tensor)
        tensor = relu_block(tensor, (channels,), name=f"{name}_before")
        tensor = BatchNormalization(name=f"{name}_before_norm")(tensor)
        tensor = keras.layers.Concatenate(name=f"{name}_join")([tensor, features[stride]])
        tensor = relu_block(tensor, (channels, channels), name=name)
        tensor = BatchNormalization(name=f"{name}_norm")(tensor)
        if depth == 0:
            tensor = _modulate(tensor, context, stride)
    return tensor


def _plain(config: ModelConfig, features: Features, context: Any | None) -> Any:
    """Conv8 of the ECCV16 network at every enlargement: transposed 4x4, two 3x3, all ReLU, no normalization, no skips.

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, table 4 (the network).
    """
    stride = max(features)
    tensor = features[stride]
    for depth, channels in enumerate(config.decoder_channels):
        stride //= 2
        name = f"decoder{stride}"
        enlarge = keras.layers.Conv2DTranspose(
            channels, 4, strides=2, padding="same", kernel_initializer="he_normal", name=f"{name}_up"
        )
        tensor = keras.layers.ReLU(name=f"{name}_up_relu")(enlarge(tensor))
        tensor = relu_block(tensor, (channels, channels), name=name)
        if depth == 0:
            tensor = _modulate(tensor, context, stride)
    return tensor


def _modulate(tensor: Any, context: Any | None, stride: int) -> Any:
    return tensor if context is None else Modulate(name=f"decoder{stride}_film")([tensor, context])
