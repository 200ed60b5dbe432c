"""A few steps of a small U-Net from scratch: for tests and for trying the machinery, not for pictures.

    photochrom-train run tiny --data DIR --run runs/tiny

Seconds on any machine; deterministic, so that a resumed run equals an uninterrupted one bit for bit.
"""

from training.config import DataConfig, ModelConfig, OptimizerConfig, Recipe
from training.recipes import RecipeInfo

ABOUT = RecipeInfo(
    what="a few steps of a small U-Net: for tests and for trying the machinery, not for pictures",
    parameters=34_824,
    gflops=0.16,
)

RECIPE = Recipe(
    name="tiny",
    epochs=2,
    batch_size=4,
    deterministic=True,
    size=64,
    data=DataConfig(crop_px=64, validation_pictures=8),
    model=ModelConfig(
        encoder="unet",
        pretrained=False,
        frozen_stages=0,
        unet_channels=(4, 8, 8, 16, 16, 16),
        decoder_channels=(16, 16, 16, 16),
        head_channels=16,
        regression_channels=8,
        global_features=8,
    ),
    optimizer=OptimizerConfig(learning_rate=3e-3, ema=0.9),
)
