"""The Keras twin of `chroma`: the same formulas on tensors, with every number taken from there.

Works on any backend and inside an exported graph. A test ties each function to its NumPy truth.
"""

from typing import Any, Final

import numpy as np
from keras import ops

from chroma import decoding, zones
from chroma.signature import HEAD_STRIDE
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
    logits: Any,
    centers: np.ndarray,
    log_weights: np.ndarray,
    *,
    lightness: Any,
    temperature: Any,
    tau: Any,
    cap: Any,
    gain: Any,
) -> Any:
    """Decode a posterior; twin of `chroma.decoding.decode`.

    Args:
        logits: (N, h, w, Q).
        centers: bin centers in Lab units, (Q, 2).
        log_weights: log of the rebalancing weights, (Q,).
        lightness: L at the heads' grid, [0, 100], (N, h, w, 1).
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
    bins = zones.zone_bins(centers, zones.ZONES).astype(np.float32)
    return hue_guard(ab, ops.matmul(ops.softmax(logits, axis=-1), bins), lightness)


def head_lightness(lightness: Any) -> Any:
    """Return the mean L of 4 x 4 pixels, (N, H, W, 1) -> (N, H/4, W/4, 1); twin of `chroma.framing.head_lightness`."""
    return ops.average_pool(lightness, HEAD_STRIDE, HEAD_STRIDE)


def hue_guard(ab: Any, backing: Any, lightness: Any) -> Any:
    """Compress colors that the posterior does not back; twin of `chroma.decoding.hue_guard` with its own zones.

    Args:
        ab: Lab units, (N, h, w, 2).
        backing: mass on the bins of each zone, [0, 1], (N, h, w, Z).
        lightness: L, [0, 100], (N, h, w, 1).

    Returns:
        ab in Lab units, (N, h, w, 2).
    """
    columns = (column.astype(np.float32) for column in zones.zone_columns(zones.ZONES))
    directions, full, none, unbacked, backed, dark, passes = columns
    chroma = ops.sqrt(ops.sum(ops.square(ab), axis=-1, keepdims=True))
    divisor = ops.maximum(chroma, _TINY)
    watched = ops.clip((ops.matmul(ab / divisor, directions) - none) / (full - none), 0.0, 1.0)
    shadow_range = decoding.GUARD_LIGHT_L - decoding.GUARD_DARK_L
    shadow = ops.clip((decoding.GUARD_LIGHT_L - lightness) / shadow_range, 0.0, 1.0)
    # A matrix product: around a plain one tf2onnx would transpose what all the zones share.
    needed = backed + ops.matmul(shadow, dark[None])
    doubt = ops.clip((needed - backing) / (backed - unbacked), 0.0, 1.0)
    lost = ops.max(ops.maximum(chroma - passes, 0.0) * watched * doubt, axis=-1, keepdims=True)
    return ab * (1 - lost / divisor)


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
