"""A trained network on whole pictures, exactly as the service runs it: same framing, same decode, same compose."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import keras
import numpy as np

from chroma import decoding, signature
from chroma.compose import compose_u8
from chroma.decoding import Knobs, VividnessCurve
from chroma.framing import network_size, resize_lightness
from chroma.prior import rebalancing_weights, smooth_prior

Mode = Literal["annealed", "regression", "fused", "argmax"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

CURVE: Final = VividnessCurve(
    (
        (0.0, Knobs(temperature=1.0, tau=0.0, cap=5.0, gain=1.0)),
        (0.5, Knobs(temperature=0.38, tau=1.0, cap=5.0, gain=1.2)),
        (1.0, Knobs(temperature=0.38, tau=1.0, cap=8.0, gain=1.25)),
    )
)
"""Vividness before a run has chosen its own, see `training.calibrate`."""


@dataclass(frozen=True)
class Decoder:
    """What turns heads into ab, besides the knobs.

    Attributes:
        centers: bin centers in Lab units, (Q, 2).
        log_weights: log of the rebalancing weights of the run's smoothed prior, float32, (Q,).
    """

    centers: np.ndarray
    log_weights: np.ndarray

    @classmethod
    def of_prior(cls, prior: np.ndarray, centers: np.ndarray) -> "Decoder":
        """Make the decoder of a run from its raw prior, (Q,)."""
        weights = rebalancing_weights(smooth_prior(prior, centers))
        return cls(centers, np.log(weights).astype(np.float32))

    def ab(self, heads: dict[str, np.ndarray], mode: Mode, knobs: Knobs) -> np.ndarray:
        """Decode.

        Args:
            heads: ab_logits (N, h, w, Q) and ab (N, h, w, 2).
            mode: which decoder.
            knobs: temperature, tau, cap, gain; argmax and regression take the gain alone.

        Returns:
            ab in Lab units, float32, (N, h, w, 2).
        """
        logits, regressed = heads[signature.AB_LOGITS], np.asarray(heads[signature.AB] * np.float32(knobs.gain))
        if mode == "argmax":
            return np.asarray(decoding.argmax_ab(logits, self.centers) * np.float32(knobs.gain))
        if mode == "regression":
            return regressed
        decoded = decoding.decode(
            logits,
            self.centers,
            self.log_weights,
            temperature=knobs.temperature,
            tau=knobs.tau,
            cap=knobs.cap,
            gain=knobs.gain,
        )
        if mode == "fused":
            return decoding.fuse(decoded, regressed, decoding.posterior_spread(logits, self.centers))
        return decoded


def predict_heads(model: keras.Model, lightness: np.ndarray) -> dict[str, np.ndarray]:
    """Run the network in inference mode.

    Args:
        model: from `training.model.build_model`.
        lightness: CIE L in [0, 100], float32, (N, H, W, 1), H and W multiples of 32.

    Returns:
        Heads by name, float32 NumPy arrays.
    """
    heads = model.predict_on_batch(lightness)
    return {name: np.asarray(keras.ops.convert_to_numpy(head)) for name, head in heads.items()}


def predict_picture(model: keras.Model, L: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Run the network on a picture of any size.

    Args:
        model: from `training.model.build_model`.
        L: CIE L in [0, 100], float32, (H, W, 1).
        size: inference size, px.

    Returns:
        Heads by name, with a batch axis of 1.
    """
    small = resize_lightness(L, network_size(L.shape[0], L.shape[1], size))
    return predict_heads(model, small[None])


def colorize_lightness(L: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Put a small ab (h, w, 2), Lab units, on L (H, W, 1); return RGB, uint8, (H, W, 3)."""
    return compose_u8(L, ab)
