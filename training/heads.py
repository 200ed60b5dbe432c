"""Quarter-size features -> one named output each."""

from typing import Any, Final

import keras

from chroma.bins import Q
from training.config import ModelConfig

AB_SCALE: Final = 50.0
"""The regression head computes ab / 50, so that its weights stay near 1; the scaling is a layer, outside is Lab."""


def build_ab_logits(features: Any) -> Any:
    """Return logits over the ab bins, float32, (batch, H/4, W/4, 313)."""
    return keras.layers.Conv2D(Q, 1, dtype="float32", name="ab_logits")(features)


def build_ab(config: ModelConfig, features: Any) -> Any:
    """Return the regression of ab in Lab units, float32, (batch, H/4, W/4, 2)."""
    hidden = keras.layers.Conv2D(config.regression_channels, 1, activation="relu", name="ab_hidden")(features)
    unit = keras.layers.Conv2D(2, 1, dtype="float32", name="ab_unit")(hidden)
    return keras.layers.Rescaling(AB_SCALE, dtype="float32", name="ab")(unit)
