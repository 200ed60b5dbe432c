"""Our recipe, second part: goes on from `default`'s weights on people and things, and on what old plates saw.

    photochrom-train run further --data PHOTOS --from DEFAULT.onnx
    photochrom-train average runs/further DEFAULT.onnx --share 0.3 --data PHOTOS --run runs/further-average

The network of `default`; half of the samples come to show L as a blue-sensitive, orthochromatic or panchromatic plate
of the nineteenth century would (`training.data.plates`), by a share that rises. The rate begins at half of
`default`'s, the encoder's at a third.

On 2 CPU cores with bfloat16 units (AMX) beside other work, 29,532 photographs of which half show people, 77,280 samples
in 92 minutes: KL on validation 1.469 nats (1.470 before, prior alone 1.822), but on photographs of other origin 1.600
(1.577 before). Three tenths of these weights with seven of the former ones are better than either: against the former
weights, at equal colorfulness, .1 to .2 dB on old plates and on validation, and within .1 dB on photographs of other
origin. docs/experiments.md has the figures.
"""

from dataclasses import replace

from training.recipes import RecipeInfo
from training.recipes.default import RECIPE as DEFAULT

ABOUT = RecipeInfo(
    what="the second part of the model that ships: goes on from default, with old plates (--from FILE.onnx)",
    parameters=8_298_092,
    gflops=10.26,
    speed="5 to 18 images/s (2 CPU cores, busy)",
    scores="with default averaged: old plates +.1 to .2 dB, other origin within .1 dB of default",
)

RECIPE = replace(
    DEFAULT,
    name="further",
    steps=2415,
    evaluate_every=400,
    data=replace(DEFAULT.data, plates=0.5, plates_rise=2500),
    optimizer=replace(DEFAULT.optimizer, learning_rate=7e-4, encoder_factor=0.15, warmup=0.05, cosine_share=0.75),
)
