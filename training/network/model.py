"""The multi-head network: lightness in, a dict of named heads out."""

from typing import Final

import keras

from chroma import signature
from training.config import ModelConfig
from training.network.decoder import build_decoder, build_global_context
from training.network.encoder import PRETRAINED, build_encoder, load_pretrained
from training.network.heads import build_ab, build_ab_logits, build_segmentation

HEADS: Final = (signature.AB_LOGITS, signature.AB, signature.SCENE_LOGITS)
"""The heads of every network, by the names they have everywhere: losses, metrics, ONNX outputs. `ModelConfig.heads`
says which a network has in training."""

NAME: Final = "photochrom"


def build_model(
    config: ModelConfig, *, scenes: int, pretrained: bool | None = None, side_px: int | None = None
) -> keras.Model:
    """Build the network.

    Args:
        config: encoder, decoder and their sizes.
        scenes: number of scene classes, >= 1.
        pretrained: overrides ``config.pretrained``; False when trained weights are loaded anyway.
        side_px: a fixed input size, for looking at the shapes of all layers; None for any size.

    Returns:
        Model from ``lightness`` (batch, H, W, 1), CIE L in [0, 100], H and W multiples of 32, to
        ``{"ab_logits": (batch, H/4, W/4, 313), "ab": (batch, H/4, W/4, 2) in Lab units,
        "scene_logits": (batch, scenes)}``, and with segmentation classes ``"segmentation_logits": (batch, H/4, W/4,
        classes)``; all float32.

    Raises:
        RecipeError: the pretrained weights are missing.
    """
    lightness = keras.Input((side_px, side_px, 1), name=signature.LIGHTNESS)
    features = build_encoder(config, lightness)
    context, scene_logits = build_global_context(config, features, scenes)
    quarter = build_decoder(config, features, context)
    heads = {
        signature.AB_LOGITS: build_ab_logits(quarter),
        signature.AB: build_ab(config, quarter),
        signature.SCENE_LOGITS: scene_logits,
    }
    if config.segmentation_classes:
        heads[signature.SEGMENTATION_LOGITS] = build_segmentation(config.segmentation_classes, quarter)
    model = keras.Model(lightness, heads, name=NAME)
    if config.encoder in PRETRAINED and (config.pretrained if pretrained is None else pretrained):
        load_pretrained(model)
    return model


def without_segmentation(model: keras.Model) -> keras.Model:
    """Return the part of a network that is exported; it shares the layers of the whole.

    Args:
        model: from `build_model`.

    Returns:
        The same model where it has no segmentation head.
    """
    if set(model.output) == set(HEADS):
        return model
    return keras.Model(model.input, {name: model.output[name] for name in HEADS}, name=NAME)
