"""Confidence that means something: how sure the network is of a color, against how often it is right.

The confidence of a pixel is the posterior's mass within 20 Lab units of the color that it answers (the posterior's
mean); the pixel is right when the true color is within 20 Lab units of it. Of the pixels with confidence 0.8, four in
five should be right. A posterior that learned from soft labels is as wide as they are, so its mass is too small: one
temperature, fitted on the validation split by `photochrom-train calibrate`, sharpens it for this purpose alone.

Expected calibration error and temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", 2017.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from chroma.bins import load_centers, squared_distances
from chroma.decoding import softmax
from training.run.metrics import NEAR

TEMPERATURES: Final = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2, 1.35)
"""The fit chooses among these."""

BINS: Final = 10
"""Of the reliability diagram and of the expected calibration error."""


@dataclass
class Reliability:
    """Running sums by bins of confidence; docs/evaluation.md has the definition.

    Attributes:
        temperature: of the posterior whose mass is the confidence.
    """

    temperature: float = 1.0
    _sums: np.ndarray = field(default_factory=lambda: np.zeros((BINS, 3)))

    def add(self, logits: np.ndarray, ab: np.ndarray) -> None:
        """Add pixels.

        Args:
            logits: of the network, float32, (..., Q).
            ab: true, Lab units, (..., 2), as coarse as the network's grid.
        """
        centers = load_centers()
        flat, truth = logits.reshape(-1, len(centers)), ab.reshape(-1, 2)
        answer = softmax(flat) @ centers
        near = squared_distances(answer, centers) < NEAR**2
        confidence = (softmax(flat / np.float32(self.temperature)) * near).sum(axis=1)
        right = np.square(answer - truth).sum(axis=1) < NEAR**2
        place = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
        for column, values in enumerate((np.ones(len(flat)), confidence, right)):
            self._sums[:, column] += np.bincount(place, weights=values, minlength=BINS)

    def ece(self) -> float:
        """Return the expected calibration error: mean of abs(confidence - share of right pixels); 0 without pixels."""
        count, confidence, right = self._sums.T
        return float(np.abs(confidence - right).sum() / max(count.sum(), 1))

    def result(self) -> dict[str, float]:
        """Return `ece`, mean `confidence` and share `right`, each in [0, 1], and the `temperature`."""
        count, confidence, right = self._sums.sum(axis=0)
        pixels = max(count, 1)
        means = {"ece": self.ece(), "confidence": confidence / pixels, "right": right / pixels}
        return {"temperature": self.temperature} | {name: round(float(value), 5) for name, value in means.items()}

    def rows(self) -> list[dict[str, float]]:
        """Return the diagram: `pixels` (share of all), `confidence` and `right` of each bin that has pixels."""
        total = self._sums[:, 0].sum()
        return [
            {
                "pixels": round(float(count / total), 5),
                "confidence": round(float(confidence / count), 5),
                "right": round(float(right / count), 5),
            }
            for count, confidence, right in self._sums
            if count
        ]


def report(plain: Reliability, fitted: Reliability) -> dict[str, object]:
    """Return what a page shows: both errors, and the diagram of the fitted one."""
    return {"rows": {"as it is": plain.result(), "fitted": fitted.result()}, "reliability": fitted.rows()}


def fit(candidates: Mapping[float, Reliability]) -> float:
    """Return the temperature of the least calibration error, the one nearest to 1 where several are equal."""
    return min(candidates, key=lambda value: (round(candidates[value].ece(), 4), abs(np.log(value))))
