"""How well the segmentation head does, over the pixels that have a label."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class SegmentationScores:
    """Running counts.

    Attributes:
        classes: of the head.
    """

    classes: int
    _counts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Start at zero."""
        self._counts = np.zeros((self.classes, self.classes), np.int64)

    def add(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch.

        Args:
            logits: (N, h, w, C).
            labels: class index, -1 where there is none, (N, h, w, 1).
        """
        known = (labels[..., 0] >= 0) & (labels[..., 0] < self.classes)
        truth, guess = labels[known][:, 0].astype(int), logits[known].argmax(axis=-1)
        pairs = np.bincount(truth * self.classes + guess, minlength=self.classes**2)
        self._counts += pairs.reshape(self.classes, self.classes)

    def result(self) -> dict[str, float]:
        """Return the share of pixels that are right, and two means over classes: intersection over union, and Dice.

        Both count pixels over all pictures. Classes that neither occur nor are guessed do not count. NaN where there
        are no labels.
        """
        right = np.diag(self._counts)
        union = self._counts.sum(axis=0) + self._counts.sum(axis=1) - right
        total = self._counts.sum()
        overlap = right[union > 0] / union[union > 0]
        return {
            "segmentation_accuracy": float(right.sum() / total) if total else np.nan,
            "segmentation_miou": float(overlap.mean()) if total else np.nan,
            "segmentation_dice": float((2 * overlap / (1 + overlap)).mean()) if total else np.nan,
        }
