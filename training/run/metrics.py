"""What is watched in validation, each figure beside what learns nothing and what cannot be passed.

The majority row always answers the training prior: its most frequent bin for top-1, its five most frequent for top-5,
its distribution for KL. The do-nothing row answers gray (ab = 0). The ceiling is an answer that equals the soft label
itself. Accuracy means little without them: raw top-1 stays near the majority rate while everything else improves.

Ties: integer ab often lie equally near to two or more bins; any of them counts as right.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from chroma import signature
from chroma.decoding import argmax_ab, log_softmax
from chroma.soft_encoding import SoftEncodingTable

NEAR: Final = 20.0
"""An ab value this near to the truth counts as right, Lab units."""

NEARER: Final = 10.0
"""...or this near: one bin, Lab units."""

TOP: Final = 5
"""How many guesses top-5 has."""

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
    _calibration: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))

    def add(self, heads: Mapping[str, np.ndarray], ab_target: np.ndarray, scene: np.ndarray) -> None:
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
        best = weight.max(axis=1)
        right = weight >= best[:, None] - _TIE
        self._add_posterior(log_p, index, weight, right)
        self._add_references(index, weight, right)
        self._add_colors(log_p, heads[signature.AB][keep], truth)
        self._pixels += len(truth)
        mode = log_p.argmax(axis=1)
        hit = (np.where(right, index, -1) == mode[:, None]).any(axis=1)
        label_mass = (weight * (index == mode[:, None])).sum(axis=1)
        self._calibrate(np.exp(log_p.max(axis=1)), hit, label_mass)
        self._add("top1", hit)
        known = scene.sum(axis=1) > 0
        guesses = heads[signature.SCENE_LOGITS].argmax(axis=1)
        self._add("scene", guesses[known] == scene[known].argmax(axis=1))
        self._known_scenes += int(known.sum())

    def result(self) -> dict[str, float]:
        """Return every score; RMSE in Lab units, KL in nats, shares in [0, 1]. NaN where nothing was counted."""
        pixels = self._pixels or np.nan
        mean = {name: total / pixels for name, total in self._sums.items() if name != "scene"}
        scores = {name: value for name, value in mean.items() if not name.startswith("squared_")}
        for name in ("mean", "regression", "argmax", "gray"):
            scores[f"rmse_{name}"] = float(np.sqrt(mean[f"squared_{name}"]))
        count, confidence, right, label_mass = self._calibration.T
        scores["confidence"] = confidence.sum() / pixels
        scores["ece"] = float(np.abs(confidence - right).sum() / max(count.sum(), 1))
        scores["ece_labels"] = float(np.abs(confidence - label_mass).sum() / max(count.sum(), 1))
        scores["scene_top1"] = self._sums["scene"] / (self._known_scenes or np.nan)
        return {name: float(value) for name, value in scores.items()}

    def reliability(self) -> list[dict[str, float]]:
        """Return the reliability diagram: one row a confidence bin that has pixels.

        Returns:
            Rows of `pixels` (share of all, in [0, 1]), `confidence` (mean probability of the most probable bin),
            `right` (share of hits) and `label_mass` (mean mass of the soft label on the most probable bin).
        """
        total = self._calibration[:, 0].sum()
        return [
            {
                "pixels": float(count / total),
                "confidence": float(confidence / count),
                "right": float(right / count),
                "label_mass": float(label_mass / count),
            }
            for count, confidence, right, label_mass in self._calibration
            if count
        ]

    def _add_posterior(self, log_p: np.ndarray, index: np.ndarray, weight: np.ndarray, right: np.ndarray) -> None:
        """Score the distributions against the soft labels."""
        entropy = _entropy(weight)
        log_p_near = np.take_along_axis(log_p, index, axis=1)
        cross_entropy = -(weight * log_p_near).sum(axis=1)
        best_right = np.where(right, log_p_near, -np.inf).max(axis=1, keepdims=True)
        self._add("kl", cross_entropy - entropy)
        self._add("cross_entropy", cross_entropy)
        self._add("top5", (log_p > best_right).sum(axis=1) < TOP)
        self._add("soft_accuracy", np.minimum(np.exp(log_p_near), weight).sum(axis=1))

    def _add_references(self, index: np.ndarray, weight: np.ndarray, right: np.ndarray) -> None:
        """Score what learns nothing, and what cannot be passed."""
        log_prior = np.log(self.prior)
        rank = np.empty(len(self.prior), int)
        rank[np.argsort(-self.prior, kind="stable")] = np.arange(len(self.prior))
        best_rank = np.where(right, rank[index], len(rank)).min(axis=1)
        entropy = _entropy(weight)
        self._add("kl_prior", -(weight * log_prior[index]).sum(axis=1) - entropy)
        self._add("top1_majority", best_rank == 0)
        self._add("top5_majority", best_rank < TOP)
        self._add("soft_accuracy_prior", np.minimum(self.prior[index], weight).sum(axis=1))
        self._add("entropy", entropy)
        self._add("largest_mass", weight.max(axis=1))
        self._add("top1_untied", 1 / np.maximum(right.sum(axis=1), 1))

    def _add_colors(self, log_p: np.ndarray, ab: np.ndarray, truth: np.ndarray) -> None:
        """Score the colors that the heads give, in Lab units."""
        posterior_mean = np.exp(log_p) @ self.centers
        distance, gray = _distance(posterior_mean, truth), _distance(0 * truth, truth)
        for name, limit in (("within10", NEARER), ("within20", NEAR)):
            self._add(name, distance < limit)
            self._add(f"{name}_gray", gray < limit)
        self._add("squared_mean", np.square(distance))
        self._add("squared_regression", np.square(ab - truth).sum(axis=1))
        self._add("squared_argmax", np.square(argmax_ab(log_p, self.centers) - truth).sum(axis=1))
        self._add("squared_gray", np.square(truth).sum(axis=1))

    def _add(self, name: str, values: np.ndarray) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + float(np.sum(values, dtype=np.float64))

    def _calibrate(self, confidence: np.ndarray, hit: np.ndarray, label_mass: np.ndarray) -> None:
        if not len(self._calibration):
            self._calibration = np.zeros((self.calibration_bins, 4))
        place = np.minimum((confidence * self.calibration_bins).astype(int), self.calibration_bins - 1)
        for column, values in enumerate((np.ones_like(confidence), confidence, hit, label_mass)):
            self._calibration[:, column] += np.bincount(place, weights=values, minlength=self.calibration_bins)


def posterior_table(scores: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Arrange `ColorScores.result` by who answers.

    Args:
        scores: from `ColorScores.result`.

    Returns:
        Rows `network`, `majority`, `do nothing` and `ceiling`, the last being an answer that equals each pixel's soft
        label: its cross-entropy is the labels' entropy, the floor. `soft_accuracy_hard` is what sure answers reach at
        most, `top1_untied` what someone who knows the exact color reaches when only one of the tied bins counts.
    """
    near = {name: scores[f"{name}_gray"] for name in ("within10", "within20")}
    return {
        "network": {
            name: scores[name]
            for name in (
                *("kl", "cross_entropy", "top1", "top5", "soft_accuracy", "within10", "within20"),
                *("ece", "ece_labels", "confidence", "rmse_mean", "rmse_regression", "rmse_argmax"),
            )
        },
        "majority": {
            "kl": scores["kl_prior"],
            "cross_entropy": scores["kl_prior"] + scores["entropy"],
            "top1": scores["top1_majority"],
            "top5": scores["top5_majority"],
            "soft_accuracy": scores["soft_accuracy_prior"],
        },
        "do nothing": near | {"rmse_mean": scores["rmse_gray"]},
        "ceiling": {
            "kl": 0.0,
            "cross_entropy": scores["entropy"],
            "top1": 1.0,
            "top1_untied": scores["top1_untied"],
            "top5": 1.0,
            "soft_accuracy": 1.0,
            "soft_accuracy_hard": scores["largest_mass"],
            "within10": 1.0,
            "within20": 1.0,
        },
    }


def _entropy(weight: np.ndarray) -> np.ndarray:
    return -(weight * np.log(np.maximum(weight, 1e-12))).sum(axis=1)


def _distance(ab: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(ab - truth).sum(axis=1))
