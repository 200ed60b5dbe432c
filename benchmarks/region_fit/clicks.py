"""Things in photographs, and the clicks of a person who marks one: at its center, then where the error is largest."""

from dataclasses import dataclass

import cv2
import numpy as np

from chroma.regions import Ground, Mark


@dataclass(frozen=True, eq=False)
class Thing:
    """An object of a photograph.

    Attributes:
        name: of the photograph.
        ground: of it.
        mask: on the ground's grid.
        logits: over the ab bins, (n, m, Q).
    """

    name: str
    ground: Ground
    mask: np.ndarray
    logits: np.ndarray


def click(place: np.ndarray, *, takes_away: bool) -> Mark:
    """Return a click at the inner center of a place."""
    inner = cv2.distanceTransform(np.pad(place.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(inner.argmax(), inner.shape)
    point = ((column + 0.5) / place.shape[1], (row + 0.5) / place.shape[0])
    return Mark((point,), 0.0, takes_away)


def next_click(mask: np.ndarray, found: np.ndarray) -> Mark | None:
    """Return a click at the inner center of the largest error, if there is one."""
    best, most = None, 0
    for error, takes_away in ((mask & ~found, False), (found & ~mask, True)):
        count, labels, facts, _ = cv2.connectedComponentsWithStats(error.astype(np.uint8), connectivity=4)
        if count > 1:
            label = 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
            if facts[label, cv2.CC_STAT_AREA] > most:
                best, most = click(labels == label, takes_away=takes_away), int(facts[label, cv2.CC_STAT_AREA])
    return best


def overlap(mask: np.ndarray, found: np.ndarray) -> float:
    """Return intersection over union."""
    return float((mask & found).sum() / max((mask | found).sum(), 1))
