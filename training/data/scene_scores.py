"""Class probabilities of photographs: scenes.csv, and what of it is kept in memory.

scenes.csv has the columns ``key, scene, probability``, one row a photograph and class, the rows of a photograph one
after the other; classes that are left out count as 0. The largest `KEPT` of each photograph are used.
"""

import heapq
import itertools
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from training import DataError
from training.data.tables import read_table

SCENES: Final = "scenes.csv"

COLUMNS: Final = ("key", "scene", "probability")

KEPT: Final = 10
"""So many of the largest probabilities of a photograph are used; the recipe's `scene_top_k` may take fewer."""


@dataclass(frozen=True, eq=False)
class SceneScores:
    """Class probabilities of many photographs, the largest few of each.

    Attributes:
        scenes: names of the classes, sorted.
        index: class of each score, int16, (rows, k); -1 where a row has fewer.
        probability: float32 in [0, 1], (rows, k), the largest first; 0 where a row has fewer.
    """

    scenes: tuple[str, ...]
    index: np.ndarray
    probability: np.ndarray

    def pairs(self, row: int) -> list[tuple[str, float]]:
        """Return class names and probabilities of a row, the largest first."""
        found = zip(self.index[row].tolist(), self.probability[row].tolist(), strict=True)
        return [(self.scenes[index], probability) for index, probability in found if index >= 0]


def load_scores(path: Path) -> tuple[SceneScores, dict[str, int]]:
    """Read scenes.csv.

    Returns:
        The scores, and the row of each key.

    Raises:
        DataError: not such a file, a probability outside [0, 1], or the rows of a photograph lie apart.
    """
    names: dict[str, int] = {}
    rows: dict[str, int] = {}
    index, probability = array("i"), array("f")
    for key, group in itertools.groupby(_rows(path), key=lambda row: row[0]):
        if key in rows:
            raise DataError(f"{path.name}: the rows of {key} lie apart")
        rows[key] = len(rows)
        scores = heapq.nlargest(KEPT, ((value, names.setdefault(scene, len(names))) for _, scene, value in group))
        rest = KEPT - len(scores)
        index.extend([place for _, place in scores] + [-1] * rest)
        probability.extend([value for value, _ in scores] + [0.0] * rest)
    if not rows:
        raise DataError(f"{path.name} has no rows")
    order = sorted(names)
    place_of = np.zeros(len(names) + 1, np.int16)
    place_of[[names[name] for name in order]] = np.arange(len(order))
    place_of[-1] = -1
    table = place_of[np.frombuffer(index, np.int32)].reshape(-1, KEPT)
    used = int((table >= 0).sum(axis=1).max())
    values = np.frombuffer(probability, np.float32).reshape(-1, KEPT)
    # Copies: views would keep the columns that nobody uses.
    return SceneScores(tuple(order), table[:, :used].copy(), values[:, :used].copy()), rows


def _rows(path: Path) -> Iterator[tuple[str, str, float]]:
    for number, (key, scene, value) in read_table(path, COLUMNS, COLUMNS):
        try:
            chance = float(value)
        except ValueError:
            raise DataError(f"{path.name}, row {number}: not a key, a scene and a probability") from None
        if not key or not scene or math.isnan(chance) or not 0 <= chance <= 1:
            raise DataError(f"{path.name}, row {number}: needs a key, a scene and a probability in [0, 1]")
        yield key, scene, chance


def score_rows(key: str, pairs: Iterable[tuple[str, float]]) -> list[tuple[str, str, str]]:
    """Return a photograph's rows of scenes.csv, the largest `KEPT` probabilities first."""
    largest = heapq.nlargest(KEPT, pairs, key=lambda pair: pair[1])
    return [(key, scene, f"{probability:.5g}") for scene, probability in largest if probability > 0]
