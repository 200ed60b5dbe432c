"""The loss of the segmentation head, over pixels that have a label; its scores: `training.run.segmentation_scores`.

Target (batch, h, w, 1), float32: class index, or -1 where there is no label. COCO-Stuff labels things and stuff of 182
classes; most photographs elsewhere have no label map at all, so a batch may hold no label and must then teach nothing.
"""

from collections.abc import Callable
from typing import Any

from keras import ops


def segmentation_loss(*, dice: float = 1.0, cross_entropy: float = 1.0) -> Callable[[Any, Any], Any]:
    """Make the segmentation loss: soft Dice plus cross-entropy of the logits.

    Dice of a picture: 1 - mean over the classes c it shows of 2 sum p_c t_c / (sum p_c + sum t_c), sums over its
    labeled pixels. A class it does not show costs nothing by itself; its probability is missing elsewhere.

    Like the losses of `training.network.losses` it gives one value a picture, scaled so that the batch mean is the mean
    over labeled pixels (cross-entropy) and over pictures with labels (Dice). Without any label, values and gradients
    are 0.

    Args:
        dice: weight of the Dice part, >= 0.
        cross_entropy: weight of the cross-entropy, >= 0.

    Returns:
        A function of target (batch, h, w, 1) and logits (batch, h, w, classes) that gives (batch,), float32.

    References:
        Milletari, Navab, Ahmadi, "V-Net", 3DV 2016 (soft Dice), here without squares in the denominator.
    """

    def segmentation_logits_loss(y_true: Any, y_pred: Any) -> Any:
        classes = y_pred.shape[-1]
        label = ops.cast(y_true[..., 0], "int32")
        known = ops.logical_and(label >= 0, label < classes)
        label = ops.where(known, label, 0)
        weight = ops.cast(known, "float32")
        total = cross_entropy * _cross_entropy(y_pred, label, weight)
        return total + dice * _soft_dice(ops.softmax(y_pred, axis=-1), ops.one_hot(label, classes), weight)

    return segmentation_logits_loss


def _cross_entropy(logits: Any, label: Any, weight: Any) -> Any:
    log_p = ops.log_softmax(logits, axis=-1)
    hit = ops.take_along_axis(log_p, label[..., None], axis=-1)[..., 0]
    share = _batch_size(weight) / ops.maximum(ops.sum(weight), 1.0)
    return -ops.sum(hit * weight, axis=(1, 2)) * share


def _soft_dice(p: Any, truth: Any, weight: Any) -> Any:
    p, truth = p * weight[..., None], truth * weight[..., None]
    overlap = 2 * ops.sum(p * truth, axis=(1, 2))
    area = ops.sum(truth, axis=(1, 2))
    # A class that is shown covers a pixel or more, so where the quotient counts its denominator is at least 1.
    quotient = overlap / ops.maximum(ops.sum(p, axis=(1, 2)) + area, 1.0)
    shown = ops.cast(area > 0, "float32")
    lost = ops.sum((1 - quotient) * shown, axis=-1) / ops.maximum(ops.sum(shown, axis=-1), 1.0)
    labeled = ops.cast(ops.max(weight, axis=(1, 2)) > 0, "float32")
    return lost * labeled * _batch_size(labeled) / ops.maximum(ops.sum(labeled), 1.0)


def _batch_size(tensor: Any) -> Any:
    return ops.cast(ops.shape(tensor)[0], "float32")
