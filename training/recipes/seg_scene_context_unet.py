"""The original system with its fourth head, semantic segmentation ("SegClasRegSoft").

    photochrom-train run seg_scene_context_unet --data COCO_STUFF

The recipe `scene_context_unet` plus a segmentation head over the 182 classes of COCO-Stuff's label maps, trained with a
Dice loss alone, weight 1. Photographs without a label map train the other heads; the head is dropped at export. Made
for a GPU and COCO-Stuff (118 k photographs); nobody has run it here.

What differs from the publication, besides what `scene_context_unet` says: their 183rd class is what has no label, ours
are pixels without a label that count for nothing; their Dice is not published exactly (three are in the code), ours is
the mean over the classes that a picture shows.
"""

from dataclasses import replace

from training.recipes import RecipeInfo
from training.recipes.scene_context_unet import RECIPE as SCENE_CONTEXT_UNET

ABOUT = RecipeInfo(
    what="the original with its segmentation head, for COCO-Stuff's label maps", parameters=34_782_386, gflops=83.26
)

RECIPE = replace(
    SCENE_CONTEXT_UNET,
    name="seg_scene_context_unet",
    model=replace(SCENE_CONTEXT_UNET.model, segmentation_classes=182),
    loss=replace(SCENE_CONTEXT_UNET.loss, segmentation_logits=1.0, segmentation_cross_entropy=0.0),
)
