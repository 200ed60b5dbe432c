"""Heads -> ab: argmax, annealed mean, prior correction with a cap, hue guard, regression, fusion.

All functions take logits over the bins, channels last, any leading shape, float32; knobs are scalars or one value a
picture (N,). This is the one truth of the formulas: the exported graph holds the same decode, and tests tie the two
together.

Why the cap: uncapped, the prior correction makes a red bin count up to 47 times a gray one, so that red wins wherever
its true probability passes 2 %; that is the "red noise". Why the guard: where the network's own posterior does not
back a decoded hue, chroma is compressed; `chroma.zones` has the hues.

References:
    Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 2.3 (annealed mean).
    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021 (prior correction after training).
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from chroma.zones import ZONES, Zone, zone_bins, zone_columns

MIN_TEMPERATURE: Final = 1e-3
"""Lowest temperature; below it the softmax of logits / T overflows."""

GUARD_DARK_L: Final = 20.0
"""L up to which a pixel is in full shadow..."""
GUARD_LIGHT_L: Final = 35.0
"""...and from which it is in none."""
FUSE_SPREAD: Final = 25.0
"""Posterior spread at which fusion trusts the classification by exp(-1/2), Lab units."""

Scalars = float | Float[np.ndarray, "N"]


@dataclass(frozen=True)
class Knobs:
    """What one decode takes.

    Attributes:
        temperature: of the annealed mean, [1e-3, 100]; 1 is the plain mean, towards 0 the mode.
        tau: strength of the prior correction, [0, 1]; 0 is none.
        cap: largest over smallest weight of the prior correction, [1, 1e6].
        gain: factor on chroma after the mean, >= 0, finite.
    """

    temperature: float
    tau: float
    cap: float
    gain: float

    def __post_init__(self) -> None:
        """Refuse values that have no meaning.

        Raises:
            ValueError: a knob outside its range.
        """
        in_range = (
            MIN_TEMPERATURE <= self.temperature <= 100
            and 0 <= self.tau <= 1
            and 1 <= self.cap <= 1e6
            and self.gain >= 0
        )
        if not in_range or not np.isfinite(astuple(self)).all():
            raise ValueError(f"knobs out of range: {self}")


@dataclass(frozen=True)
class VividnessCurve:
    """What one vividness knob in [0, 1] means: knobs at a few points, linear between them.

    Chosen on the validation split, stored in the model's stamp.

    Attributes:
        points: (vividness, knobs), by rising vividness, the first at 0, the last at 1.
    """

    points: tuple[tuple[float, Knobs], ...]

    def __post_init__(self) -> None:
        """Refuse a curve that does not cover [0, 1].

        Raises:
            ValueError: fewer than two points, not rising, or not from 0 to 1.
        """
        at = [vividness for vividness, _ in self.points]
        if len(at) < 2 or at[0] != 0 or at[-1] != 1 or any(b <= a for a, b in pairwise(at)):
            raise ValueError(f"a vividness curve rises from 0 to 1, not {at}")

    def at(self, vividness: float) -> Knobs:
        """Return the knobs at a vividness.

        Raises:
            ValueError: vividness is not in [0, 1].
        """
        if not 0 <= vividness <= 1:
            raise ValueError(f"vividness must be in [0, 1], is {vividness}")
        rows = np.asarray(self.to_rows())
        values = [float(np.interp(vividness, rows[:, 0], rows[:, column])) for column in range(1, 5)]
        return Knobs(*values)

    def relative_gain(self, gain: float) -> float:
        """Return a gain relative to the default's: what a head that the guard does not touch is to be multiplied by.

        The decode's own gain also makes up for what the guard takes; on the bare regression it would be false color.

        Args:
            gain: of the decode, >= 0.

        Returns:
            1 at vividness 0.5; the gain itself where the default has none.
        """
        default = self.at(0.5).gain
        return gain / default if default > 0 else gain

    def to_rows(self) -> list[list[float]]:
        """Return [vividness, temperature, tau, cap, gain] a point, for JSON."""
        return [[vividness, *astuple(knobs)] for vividness, knobs in self.points]

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[float]]) -> "VividnessCurve":
        """Read what `to_rows` gives.

        Raises:
            ValueError: a row of another length, knobs out of range, or a curve that does not cover [0, 1].
        """
        points = []
        for row in rows:
            vividness, temperature, tau, cap, gain = (float(value) for value in row)
            points.append((vividness, Knobs(temperature, tau, cap, gain)))
        return cls(tuple(points))


def log_softmax(logits: Float[np.ndarray, "*shape Q"]) -> Float[np.ndarray, "*shape Q"]:
    """Return log-probabilities over the last axis, same shape and dtype."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=logits.dtype)


def softmax(logits: Float[np.ndarray, "*shape Q"]) -> Float[np.ndarray, "*shape Q"]:
    """Return probabilities over the last axis, same shape and dtype."""
    odds = _odds(_shifted(logits))
    odds /= odds.sum(axis=-1, keepdims=True)
    return np.asarray(odds, dtype=logits.dtype)


def argmax_ab(
    logits: Float[np.ndarray, "*shape Q"], centers: Float[np.ndarray, "Q 2"]
) -> Float[np.ndarray, "*shape 2"]:
    """Return the center of the most probable bin, Lab units, shape (..., 2) (decode v0 of the original)."""
    index: Int[np.ndarray, "*shape"] = logits.argmax(axis=-1)
    return centers[index]


def annealed_mean(
    logits: Float[np.ndarray, "*shape Q"], centers: Float[np.ndarray, "Q 2"], temperature: Scalars
) -> Float[np.ndarray, "*shape 2"]:
    """Return the mean of softmax(log p / T) over the centers (decode v1 of the original).

    Args:
        logits: shape (..., Q); a constant added to a pixel's logits changes nothing.
        centers: bin centers in Lab units, shape (Q, 2).
        temperature: scalar, or one a picture (N,) for logits (N, ..., Q); values below 1e-3 count as 1e-3.

    Returns:
        ab in Lab units, shape (..., 2).

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equation 5; T = 0.38 there.
    """
    return _annealed(_shifted(logits), centers, temperature)


def capped_log_weights(log_weights: Float[np.ndarray, "Q"], cap: Scalars) -> Float[np.ndarray, "*N Q"]:
    """Clip the bins' log-weights to `cap` times the smallest weight.

    Args:
        log_weights: log of `chroma.prior.rebalancing_weights`, shape (Q,).
        cap: largest over smallest weight, >= 1; scalar, or (N,).

    Returns:
        Log-weights, shape (Q,), or (N, Q).
    """
    highest = log_weights.min() + np.log(np.maximum(np.asarray(cap, dtype=log_weights.dtype), 1))
    return np.minimum(log_weights, highest[..., None])


def hue_guard(
    ab: Float[np.ndarray, "*shape 2"],
    backing: Float[np.ndarray, "*shape Z"],
    lightness: Float[np.ndarray, "*#shape 1"],
    zones: Sequence[Zone] = ZONES,
) -> Float[np.ndarray, "*shape 2"]:
    """Compress the chroma of colors that the posterior does not back.

    Each zone watches a range of hues. There the chroma above what it passes is kept fully when the posterior's mass on
    the zone's bins is `backed_mass` or more, not at all when it is `unbacked_mass` or less, and in proportion between;
    in shadow both limits rise. Where several zones watch, the strictest decides. The limits of hue, mass and shadow are
    soft, so that a smooth picture stays smooth.

    Args:
        ab: decoded ab in Lab units, shape (..., 2).
        backing: from `zone_masses`, [0, 1], shape (..., Z).
        lightness: CIE L of the same pixels, [0, 100], shape (..., 1); (1,) for one L everywhere.
        zones: what is watched, Z of them.

    Returns:
        ab in Lab units, same hue, chroma never larger, shape (..., 2).
    """
    dtype = ab.dtype
    a, b = ab[..., 0], ab[..., 1]
    chroma = np.sqrt(a * a + b * b)
    divisor = np.maximum(chroma, dtype.type(1e-6))
    cosine, sine = a / divisor, b / divisor
    shadow = np.clip((GUARD_LIGHT_L - lightness[..., 0].astype(dtype)) / (GUARD_LIGHT_L - GUARD_DARK_L), 0, 1)
    lost = np.zeros_like(chroma)
    directions, *columns = (column.astype(dtype) for column in zone_columns(zones))
    # Zone by zone: NumPy is slow along an axis of five.
    for place, (full, none, unbacked, backed, dark, passes) in enumerate(zip(*columns, strict=True)):
        toward = cosine * directions[0, place] + sine * directions[1, place]
        watched = np.clip((toward - none) / (full - none), 0, 1)
        doubt = np.clip((backed + dark * shadow - backing[..., place]) / (backed - unbacked), 0, 1)
        lost = np.maximum(lost, np.maximum(chroma - passes, 0) * watched * doubt)
    return np.asarray(ab * (1 - lost / divisor)[..., None])


def decode(
    logits: Float[np.ndarray, "*shape Q"],
    centers: Float[np.ndarray, "Q 2"],
    log_weights: Float[np.ndarray, "Q"],
    *,
    lightness: Float[np.ndarray, "*#shape 1"],
    temperature: Scalars,
    tau: Scalars,
    cap: Scalars,
    gain: Scalars,
) -> Float[np.ndarray, "*shape 2"]:
    """Decode a posterior as Photochrom does by default: capped prior correction, annealed mean, gain, hue guard.

    q = softmax((log p + tau log min(w, cap min w)) / T);  ab = hue_guard(gain * sum q c).

    Args:
        logits: shape (..., Q), or (N, ..., Q) with one value of each knob a picture.
        centers: bin centers in Lab units, shape (Q, 2).
        log_weights: log of `chroma.prior.rebalancing_weights` of the run's smoothed prior, shape (Q,).
        lightness: CIE L where the logits are, [0, 100], shape (..., 1); see `chroma.framing.head_lightness`.
        temperature: >= 1e-3; scalar or (N,).
        tau: strength of the prior correction, [0, 1]; scalar or (N,).
        cap: largest over smallest prior weight, >= 1; scalar or (N,).
        gain: factor on chroma, >= 0; scalar or (N,).

    Returns:
        ab in Lab units, float, shape (..., 2).

    References:
        Zhang et al. 2016, equation 5; Menon et al. 2021, section 4.
    """
    bins = zone_bins(centers, ZONES)
    ab, backing = mean_and_backing(
        logits, centers, log_weights, bins, temperature=temperature, tau=tau, cap=cap, gain=gain
    )
    return hue_guard(ab, backing, lightness)


def mean_and_backing(
    logits: Float[np.ndarray, "*shape Q"],
    centers: Float[np.ndarray, "Q 2"],
    log_weights: Float[np.ndarray, "Q"],
    bins: Bool[np.ndarray, "Q Z"],
    *,
    temperature: Scalars,
    tau: Scalars,
    cap: Scalars,
    gain: Scalars,
) -> tuple[Float[np.ndarray, "*shape 2"], Float[np.ndarray, "*shape Z"]]:
    """Do of `decode` what reads the posterior: what is left, `hue_guard`, needs little time.

    Args:
        logits: shape (..., Q), or (N, ..., Q) with one value of each knob a picture.
        centers: bin centers in Lab units, shape (Q, 2).
        log_weights: shape (Q,).
        bins: from `chroma.zones.zone_bins`, shape (Q, Z).
        temperature: >= 1e-3; scalar or (N,).
        tau: strength of the prior correction, [0, 1]; scalar or (N,).
        cap: largest over smallest prior weight, >= 1; scalar or (N,).
        gain: factor on chroma, >= 0; scalar or (N,).

    Returns:
        What `corrected_mean` and `zone_masses` return, (..., 2) and (..., Z).
    """
    shifted = _shifted(logits)
    backing = _mean(np.exp(shifted), bins)
    return _corrected(shifted, centers, log_weights, temperature, tau, cap) * _per_picture(gain, logits), backing


def corrected_mean(
    logits: Float[np.ndarray, "*shape Q"],
    centers: Float[np.ndarray, "Q 2"],
    log_weights: Float[np.ndarray, "Q"],
    *,
    temperature: Scalars,
    tau: Scalars,
    cap: Scalars,
    gain: Scalars,
) -> Float[np.ndarray, "*shape 2"]:
    """Decode as `decode` does, without the hue guard: the original knew none.

    Args:
        logits: shape (..., Q), or (N, ..., Q) with one value of each knob a picture.
        centers: bin centers in Lab units, shape (Q, 2).
        log_weights: shape (Q,).
        temperature: >= 1e-3; scalar or (N,).
        tau: strength of the prior correction, [0, 1]; scalar or (N,).
        cap: largest over smallest prior weight, >= 1; scalar or (N,).
        gain: factor on chroma, >= 0; scalar or (N,).

    Returns:
        ab in Lab units, float, shape (..., 2).
    """
    ab = _corrected(_shifted(logits), centers, log_weights, temperature, tau, cap)
    return ab * _per_picture(gain, logits)


def zone_masses(
    logits: Float[np.ndarray, "*shape Q"], centers: Float[np.ndarray, "Q 2"], zones: Sequence[Zone] = ZONES
) -> Float[np.ndarray, "*shape Z"]:
    """Return the uncorrected posterior's mass on each zone's bins: what backs its hues; [0, 1], shape (..., Z)."""
    return _mean(_odds(_shifted(logits)), zone_bins(centers, zones))


def posterior_spread(
    logits: Float[np.ndarray, "*shape Q"], centers: Float[np.ndarray, "Q 2"]
) -> Float[np.ndarray, "*shape 1"]:
    """Return how unsure the posterior is: RMS distance of its colors from their mean, Lab units, shape (..., 1)."""
    moments = np.column_stack([centers, np.square(centers).sum(axis=1)])
    means = _mean(_odds(_shifted(logits)), moments)
    mean, second_moment = means[..., :2], means[..., 2:]
    return np.sqrt(np.maximum(second_moment - np.square(mean).sum(axis=-1, keepdims=True), 0))


def fuse(
    ab_decoded: Float[np.ndarray, "*shape 2"],
    ab_regressed: Float[np.ndarray, "*shape 2"],
    spread: Float[np.ndarray, "*shape 1"],
) -> Float[np.ndarray, "*shape 2"]:
    """Mix classification and regression: the less sure the posterior, the more the regression counts.

    Args:
        ab_decoded: from `decode`, Lab units, shape (..., 2).
        ab_regressed: from the regression head, Lab units, shape (..., 2).
        spread: from `posterior_spread`, Lab units, shape (..., 1).

    Returns:
        ab in Lab units, shape (..., 2).
    """
    trust = np.exp(-np.square(spread) / ab_decoded.dtype.type(2 * FUSE_SPREAD**2))
    return np.asarray(trust * ab_decoded + (1 - trust) * ab_regressed, dtype=ab_decoded.dtype)


def _shifted(logits: Float[np.ndarray, "*shape Q"]) -> Float[np.ndarray, "*shape Q"]:
    """Return logits of which the largest is 0: their odds can overflow no more."""
    return logits - logits.max(axis=-1, keepdims=True)


def _odds(shifted: Float[np.ndarray, "*shape Q"]) -> Float[np.ndarray, "*shape Q"]:
    """Return how much likelier than the likeliest each bin is, (0, 1]; in the place of what is given."""
    return np.exp(shifted, out=shifted)


def _mean(odds: Float[np.ndarray, "*shape Q"], values: Shaped[np.ndarray, "Q k"]) -> Float[np.ndarray, "*shape k"]:
    """Return the mean of the bins' values by their odds; the odds' sum comes by the same product, in one pass."""
    sums = odds @ np.column_stack([values, np.ones(len(values))]).astype(odds.dtype)
    return sums[..., :-1] / sums[..., -1:]


def _annealed(
    shifted: Float[np.ndarray, "*shape Q"], centers: Float[np.ndarray, "Q 2"], temperature: Scalars
) -> Float[np.ndarray, "*shape 2"]:
    """Return what `annealed_mean` returns; what is given is overwritten."""
    shifted /= np.maximum(_per_picture(temperature, shifted), MIN_TEMPERATURE)
    return _mean(_odds(shifted), centers)


def _corrected(
    shifted: Float[np.ndarray, "*shape Q"],
    centers: Float[np.ndarray, "Q 2"],
    log_weights: Float[np.ndarray, "Q"],
    temperature: Scalars,
    tau: Scalars,
    cap: Scalars,
) -> Float[np.ndarray, "*shape 2"]:
    """Return what `corrected_mean` does before its gain; what is given is overwritten."""
    if np.any(tau):
        weights = capped_log_weights(log_weights.astype(shifted.dtype), cap)
        if weights.ndim > 1:
            weights = weights.reshape(len(weights), *(1,) * (shifted.ndim - 2), -1)
        shifted += _per_picture(tau, shifted) * weights
        shifted -= shifted.max(axis=-1, keepdims=True)
    return _annealed(shifted, centers, temperature)


def _per_picture(value: Scalars, logits: Float[np.ndarray, "*shape Q"]) -> Float[np.ndarray, "..."]:
    """Shape a knob, scalar or (N,), to broadcast over logits (N, ..., Q)."""
    knob = np.asarray(value, dtype=logits.dtype)
    return knob.reshape(-1, *(1,) * (logits.ndim - 1)) if knob.ndim else knob
