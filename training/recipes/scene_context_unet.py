r"""The original system: a U-Net from scratch with regression, soft encoding and scenes ("ClasRegSoft").

    photochrom-train run scene_context_unet --data PHOTOS
    photochrom-train run scene_context_unet --data PHOTOS \
        --set "model.unet_channels=[16,32,64,128,256]" --set "model.decoder_channels=[128,64]"

The recipe of the group whose two open problems, accuracy that does not converge and red noise, this project cures. It
is here to show both, see docs/red-noise.md. Made for a GPU, 55 epochs of COCO-Stuff; nobody has run all of them here.
The second command is a size for CPUs.

As published: the U-Net of 64 to 1024 channels with one normalization a level; the scene head on its deepest level (1024
features, no dropout), which feeds nothing back; 5 nearest bins with the ball tree's choice among ties; the prior
smoothed along the bins' index, and pixels weighed by it (lambda 1/2, alpha 1) after their heaviest bin; cross-entropy
of clipped probabilities; regression by tanh, mean squared error in units of 128, weight 10; scenes as the 5 likeliest
classes, with label smoothing; RMSprop at a constant 4e-4; no averaged weights; hues turned by up to 40 degrees; colors
picked from one pixel; gray pictures kept; argmax at the end.

What differs, and why:
    heads         a quarter of the input's size, where theirs have all of it: our decoder ends two levels earlier.
    way down      max pooling, as in their figure and the code's default; the code's named variants stride instead.
    hue           every picture is turned by an angle drawn evenly; theirs turn three in ten.
    augmentation  crops are theirs (224 px of 274); their rotations, changes of contrast, sharpening, embossing and
                  CLAHE are left out.
    validation    not augmented; theirs was, which alone makes a metric swing.
    not known     batch size (16 here), strength of the label smoothing (0.1 here), and which of their optimizers and
                  schedules made the published curves.

References:
    Tran and others, prlab_image_colorization, public repository, 2020.
"""

from training.config import DataConfig, LossConfig, ModelConfig, OptimizerConfig, Recipe
from training.recipes import RecipeInfo

ABOUT = RecipeInfo(
    what="the original: U-Net from scratch; regression, rebalanced soft encoding, scenes",
    parameters=34_735_612,
    gflops=82.88,
)

RECIPE = Recipe(
    name="scene_context_unet",
    epochs=55,
    batch_size=16,
    size=224,
    decode="argmax",
    data=DataConfig(
        crop_px=224,
        smallest_crop=0.75,
        crop_probability=1.0,
        contrast=0.0,
        offset=0.0,
        hue_jitter=40.0,
        ab_sampling="nearest",
        mask_gray=False,
        scenes="scene",
        scene_top_k=5,
    ),
    model=ModelConfig(
        encoder="unet",
        decoder="unet",
        scene_fusion=False,
        pretrained=False,
        frozen_stages=0,
        unet_channels=(64, 128, 256, 512, 1024),
        decoder_channels=(512, 256),
        head_channels=0,
        regression_channels=0,
        global_features=1024,
        dropout=0.0,
    ),
    loss=LossConfig(
        neighbors=5,
        ties="ball_tree",
        probabilities=True,
        ab_logits=1.0,
        ab=10.0,
        regression="mse",
        scene_logits=1.0,
        label_smoothing=0.1,
        rebalance=True,
        rebalance_lambda=0.5,
        rebalance_alpha=1.0,
        prior_smoothing="index",
    ),
    optimizer=OptimizerConfig(
        name="rmsprop",
        learning_rate=4e-4,
        encoder_factor=1.0,
        weight_decay=0.0,
        clip_norm=None,
        schedule="constant",
        warmup=0.0,
        ema=0.0,
    ),
)
