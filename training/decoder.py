"""Features -> quarter-size features, with the scene's global context fused in."""

from typing import Any, Final

import keras

from training.config import ModelConfig
from training.encoder import Features
from training.layers import Modulate, Up2, conv_block

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
        config: channels a stride.
        features: encoder features by stride, down to 4.
        context: from `build_global_context`, modulates the second deepest level.

    Returns:
        Keras tensor (batch, H/4, W/4, head_channels).
    """
    strides = sorted(features, reverse=True)
    tensor = conv_block(features[strides[0]], config.decoder_channels[0], 1, name=f"decoder{strides[0]}")
    for depth, (stride, channels) in enumerate(zip(strides[1:], config.decoder_channels[1:], strict=True)):
        tensor = Up2(name=f"decoder{stride}_up")(tensor)
        tensor = keras.layers.Concatenate(name=f"decoder{stride}_join")([tensor, features[stride]])
        tensor = conv_block(tensor, channels, 3, name=f"decoder{stride}")
        if depth == 0:
            tensor = Modulate(name=f"decoder{stride}_film")([tensor, context])
    return conv_block(tensor, config.head_channels, 1, name="decoder_head")
