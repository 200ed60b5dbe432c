"""The network of "Colorful Image Colorization" (ECCV 2016), with rebalanced classes.

    photochrom-train run zhang --data PHOTOS

Eight blocks, the fifth and sixth dilated, 32 M parameters, from scratch. Made for a GPU and ImageNet: the paper's
450,000 steps of 40 pictures are 14 passes over 1.28 M photographs; nobody has run it here.

As published: L centered at 50; 10 nearest bins (the code's number; the paper says 5); weights by the heaviest bin with
lambda 1/2, the prior smoothed over ab; pictures without a color beyond 5 masked; one pixel's color for 4 x 4; random
crops of 256 px, mirrored; Adam with 0.9 and 0.99 at 3e-5, a tenth of it after 225,000 steps; decoded by the annealed
mean at T = 0.38.

What differs, and why:
    heads   regression and scenes are there, as everything after training asks for them, with loss weight 0: they stay
            at their random start, so `regression` and `fused` mean nothing with this recipe.
    crop    192 px of 256 or less, where theirs is 176 of 256: the network takes multiples of 32.
    start   He's random weights; theirs is a k-means of patches.
    decay   of weights, 1e-3, decoupled from the gradient; theirs is part of it.
    loss    the weights scale loss and gradient, theirs the gradient alone: the steps are the same.
    prior   counted on the photographs of the run, theirs on ImageNet.

References:
    Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, and its public Caffe code.
"""

from training.config import DataConfig, LossConfig, ModelConfig, OptimizerConfig, Recipe
from training.recipes import RecipeInfo

ABOUT = RecipeInfo(
    what="the ECCV 2016 network of Zhang et al.: classification alone, rebalanced", parameters=32_383_548, gflops=83.68
)

RECIPE = Recipe(
    name="zhang",
    epochs=14,
    batch_size=40,
    size=256,
    decode="annealed",
    data=DataConfig(
        crop_px=192,
        smallest_crop=0.75,
        crop_probability=1.0,
        contrast=0.0,
        offset=0.0,
        ab_sampling="nearest",
        gray_chroma=5.0,
    ),
    model=ModelConfig(
        encoder="vgg",
        decoder="plain",
        scene_fusion=False,
        pretrained=False,
        frozen_stages=0,
        decoder_channels=(256,),
        head_channels=0,
        dropout=0.0,
    ),
    loss=LossConfig(
        neighbors=10,
        ab=0.0,
        scene_logits=0.0,
        rebalance=True,
        rebalance_lambda=0.5,
        rebalance_alpha=1.0,
        prior_smoothing="ab",
    ),
    optimizer=OptimizerConfig(
        learning_rate=3e-5,
        encoder_factor=1.0,
        weight_decay=1e-3,
        beta_1=0.9,
        beta_2=0.99,
        clip_norm=None,
        schedule="step",
        step_factor=0.1,
        step_epochs=7.0,
        warmup=0.0,
        ema=0.0,
    ),
)
