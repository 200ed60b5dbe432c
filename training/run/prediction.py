"""A trained network on whole pictures, exactly as the service runs it: same framing, same decode."""

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final

import keras
import numpy as np

from chroma import decoding, signature
from chroma.decoding import Knobs, VividnessCurve
from chroma.framing import head_lightness, network_size, resize_lightness
from chroma.modes import MODE_OUTPUTS, Mode, outputs_to_ab
from chroma.prior import rebalancing_weights, smooth_prior, smooth_prior_1d

CURVE: Final = VividnessCurve(
    (
        (0.0, Knobs(temperature=1.0, tau=0.0, cap=5.0, gain=1.0)),
        (0.5, Knobs(temperature=0.38, tau=1.0, cap=5.0, gain=1.2)),
        (1.0, Knobs(temperature=0.38, tau=1.0, cap=8.0, gain=1.25)),
    )
)
"""Vividness before a run has chosen its own, see `training.judge.calibrate`."""

ORIGINAL_DECODES: Final = MappingProxyType(
    {
        "argmax": Knobs(temperature=1e-3, tau=0.0, cap=1.0, gain=1.0),
        "annealed": Knobs(temperature=0.38, tau=0.0, cap=1.0, gain=1.0),
    }
)
"""The original's decoders, v0 and v1: what the network says is taken at its word."""


def first_curve(decode: str) -> VividnessCurve:
    """Return what vividness means before `training.judge.calibrate`, for a recipe's `decode`."""
    if decode == "vividness":
        return CURVE
    knobs = ORIGINAL_DECODES[decode]
    return VividnessCurve(((0.0, knobs), (0.5, knobs), (1.0, knobs)))


@dataclass(frozen=True)
class Decoder:
    """What turns heads into ab, besides the knobs.

    Attributes:
        centers: bin centers in Lab units, (Q, 2).
        log_weights: log of the rebalancing weights of the run's smoothed prior, float32, (Q,).
        guard: compress colors that the posterior does not back; the original had no such thing.
    """

    centers: np.ndarray
    log_weights: np.ndarray
    guard: bool = True

    @classmethod
    def of_prior(cls, prior: np.ndarray, centers: np.ndarray) -> "Decoder":
        """Make the decoder of a run from its raw prior, (Q,)."""
        weights = rebalancing_weights(smooth_prior(prior, centers))
        return cls(centers, np.log(weights).astype(np.float32))

    @classmethod
    def original(cls, prior: np.ndarray, centers: np.ndarray) -> "Decoder":
        """Make what the original's weights amount to when decoding: prior smoothed over the bins' index, no guard."""
        weights = rebalancing_weights(smooth_prior_1d(prior))
        return cls(centers, np.log(weights).astype(np.float32), guard=False)

    def ab(self, heads: dict[str, np.ndarray], mode: Mode, knobs: Knobs, head_gain: float = 1.0) -> np.ndarray:
        """Decode.

        Args:
            heads: from `predict_heads`: ab_logits (N, h, w, Q), ab (N, h, w, 2), lightness (N, h, w, 1).
            mode: see `chroma.modes`.
            knobs: of the annealed mean, which `annealed` and `fused` take.
            head_gain: factor on the chroma of the other heads, see `VividnessCurve.relative_gain`.

        Returns:
            ab in Lab units, float32, (N, h, w, 2).
        """
        outputs, logits = dict(heads), heads[signature.AB_LOGITS]
        # The exported graph gives these two itself.
        if signature.AB_DECODED in MODE_OUTPUTS[mode]:
            ab = decoding.corrected_mean(logits, self.centers, self.log_weights, **asdict(knobs))
            if self.guard:
                backing = decoding.zone_masses(logits, self.centers)
                ab = decoding.hue_guard(ab, backing, heads[signature.LIGHTNESS])
            outputs[signature.AB_DECODED] = ab
        if signature.SPREAD in MODE_OUTPUTS[mode]:
            outputs[signature.SPREAD] = decoding.posterior_spread(logits, self.centers)
        return outputs_to_ab(outputs, mode, centers=self.centers, gain=head_gain)


def predict_heads(model: keras.Model, lightness: np.ndarray) -> dict[str, np.ndarray]:
    """Run the network in inference mode.

    Args:
        model: from `training.network.model.build_model`.
        lightness: CIE L in [0, 100], float32, (N, H, W, 1), H and W multiples of 32.

    Returns:
        Heads by name, float32 NumPy arrays, and under `lightness` the L at their grid, which the decode needs.
    """
    heads = model.predict_on_batch(lightness)
    arrays = {name: np.asarray(keras.ops.convert_to_numpy(head)) for name, head in heads.items()}
    return arrays | {signature.LIGHTNESS: head_lightness(lightness)}


def predict_picture(model: keras.Model, L: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Run the network on a picture of any size.

    Args:
        model: from `training.network.model.build_model`.
        L: CIE L in [0, 100], float32, (H, W, 1).
        size: inference size, px.

    Returns:
        Heads by name, with a batch axis of 1.
    """
    small = resize_lightness(L, network_size(L.shape[0], L.shape[1], size))
    return predict_heads(model, small[None])
