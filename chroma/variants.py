"""Several plausible versions of one picture, from one posterior.

The network says for each pixel how likely each color is. The first version shows what it thinks; another one leans
whole regions toward a color that it holds possible there: a shirt turns from brown to blue as a whole, while the grass,
of which the network is sure, stays green.

1. **Regions.** Pixels with like posteriors make one soft region; a few clusters of coarse posteriors, smoothed.
2. **Lean.** In region k the logits get lambda (c - m).d, an exponential tilt: of all ways to move the mean along d it
   changes the posterior least (in Kullback-Leibler divergence), and what has no spread does not move. d is in units of
   the region's own spread, and far colors are favored no more than middling ones (a tanh).
3. **Directions.** By region, each version takes the direction whose color is furthest from those of the versions
   before, so that version k is the same however many are asked for.
4. **Strength.** lambda is the one, found by bisection, at which the picture changes by `GOAL_AB` on average, within a
   limit.
5. **Red.** The mass of the posterior on red bins grows nowhere but by interpolation, so the hue guard of the decode
   judges as it did.

References:
    Csiszar, "I-divergence geometry of probability distributions and minimization problems", 1975 (exponential tilting).
"""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from chroma.decoding import softmax
from chroma.zones import RED

MOST_VARIANTS: Final = 8
"""How many versions a picture has, the first included."""
REGIONS: Final = 6
"""Soft regions of a picture, at most."""
GOAL_AB: Final = 5.0
"""Wanted mean change of the posterior's mean against the first version, Lab units in ab."""
MOST_LEAN: Final = 2.5
"""Largest lambda: a region's posterior is leant by so many of its standard deviations, were it Gaussian."""
FURTHEST_LEAN: Final = 2.5
"""A color this many standard deviations out is favored like one further out: the tails of a posterior are noise."""
MOST_RESPONSE: Final = 1.6
"""A pixel changes at most about so many times as much as its region does: unsure spots would make blotches."""
SPREAD_FACTORS: Final = (0.4, 1.8)
"""Least and most by which a region's spread, over the mean of all, weakens or strengthens its lean."""
DIRECTIONS: Final = 12
"""Directions tried in a region, evenly round the ellipse of its spread."""
RARE_HUES_DEGREES: Final = (290.0, 55.0)
"""Hues from violet over red to orange are leant to last: large parts of photographs seldom have them."""
COARSE_SIGMA: Final = 18.0
"""Width of the Gaussians by which posteriors are compared, Lab units."""
REGION_SHARPNESS: Final = 40.0
"""How sharply a pixel belongs to the region nearest to it."""
STRIDE: Final = 2
"""Regions and strengths are found on every second pixel of every second row: they are smooth."""
SMOOTH_PX: Final = 3
"""Side of the window in which the shares of the regions are smoothed, in those pixels."""
SAMPLES: Final = 192
"""About so many pixels take part in clustering and bisection."""


def variant_logits(
    logits: Float[np.ndarray, "h w Q"], centers: Float[np.ndarray, "Q 2"], *, variant: int, count: int = MOST_VARIANTS
) -> Float[np.ndarray, "h w Q"]:
    """Return the posterior of another version of the picture.

    Args:
        logits: over the bins, shape (h, w, Q).
        centers: bin centers in Lab units, shape (Q, 2).
        variant: 1 is the posterior itself; up to `count` are other versions, each the same whatever `count` is.
        count: how many versions there are, at most 8.

    Returns:
        Logits, same shape and dtype. The posterior mass on the bins of `chroma.zones.RED` is about nowhere larger than
        before.

    Raises:
        ValueError: variant is not in [1, count], or count not in [1, 8].
    """
    if not 1 <= variant <= count <= MOST_VARIANTS:
        raise ValueError(f"variant must be in [1, count] and count in [1, {MOST_VARIANTS}], are {variant} and {count}")
    return logits if variant == 1 else Versions(logits, centers).logits(variant)


class Versions:
    """Several versions of one picture: what they share is found once, at the start."""

    def __init__(self, logits: Float[np.ndarray, "h w Q"], centers: Float[np.ndarray, "Q 2"]) -> None:
        """Find the regions, and where each can lean.

        Args:
            logits: over the bins, shape (h, w, Q).
            centers: bin centers in Lab units, shape (Q, 2).
        """
        self._logits, self._centers, self._red = logits, centers, RED.bins(centers)
        thin = logits[::STRIDE, ::STRIDE].astype(np.float32)
        self._shape = thin.shape[0], thin.shape[1]
        self._odds = softmax(thin.reshape(-1, logits.shape[-1]))
        self._few = np.linspace(0, len(self._odds) - 1, min(SAMPLES, len(self._odds))).round().astype(int)
        self._shares = _regions(self._odds, self._few, centers, self._shape)
        self._leans = _directions(self._odds[self._few], self._shares[self._few], centers)

    def logits(self, variant: int) -> Float[np.ndarray, "h w Q"]:
        """Return the posterior of one version, as `variant_logits` does; several threads may ask at a time.

        Args:
            variant: from 1 to `MOST_VARIANTS`.

        Returns:
            Logits, shape (h, w, Q).
        """
        if variant == 1:
            return self._logits
        h, w, _ = self._logits.shape
        odds, few, leans = self._odds, self._few, self._leans[variant - 2]
        shares = self._shares * _calming(odds, self._shares @ leans, self._shares, self._shape)[:, None]
        shares *= _strength(odds[few], shares[few] @ leans, self._centers, self._red)
        less_red = np.log(_red_factor(odds, shares @ leans, self._red))
        # The maps are smooth, the posterior is not: they grow to its size, and each of its pixels leans by itself.
        small = np.column_stack([shares, less_red]).reshape(*self._shape, -1)
        maps = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
        leant = (maps.reshape(h * w, -1) @ np.vstack([leans, self._red.astype(np.float32)])).reshape(self._logits.shape)
        leant += self._logits
        return leant.astype(self._logits.dtype, copy=False)


def _regions(
    odds: Float32[np.ndarray, "n Q"], few: np.ndarray, centers: Float[np.ndarray, "Q 2"], shape: tuple[int, int]
) -> Float32[np.ndarray, "n regions"]:
    """Return how much each pixel belongs to each region; the shares of a pixel sum to 1."""
    # Posteriors as a few soft counts: near colors are alike, and a pixel is its own mixture of them.
    grid = np.arange(-60.0, 61.0, 20.0)
    nodes = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    distance = np.square(centers[:, None] - nodes).sum(axis=-1)
    soft = np.exp(-distance / (2 * COARSE_SIGMA**2))
    soft /= soft.sum(axis=1, keepdims=True)
    coarse = np.sqrt(odds @ soft.astype(np.float32))
    sample = coarse[few]
    means = sample.mean(axis=0, keepdims=True)
    while len(means) < REGIONS:
        nearest = (1 - sample @ _unit(means).T).min(axis=1)
        if nearest.max() < 0.01:
            break
        start = np.argsort(nearest, kind="stable")[int(0.95 * (len(nearest) - 1))]
        means = np.concatenate([means, sample[None, start]])
        for _ in range(3):
            owner = (sample @ _unit(means).T).argmax(axis=1)
            means = np.stack(
                [sample[owner == k].mean(axis=0) if (owner == k).any() else means[k] for k in range(len(means))]
            )
    likeness = coarse @ _unit(means).T
    shares = np.exp(REGION_SHARPNESS * (likeness - likeness.max(axis=1, keepdims=True)))
    shares /= shares.sum(axis=1, keepdims=True)
    side = (SMOOTH_PX, SMOOTH_PX)
    for k in range(shares.shape[1]):
        shares[:, k] = cv2.blur(shares[:, k].reshape(shape), side, borderType=cv2.BORDER_REPLICATE).ravel()
    return shares


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _directions(
    odds: Float32[np.ndarray, "n Q"],
    shares: Float32[np.ndarray, "n regions"],
    centers: Float[np.ndarray, "Q 2"],
) -> Float32[np.ndarray, "versions regions Q"]:
    """Return by version, from the second on, and region what a lean of strength 1 adds to the logits."""
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    leans, spreads = [], []
    for k in range(shares.shape[1]):
        posterior = shares[:, k] @ odds
        posterior /= max(posterior.sum(), 1e-12)
        weight = shares[:, k] / max(shares[:, k].sum(), 1e-12)
        means = odds @ centers
        away = centers - posterior @ centers
        # spread within the pixels: what differs between them is known, not open
        covariance = (away * posterior[:, None]).T @ away
        between = means - weight @ means
        covariance -= (between * weight[:, None]).T @ between
        spreads.append(np.sqrt(max(np.trace(covariance), 1.0)))
        values, vectors = np.linalg.eigh(covariance + 4 * np.eye(2))
        # the sign of an eigenvector is open: the same posterior must give the same version everywhere
        vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), [0, 1]] < 0, -1, 1)
        whiten = vectors / np.sqrt(np.maximum(values, 4))
        tilts = FURTHEST_LEAN * np.tanh((away @ whiten @ circle.T).T / FURTHEST_LEAN)
        leant = posterior * np.exp(tilts)
        colors = (leant / leant.sum(axis=1, keepdims=True)) @ centers
        mass = (posterior * (tilts > 0.7)).sum(axis=1)
        leans.append(tilts[_sequence(colors, posterior @ centers, mass)])
    # What is open changes more than what is nearly known.
    factors = np.clip(np.asarray(spreads) / np.mean(spreads), *SPREAD_FACTORS)
    return np.asarray(np.stack(leans, axis=1) * factors[:, None], np.float32)


def _sequence(
    colors: Float[np.ndarray, "n 2"], first: Float[np.ndarray, "2"], mass: Float[np.ndarray, "n"]
) -> list[int]:
    """Return directions in the order of the versions: each as far as can be from those before, and as likely.

    Args:
        colors: to which each direction leads, Lab units.
        first: color of the first version, Lab units.
        mass: of the posterior in each direction.

    Returns:
        Indices, one a version from the second on.
    """
    hue = np.degrees(np.arctan2(colors[:, 1], colors[:, 0])) % 360
    rare = ((hue > RARE_HUES_DEGREES[0]) | (hue < RARE_HUES_DEGREES[1])) & (np.linalg.norm(colors, axis=1) > 12)
    worth = np.sqrt(mass + 1e-3) * np.where(rare, 0.4, 1.0)
    taken: list[int] = []
    nearest = np.linalg.norm(_seen(colors) - _seen(first), axis=1)
    while len(taken) < MOST_VARIANTS - 1:
        best = int((nearest * worth).argmax())
        taken.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(_seen(colors) - _seen(colors[best]), axis=1))
    return taken


def _calming(
    odds: Float32[np.ndarray, "n Q"],
    tilt: Float32[np.ndarray, "n Q"],
    shares: Float32[np.ndarray, "n regions"],
    shape: tuple[int, int],
) -> Float32[np.ndarray, "n"]:
    """Return by pixel the factor, at most 1, with which none answers a tilt much more than its region does.

    How much a pixel answers is the variance of the tilt under its posterior, to first order.
    """
    mean = np.einsum("nq,nq->n", odds, tilt)
    answer = np.einsum("nq,nq,nq->n", odds, tilt, tilt) - mean * mean
    usual = (shares.T @ answer) / np.maximum(shares.sum(axis=0), 1e-6)
    factor = np.minimum(MOST_RESPONSE * (shares @ usual) / np.maximum(answer, 1e-6), 1)
    return cv2.blur(factor.reshape(shape), (SMOOTH_PX, SMOOTH_PX), borderType=cv2.BORDER_REPLICATE).ravel()


def _seen(ab: np.ndarray) -> np.ndarray:
    """Return ab with chroma compressed, so that distances are about as an eye sees them."""
    return ab / (1 + 0.0225 * np.linalg.norm(ab, axis=-1, keepdims=True))


def _red_factor(
    odds: Float32[np.ndarray, "n Q"], tilt: Float32[np.ndarray, "n Q"], red: Bool[np.ndarray, "Q"]
) -> Float32[np.ndarray, "n"]:
    """Return the factor on the red bins' odds with which a tilt leaves no pixel more red than it was; at most 1."""
    leant = odds * np.exp(tilt)
    is_red = red.astype(np.float32)
    reds = leant @ is_red
    others = np.maximum(leant.sum(axis=1) - reds, 1e-20)
    before = odds @ is_red
    allowed = before / np.maximum(1 - before, 1e-6)
    return np.minimum(allowed * others / np.maximum(reds, 1e-20), 1).clip(1e-12)


def _strength(
    odds: Float32[np.ndarray, "n Q"],
    tilt: Float32[np.ndarray, "n Q"],
    centers: Float[np.ndarray, "Q 2"],
    red: Bool[np.ndarray, "Q"],
) -> np.float32:
    """Return the strength at which the mean color of the pixels changes by the goal on average, or the limit."""
    first = _seen(odds @ centers)
    low, high = 0.0, MOST_LEAN
    for _ in range(6):
        middle = np.float32((low + high) / 2)
        leant = odds * np.exp(middle * tilt)
        leant[:, red] *= _red_factor(odds, middle * tilt, red)[:, None]
        leant /= leant.sum(axis=1, keepdims=True)
        change = float(np.linalg.norm(_seen(leant @ centers) - first, axis=1).mean())
        low, high = (low, float(middle)) if change > GOAL_AB else (float(middle), high)
    return np.float32((low + high) / 2)
