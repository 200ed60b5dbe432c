"""The first model: pretrained EfficientNet-Lite2, plain cross-entropy, prior correction left to the decoder.

    photochrom-train run first_light --data PHOTOS --minutes 92

On 2 CPU cores (AVX-512), 26,124 photographs of 128 to 176 px: about 27 images/s when nothing else runs. 92 minutes on
shared cores took 2,717 steps (87 k images) and gave a validation KL of 1.453 nats (prior alone 1.879), top-1 .335
(majority .306), within 20 .829 (gray .723), scene .634. On 104 evaluation photographs: calm 22.9 dB at CFr .48, default
22.4 dB at CFr .62 and 0.14 % false red, vivid 22.0 dB at CFr .72 and 0.38 %; gray 21.2 dB. docs/experiments.md has the
whole row.
"""

from training.config import DataConfig, Recipe
from training.recipes import RecipeInfo

ABOUT = RecipeInfo(
    what="the first model that shipped; like default, with slower averages",
    parameters=6_640_876,
    gflops=7.21,
    speed="27 images/s (2 CPU cores)",
    scores="after 87 k images: KL 1.453 nats (prior alone 1.879), 22.4 dB (gray 21.2), false red 0.14 %",
)

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
