"""Quarter-size features -> one named output each."""

from typing import Any, Final

import keras

from chroma.bins import Q
from training.config import ModelConfig

AB_SCALE: Final = 50.0
"""The regression head computes ab / 50, so that its weights stay near 1; the scaling is a layer, outside is Lab."""

ORIGINAL_AB_SCALE: Final = 128.0
"""The original's head gives ab / 128, in (-1, 1)."""


def build_ab_logits(features: Any) -> Any:
    """Return logits over the ab bins, float32, (batch, H/4, W/4, 313)."""
    return keras.layers.Conv2D(Q, 1, dtype="float32", name="ab_logits")(features)


def build_ab(config: ModelConfig, features: Any) -> Any:
    """Return the regression of ab in Lab units, float32, (batch, H/4, W/4, 2)."""
    if not config.regression_channels:
        unit = keras.layers.Conv2D(2, 1, dtype="float32", activation="tanh", name="ab_unit")(features)
        return keras.layers.Rescaling(ORIGINAL_AB_SCALE, dtype="float32", name="ab")(unit)
    hidden = keras.layers.Conv2D(config.regression_channels, 1, activation="relu", name="ab_hidden")(features)
    unit = keras.layers.Conv2D(2, 1, dtype="float32", name="ab_unit")(hidden)
    return keras.layers.Rescaling(AB_SCALE, dtype="float32", name="ab")(unit)


def build_segmentation(classes: int, features: Any) -> Any:
    """Return logits over the classes of the label maps, float32, (batch, H/4, W/4, classes)."""
    return keras.layers.Conv2D(classes, 1, dtype="float32", name="segmentation_logits")(features)
