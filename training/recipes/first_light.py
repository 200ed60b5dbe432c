"""The first model: pretrained EfficientNet-Lite2, plain cross-entropy, prior correction left to the decoder."""

from training.config import DataConfig, Recipe

RECIPE = Recipe(
    name="first_light",
    epochs=12,
    batch_size=32,
    size=192,
    data=DataConfig(
        smallest_crop=0.5,
        noise=3.0,
        blur_px=1.2,
        # Most evaluation pictures show objects, most training pictures scenes.
        repeat=(("animals", 2), ("imagenet_samples", 2), ("voc", 2)),
    ),
)
