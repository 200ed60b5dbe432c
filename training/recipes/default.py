"""Our recipe: every cure of docs/red-noise.md and docs/convergence.md, on a pretrained EfficientNet-Lite2.

    photochrom-train run default --data PHOTOS --minutes 45

Plain cross-entropy on logits, 10 neighbors, clean colors, global context fused into the decoder, AdamW with a cosine
schedule, averaged weights, evaluated often enough to see whether it converges.
"""

from training.config import DataConfig, OptimizerConfig, Recipe
from training.recipes import RecipeInfo

ABOUT = RecipeInfo(what="ours, with all cures: plain cross-entropy, scene fusion, pretrained EfficientNet-Lite2")

RECIPE = Recipe(
    name="default",
    epochs=12,
    batch_size=32,
    size=192,
    evaluate_every=100,
    data=DataConfig(
        smallest_crop=0.5,
        noise=3.0,
        blur_px=1.2,
        # Most evaluation pictures show objects, most training pictures scenes.
        repeat=(("animals", 2), ("imagenet_samples", 2), ("voc", 2)),
    ),
    # An average over about 200 steps: 0.999 would lag behind in a run of an hour.
    optimizer=OptimizerConfig(ema=0.995),
)
