"""What is watched in validation, each figure beside the rows of two colorizers that learn nothing.

The majority row always answers the training prior: its most frequent bin for top-1, its distribution for KL. The
do-nothing row answers gray (ab = 0). Accuracy means little without them: raw top-1 stays near the majority rate while
everything else improves.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from chroma import signature
from chroma.decoding import argmax_ab, log_softmax
from chroma.soft_encoding import SoftEncodingTable

NEAR: Final = 20.0
"""An ab value this near to the truth counts as right, Lab units."""
_TIE: Final = 1e-9


@dataclass
class ColorScores:
    """Running sums over validation pixels; gray pictures do not count.

    Attributes:
        table: soft encoding of the targets.
        centers: bin centers in Lab units, (Q, 2).
        prior: the training prior, (Q,), smoothed so that no bin is zero.
        calibration_bins: number of bins of the expected calibration error.
    """

    table: SoftEncodingTable
    centers: np.ndarray
    prior: np.ndarray
    calibration_bins: int = 15
    _sums: dict[str, float] = field(default_factory=dict)
    _pixels: float = 0
    _known_scenes: int = 0
    _calibration: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    def add(self, heads: dict[str, np.ndarray], ab_target: np.ndarray, scene: np.ndarray) -> None:
        """Add a batch.

        Args:
            heads: ab_logits (N, h, w, Q), ab (N, h, w, 2), scene_logits (N, S).
            ab_target: a, b, weight, (N, h, w, 3).
            scene: class probabilities, (N, S); a row of zeros where the scene is unknown.
        """
        keep = ab_target[..., 2] > 0
        truth = ab_target[keep][:, :2]
        log_p = log_softmax(heads[signature.AB_LOGITS][keep].astype(np.float32))
        index, weight = self.table.encode(truth)
        best = weight.max(axis=1, keepdims=True)
        right_bins = np.where(weight >= best - _TIE, index, -1)
        log_prior = np.log(self.prior)
        majority = int(self.prior.argmax())
        posterior_mean = np.exp(log_p) @ self.centers
        mode = log_p.argmax(axis=1)
        entropy = -(weight * np.log(np.maximum(weight, 1e-12))).sum(axis=1)
        hit = (right_bins == mode[:, None]).any(axis=1)
        self._add("kl", -(weight * np.take_along_axis(log_p, index, axis=1)).sum(axis=1) - entropy)
        self._add("kl_prior", -(weight * log_prior[index]).sum(axis=1) - entropy)
        self._add("top1", hit)
        self._add("top1_majority", (right_bins == majority).any(axis=1))
        self._add("soft_accuracy", np.minimum(np.exp(np.take_along_axis(log_p, index, axis=1)), weight).sum(axis=1))
        self._add("within20", _distance(posterior_mean, truth) < NEAR)
        self._add("within20_gray", _distance(0 * truth, truth) < NEAR)
        self._add("squared_mean", np.square(posterior_mean - truth).sum(axis=1))
        self._add("squared_regression", np.square(heads[signature.AB][keep] - truth).sum(axis=1))
        self._add("squared_argmax", np.square(argmax_ab(log_p, self.centers) - truth).sum(axis=1))
        self._add("squared_gray", np.square(truth).sum(axis=1))
        self._pixels += len(truth)
        self._calibrate(np.exp(log_p.max(axis=1)), hit)
        scenes = heads[signature.SCENE_LOGITS].shape[1]
        if scene.shape[1] == 1 < scenes:  # class indices, -1 where unknown
            scene = (scene == np.arange(scenes)).astype(np.float32)
        known = scene.sum(axis=1) > 0
        guesses = heads[signature.SCENE_LOGITS].argmax(axis=1)
        self._add("scene", guesses[known] == scene[known].argmax(axis=1))
        self._known_scenes += int(known.sum())

    def result(self) -> dict[str, float]:
        """Return every score; RMSE in Lab units, KL in nats, shares in [0, 1]. NaN where nothing was counted."""
        pixels = self._pixels or np.nan
        mean = {name: total / pixels for name, total in self._sums.items()}
        scores = {name: mean[name] for name in ("kl", "kl_prior", "top1", "top1_majority", "soft_accuracy")}
        scores |= {name: mean[name] for name in ("within20", "within20_gray")}
        for name in ("mean", "regression", "argmax", "gray"):
            scores[f"rmse_{name}"] = float(np.sqrt(mean[f"squared_{name}"]))
        count, confidence, right = self._calibration.T
        scores["ece"] = float(np.abs(confidence - right).sum() / max(count.sum(), 1))
        scores["scene_top1"] = self._sums["scene"] / (self._known_scenes or np.nan)
        return {name: float(value) for name, value in scores.items()}

    def _add(self, name: str, values: np.ndarray) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + float(np.sum(values, dtype=np.float64))

    def _calibrate(self, confidence: np.ndarray, hit: np.ndarray) -> None:
        if not len(self._calibration):
            self._calibration = np.zeros((self.calibration_bins, 3))
        place = np.minimum((confidence * self.calibration_bins).astype(int), self.calibration_bins - 1)
        for column, values in enumerate((np.ones_like(confidence), confidence, hit)):
            self._calibration[:, column] += np.bincount(place, weights=values, minlength=self.calibration_bins)


def _distance(ab: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(ab - truth).sum(axis=1))
