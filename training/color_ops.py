"""The Keras twin of `chroma`: the same formulas on tensors, with every number taken from there.

Works on any backend and inside an exported graph. A test ties each function to its NumPy truth.
"""

from typing import Any, Final

import numpy as np
from keras import ops

from chroma import decoding
from chroma.soft_encoding import AB_CODES, AB_LOW, SoftEncodingTable

_TINY: Final = 1e-6


class TableEncoder:
    """Soft encoding by look-up, on tensors; twin of `chroma.soft_encoding.SoftEncodingTable.encode`."""

    def __init__(self, table: SoftEncodingTable) -> None:
        self._index = table.index.astype(np.int32)
        self._weight = table.weight.astype(np.float32)

    def __call__(self, ab: Any) -> tuple[Any, Any]:
        """Encode ab (..., 2), Lab units; return bins, int32 (..., k), and weights, float32 (..., k)."""
        code = ops.cast(ops.clip(ops.round(ab), AB_LOW, AB_LOW + AB_CODES - 1), "int32") - AB_LOW
        row = code[..., 0] * AB_CODES + code[..., 1]
        return ops.take(ops.convert_to_tensor(self._index), row, axis=0), ops.take(
            ops.convert_to_tensor(self._weight), row, axis=0
        )


def annealed_mean(logits: Any, centers: np.ndarray, temperature: Any) -> Any:
    """Return the mean of softmax(logits / T) over the centers; twin of `chroma.decoding.annealed_mean`.

    Args:
        logits: (N, h, w, Q).
        centers: Lab units, (Q, 2).
        temperature: one a picture, (N,).

    Returns:
        ab in Lab units, (N, h, w, 2).
    """
    sharpness = 1.0 / ops.maximum(_per_picture(temperature), decoding.MIN_TEMPERATURE)
    return ops.matmul(ops.softmax(logits * sharpness, axis=-1), centers.astype(np.float32))


def decode(
    logits: Any, centers: np.ndarray, log_weights: np.ndarray, *, temperature: Any, tau: Any, cap: Any, gain: Any
) -> Any:
    """Decode a posterior; twin of `chroma.decoding.decode`.

    Args:
        logits: (N, h, w, Q).
        centers: bin centers in Lab units, (Q, 2).
        log_weights: log of the rebalancing weights, (Q,).
        temperature: (N,).
        tau: (N,).
        cap: (N,).
        gain: (N,).

    Returns:
        ab in Lab units, (N, h, w, 2).
    """
    log_w = log_weights.astype(np.float32)
    highest = float(log_w.min()) + ops.log(ops.maximum(_per_picture(cap), 1.0))
    corrected = logits + _per_picture(tau) * ops.minimum(log_w, highest)
    ab = annealed_mean(corrected, centers, temperature) * _per_picture(gain)
    is_red = decoding.red_bins(centers).astype(np.float32)[:, None]
    return red_guard(ab, ops.matmul(ops.softmax(logits, axis=-1), is_red))


def red_guard(ab: Any, red_mass: Any) -> Any:
    """Compress unbacked reds; ab (N, h, w, 2), red_mass (N, h, w, 1); twin of `chroma.decoding.red_guard`."""
    middle = np.radians(decoding.RED_CENTER_DEGREES)
    direction = np.array([[np.cos(middle)], [np.sin(middle)]], dtype=np.float32)
    toward_red = ops.matmul(ab, direction)
    chroma = ops.sqrt(ops.sum(ops.square(ab), axis=-1, keepdims=True))
    divisor = ops.maximum(chroma, _TINY)
    full, none = (float(np.cos(np.radians(d))) for d in (decoding.RED_FULL_DEGREES, decoding.RED_NONE_DEGREES))
    redness = ops.clip((toward_red / divisor - none) / (full - none), 0.0, 1.0)
    unbacked, backed = decoding.GUARD_NONE_MASS, decoding.GUARD_FULL_MASS
    doubt = ops.clip((backed - red_mass) / (backed - unbacked), 0.0, 1.0)
    excess = ops.maximum(chroma - decoding.GUARD_CHROMA, 0.0)
    factor = 1 - excess / divisor * redness * doubt
    return ab * factor


def posterior_spread(logits: Any, centers: np.ndarray) -> Any:
    """Return the posterior's RMS distance from its mean, (N, h, w, 1); twin of `chroma.decoding.posterior_spread`."""
    posterior = ops.softmax(logits, axis=-1)
    mean = ops.matmul(posterior, centers.astype(np.float32))
    squares = np.square(centers).sum(axis=1, keepdims=True).astype(np.float32)
    variance = ops.matmul(posterior, squares) - ops.sum(ops.square(mean), axis=-1, keepdims=True)
    return ops.sqrt(ops.maximum(variance, 0.0))


def _per_picture(value: Any) -> Any:
    """Shape a knob (N,) to broadcast over (N, h, w, channels)."""
    return ops.reshape(value, (-1, 1, 1, 1))
