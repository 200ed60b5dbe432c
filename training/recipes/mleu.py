"""Multi-level embedding: what an ImageNet network sees at every level, joined to the original U-Net (after MLEU).

    photochrom-train run mleu --data PHOTOS

MLEU is the same group's earlier system. Theirs is the idea: a U-Net for colorization that also reads what a network
trained on ImageNet sees at several levels. Ours, as the paper's text and its code were not at hand, is the rest: the
network (EfficientNet-Lite2, whose weights ship in a package), that it stays frozen, 1x1 convolutions as the embedding,
and where it joins the U-Net (one level at each skip, all four at the deepest level); see `training.network.encoder`.
Heads, losses, data and optimizer are `scene_context_unet`'s, so that the two differ in the pretrained features alone.
Made for a GPU; nobody has run it here.
"""

from dataclasses import replace

from training.recipes import RecipeInfo
from training.recipes.scene_context_unet import RECIPE as SCENE_CONTEXT_UNET

ABOUT = RecipeInfo(
    what="the original U-Net that also reads frozen ImageNet features of every level (MLEU)",
    parameters=46_550_508,
    gflops=98.89,
)

RECIPE = replace(
    SCENE_CONTEXT_UNET,
    name="mleu",
    model=replace(SCENE_CONTEXT_UNET.model, encoder="multi_level", pretrained=True, frozen_stages=7),
)
