"""One loss a head. Each takes (y_true, y_pred) and returns one value a picture; targets carry their own weights.

Targets, float32:
    ab_logits, ab         (batch, h, w, 3): a, b in Lab units, and the pixel's weight (0 for gray pictures)
    scene_logits          (batch, S): class probabilities; zeros where the scene is unknown
    segmentation_logits   (batch, h, w, 1): class index, or -1 where there is no label

A picture's value is scaled so that the batch mean is the mean over weighted pixels (or known scenes), not over all.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from chroma import signature
from chroma.bins import load_centers
from chroma.prior import rebalancing_weights, smooth_prior, smooth_prior_1d
from chroma.soft_encoding import SoftEncodingTable, Ties, build_table
from training.config import LossConfig
from training.network.color_ops import TableEncoder
from training.network.heads import AB_SCALE, ORIGINAL_AB_SCALE
from training.network.segmentation import segmentation_loss

PROBABILITY_FLOOR: Final = 1e-7
"""Where the original clips probabilities (Keras' epsilon)."""

Loss = Callable[[Any, Any], Any]


def build_losses(config: LossConfig, prior: np.ndarray) -> dict[str, Loss]:
    """Return the loss of each head by its name.

    Args:
        config: neighbors, sigma, rebalancing.
        prior: the run's raw prior, (Q,); read only when rebalancing.
    """
    encode = TableEncoder(label_table(config))
    return {
        signature.AB_LOGITS: soft_encoding_loss(encode, bin_weights(config, prior), probabilities=config.probabilities),
        signature.AB: regression_loss if config.regression == "smooth_l1" else mean_squared_loss,
        signature.SCENE_LOGITS: scene_loss(config.label_smoothing),
        signature.SEGMENTATION_LOGITS: segmentation_loss(cross_entropy=config.segmentation_cross_entropy),
    }


def label_table(config: LossConfig) -> SoftEncodingTable:
    """Return the soft labels of every integer ab pair; made once for the same options, so not to be changed.

    Args:
        config: neighbors, sigma, ties.
    """
    return _tabulate(config.neighbors, config.sigma, config.ties)


@lru_cache(maxsize=2)  # A run takes one for its loss and its scores; the original's differs.
def _tabulate(neighbors: int, sigma: float, ties: Ties) -> SoftEncodingTable:
    return build_table(load_centers(), k=neighbors, sigma=sigma, ties=ties)


def bin_weights(config: LossConfig, prior: np.ndarray) -> np.ndarray | None:
    """Return what a pixel of each bin counts, mean 1 under the prior, float64, (Q,); None for no rebalancing.

    Args:
        config: whether and how.
        prior: raw, (Q,).
    """
    if not config.rebalance:
        return None
    smoothed = smooth_prior(prior, load_centers()) if config.prior_smoothing == "ab" else smooth_prior_1d(prior)
    return rebalancing_weights(smoothed, lam=config.rebalance_lambda, alpha=config.rebalance_alpha)


def loss_weights(config: LossConfig) -> dict[str, float]:
    """Return the weight of each head's loss in the sum."""
    return {
        signature.AB_LOGITS: config.ab_logits,
        signature.AB: config.ab,
        signature.SCENE_LOGITS: config.scene_logits,
        signature.SEGMENTATION_LOGITS: config.segmentation_logits,
    }


def soft_encoding_loss(encode: TableEncoder, bin_weights: np.ndarray | None, *, probabilities: bool = False) -> Loss:
    """Make the cross-entropy of the soft-encoded ab against logits, computed sparsely.

    loss = -1/n sum_pixels v sum_j w_j log softmax(logits)[q_j], over the k pairs (q_j, w_j) of each pixel: no target
    of 313 values is ever built.

    Args:
        encode: ab -> (index, weight).
        bin_weights: v, one a bin (Q,), looked up by the pixel's heaviest bin; None for no rebalancing.
        probabilities: as the original, take the logarithm of probabilities clipped to [1e-7, 1 - 1e-7]: a bin below
            gets no gradient.

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equations 2 to 4.
    """

    def ab_logits_loss(y_true: Any, y_pred: Any) -> Any:
        index, weight = encode(y_true[..., :2])
        if probabilities:
            p = ops.take_along_axis(ops.softmax(y_pred, axis=-1), index, axis=-1)
            log_p = ops.log(ops.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
        else:
            log_p = ops.take_along_axis(ops.log_softmax(y_pred, axis=-1), index, axis=-1)
        cross_entropy = -ops.sum(weight * log_p, axis=-1)
        if bin_weights is not None:
            # Among equally heavy bins the lowest, as the argmax of a dense target has it, in whatever order they come.
            is_heaviest = weight >= ops.max(weight, axis=-1, keepdims=True)
            heaviest = ops.min(ops.where(is_heaviest, index, len(bin_weights)), axis=-1)
            cross_entropy = cross_entropy * ops.take(ops.convert_to_tensor(bin_weights.astype(np.float32)), heaviest)
        return _weighted_mean(cross_entropy, y_true[..., 2])

    return ab_logits_loss


def regression_loss(y_true: Any, y_pred: Any) -> Any:
    """Smooth L1 (Huber with delta 1, in units of 50) of ab, both channels summed.

    References:
        Girshick, "Fast R-CNN", ICCV 2015, equation 3.
    """
    error = ops.abs(y_pred - y_true[..., :2]) / AB_SCALE
    huber = ops.where(error < 1, 0.5 * ops.square(error), error - 0.5)
    return _weighted_mean(ops.sum(huber, axis=-1), y_true[..., 2])


def mean_squared_loss(y_true: Any, y_pred: Any) -> Any:
    """Half the squared error of ab, in units of 128: 1/(2 h w) sum ||ab - ab_hat||^2, as the original has it."""
    squared = ops.sum(ops.square((y_pred - y_true[..., :2]) / ORIGINAL_AB_SCALE), axis=-1)
    return _weighted_mean(0.5 * squared, y_true[..., 2])


def scene_loss(label_smoothing: float) -> Loss:
    """Make the cross-entropy of the scene against soft labels, over the pictures whose scene is known."""

    def scene_logits_loss(y_true: Any, y_pred: Any) -> Any:
        known = ops.cast(ops.sum(y_true, axis=-1) > 0, "float32")
        log_p = ops.log_softmax(y_pred, axis=-1)
        hit = ops.sum(y_true * log_p, axis=-1)
        mixed = (1 - label_smoothing) * hit + label_smoothing * ops.mean(log_p, axis=-1)
        return -mixed * known * _batch_size(known) / ops.maximum(ops.sum(known), 1.0)

    return scene_logits_loss


def _weighted_mean(value: Any, weight: Any) -> Any:
    """Reduce pixels (batch, h, w) to (batch,), so that the batch mean is the weighted mean over pixels."""
    total = ops.maximum(ops.sum(weight), 1.0)
    return ops.sum(value * weight, axis=(1, 2)) * _batch_size(value) / total


def _batch_size(tensor: Any) -> Any:
    return ops.cast(ops.shape(tensor)[0], "float32")


def compile_model(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, config: LossConfig, prior: np.ndarray
) -> None:
    """Attach the losses of the heads that the model has, and the optimizer; `prior` is the raw one, (Q,).

    XLA only where the backend has nothing else (it is slower on CPU).
    """
    heads, weights = list(model.output), loss_weights(config)
    losses = build_losses(config, prior)
    model.compile(
        optimizer=optimizer,
        loss={head: losses[head] for head in heads},
        loss_weights={head: weights[head] for head in heads},
        jit_compile=keras.backend.backend() == "jax",
    )


def make_loss_trackers(model: keras.Model, lightness: np.ndarray, targets: Mapping[str, np.ndarray]) -> None:
    """Have the means of the losses made: made while TensorFlow traces the first step, they have it traced twice.

    Args:
        model: compiled.
        lightness: of a batch, (N, H, W, 1).
        targets: of the same pictures, by head.
    """
    if keras.backend.backend() == "tensorflow":
        y_pred = model(lightness[:1], training=False)
        model.compute_loss(lightness[:1], {name: target[:1] for name, target in targets.items()}, y_pred)
        model.reset_metrics()
