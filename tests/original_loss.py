"""The color loss of the original system as its report has it: dense labels, probabilities, weights by argmax.

A label of 313 values a pixel is built from scikit-learn's ball tree (5 neighbors, a Gaussian of width 5); the loss is
Keras' categorical cross-entropy of probabilities, each pixel weighed by the prior factor of its label's largest entry.
For tests and benchmarks, which compare our sparse loss with it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

NEIGHBORS = 5
SIGMA = 5.0


def load_finder(centers: np.ndarray) -> NearestNeighbors:
    """Return the finder of the nearest bins; centers (Q, 2)."""
    return NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="ball_tree").fit(centers.astype(np.int64))


def dense_labels(ab: np.ndarray, finder: NearestNeighbors, bins: int) -> np.ndarray:
    """Return the labels of integer ab (..., 2) as the original makes them: float64, (..., bins)."""
    flat = ab.astype(np.int32).reshape(-1, 2)
    distance, index = finder.kneighbors(flat)
    weights = np.exp(-(distance**2) / (2 * SIGMA**2))
    weights = weights / np.sum(weights, axis=1)[:, np.newaxis]
    labels = np.zeros((len(flat), bins))
    labels[np.arange(len(flat))[:, np.newaxis], index] = weights
    return labels.reshape(*ab.shape[:-1], bins)


def dense_loss(prior_factor: np.ndarray | None) -> Callable[[Any, Any], Any]:
    """Make the loss of labels (N, h, w, Q) and probabilities (N, h, w, Q): one number.

    Args:
        prior_factor: what a pixel of each bin counts, (Q,); None for equal weights.
    """
    from keras import ops

    def loss(y_true: Any, y_pred: Any) -> Any:
        bins = y_true.shape[-1]
        factor = np.ones(bins) if prior_factor is None else prior_factor
        y_true = ops.reshape(ops.cast(y_true, "float32"), (-1, bins))
        y_pred = ops.reshape(y_pred, (-1, bins))
        weights = ops.take(ops.convert_to_tensor(factor.astype(np.float32)), ops.argmax(y_true, axis=1))
        y_true = y_true * ops.reshape(weights, (-1, 1))
        return ops.mean(ops.categorical_crossentropy(y_true, y_pred))

    return loss


def value_and_gradient(function: Callable[[Any], Any], at: np.ndarray) -> tuple[float, np.ndarray]:
    """Return a scalar function's value and gradient at a float32 array, under whatever backend Keras runs on."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        value, gradient = jax.value_and_grad(function)(at)
        return float(value), np.asarray(gradient)
    if backend == "torch":
        variable = keras.ops.convert_to_tensor(at).requires_grad_()
        value = function(variable)
        value.backward()
        return float(value.detach()), np.array(variable.grad)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        variable = tf.convert_to_tensor(at)
        tape.watch(variable)
        value = function(variable)
    return float(value), np.asarray(tape.gradient(value, variable))
