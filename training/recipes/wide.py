"""Our recipe, third part: goes on from `further-average` with twice the photographs, at half the rate.

    photochrom-train run wide --data PHOTOS --from SHIPPED.onnx

The network of `default`. Fewer plates than `further` had, photographs on mounts, so that paper stays gray, a smaller
rate for decoder (4e-4) and encoder (a tenth of it). What made the difference are the photographs:
61,074 instead of 29,532, the new ones of things, animals, snapshots and people.

On 2 CPU cores with bfloat16 units (AMX) beside other work, 104,224 samples in 92 minutes: KL on validation 1.452 nats
(1.470 before, prior alone 1.822), on photographs of other origin 1.554 (1.577). Averaged with its start for the sake of
old plates:

    photochrom-train average runs/wide SHIPPED.onnx --share 0.6 --data PHOTOS --run runs/wide-average
"""

from dataclasses import replace

from training.recipes import RecipeInfo
from training.recipes.further import RECIPE as FURTHER

ABOUT = RecipeInfo(
    what="the third part, which ships: goes on from further's average, twice the photographs (--from FILE.onnx)",
    parameters=8_298_092,
    gflops=10.26,
    speed="12 to 24 images/s (2 CPU cores, busy)",
    scores="KL 1.452; averaged with its start .1 to .2 dB over it at equal colorfulness",
)

RECIPE = replace(
    FURTHER,
    name="wide",
    steps=3300,
    data=replace(FURTHER.data, plates=0.3, plates_rise=1000, mounts=0.06, repeat=(("imagenet_samples", 2),)),
    optimizer=replace(FURTHER.optimizer, learning_rate=4e-4, encoder_factor=0.1),
)
