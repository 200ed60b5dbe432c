"""The multi-head network: lightness in, a dict of named heads out."""

from typing import Final

import keras

from chroma import signature
from training.config import ModelConfig
from training.decoder import build_decoder, build_global_context
from training.encoder import build_encoder, load_pretrained
from training.heads import build_ab, build_ab_logits

HEADS: Final = (signature.AB_LOGITS, signature.AB, signature.SCENE_LOGITS)
"""The trained heads, by the names they have everywhere: losses, metrics, ONNX outputs."""


def build_model(config: ModelConfig, *, scenes: int, pretrained: bool | None = None) -> keras.Model:
    """Build the network.

    Args:
        config: encoder, decoder and their sizes.
        scenes: number of scene classes, >= 1.
        pretrained: overrides ``config.pretrained``; False when trained weights are loaded anyway.

    Returns:
        Model from ``lightness`` (batch, H, W, 1), CIE L in [0, 100], H and W multiples of 32, to
        ``{"ab_logits": (batch, H/4, W/4, 313), "ab": (batch, H/4, W/4, 2) in Lab units,
        "scene_logits": (batch, scenes)}``, all float32.

    Raises:
        RecipeError: the pretrained weights are missing.
    """
    lightness = keras.Input((None, None, 1), name=signature.LIGHTNESS)
    features = build_encoder(config, lightness)
    context, scene_logits = build_global_context(config, features, scenes)
    quarter = build_decoder(config, features, context)
    model = keras.Model(
        lightness,
        {
            signature.AB_LOGITS: build_ab_logits(quarter),
            signature.AB: build_ab(config, quarter),
            signature.SCENE_LOGITS: scene_logits,
        },
        name="photochrom",
    )
    if config.encoder == "efficientnet_lite2" and (config.pretrained if pretrained is None else pretrained):
        load_pretrained(model)
    return model
