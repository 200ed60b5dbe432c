"""A data set's photographs and the way to their bytes; `training.data.layouts` says what a data folder may look like.

Nothing is decoded or kept here. A listed photograph takes about 270 bytes, 350 with a label map, and 30 more once its
shard was read from.
"""

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from training import DataError
from training.data.layouts import (
    ACCEPTED,
    LABELS,
    SUFFIXES,
    VALIDATION_SHARE,
    Photograph,
    SceneColumn,
    Split,
    list_photographs,
)
from training.data.scene_scores import SCENES, SceneScores, load_scores
from training.data.shards import SUFFIX as SHARD_SUFFIX
from training.data.shards import ShardPool

__all__ = [
    "LABELS",
    "SUFFIXES",
    "VALIDATION_SHARE",
    "Photograph",
    "PhotographSet",
    "SceneScores",
    "Split",
    "open_photographs",
]


class PhotographSet:
    """The photographs of one data folder and the way to their bytes. Safe to read from several threads.

    Attributes:
        photographs: all of them, in a fixed order.
        scenes: names of the scenes, sorted: the classes of the scores where there are scores, else those that occur;
            a single "unknown" when there are none.
        folder: the data folder; None where they were put together by hand.
    """

    def __init__(
        self, photographs: Iterable[Photograph], scores: SceneScores | None = None, folder: Path | None = None
    ) -> None:
        self.photographs = tuple(photographs)
        self.folder = folder
        self._scores = scores
        named = {photo.scene for photo in self.photographs} - {""}
        self.scenes = scores.scenes if scores else tuple(sorted(named)) or ("unknown",)
        self._scene_index = {name: index for index, name in enumerate(self.scenes)}
        self._shards = ShardPool()

    def has(self, split: Split) -> bool:
        """Whether there is a photograph in a split."""
        return any(photo.split == split for photo in self.photographs)

    def split(self, split: Split, *, repeat: Mapping[str, int] | None = None) -> tuple[Photograph, ...]:
        """Return one split, each data set's photographs as often as `repeat` says (once by default).

        Raises:
            DataError: the split is empty.
        """
        times = repeat or {}
        chosen = tuple(p for p in self.photographs if p.split == split for _ in range(times.get(p.dataset, 1)))
        if not chosen:
            raise DataError(f"no photographs in the {split} split")
        return chosen

    def scene_index(self, photo: Photograph) -> int:
        """Return the index of the photograph's scene, or -1 where it is unknown."""
        return self._scene_index.get(photo.scene, -1)

    def scene_pairs(self, photo: Photograph) -> list[tuple[str, float]]:
        """Return names and probabilities of a photograph's scenes, the largest first; empty where there are none."""
        return [] if self._scores is None or photo.scene_row < 0 else self._scores.pairs(photo.scene_row)

    def scene_target(self, photo: Photograph, *, top_k: int) -> np.ndarray:
        """Return what the scene head learns of a photograph.

        Args:
            photo: one of the set's photographs.
            top_k: how many of the largest probabilities are kept; they are made to sum to 1.

        Returns:
            Probability of each scene, float32, (scenes,); all 0 where the scene is unknown.
        """
        target = np.zeros(len(self.scenes), np.float32)
        if self._scores is None or photo.scene_row < 0:
            index = self.scene_index(photo)
            if index >= 0:
                target[index] = 1
            return target
        kept, shares = self._scores.index[photo.scene_row, :top_k], self._scores.probability[photo.scene_row, :top_k]
        total = shares.sum()
        if total > 0:
            target[kept[shares > 0]] = shares[shares > 0] / total
        return target

    def read(self, photo: Photograph) -> bytes:
        """Return the encoded picture.

        Raises:
            DataError: the file or the shard's member cannot be read.
        """
        return self._read(photo, photo.member)

    def read_label_map(self, photo: Photograph) -> bytes:
        """Return the encoded label map.

        Raises:
            DataError: there is none, or it cannot be read.
        """
        if not photo.label_map:
            raise DataError(f"{photo.key}: no label map")
        return self._read(photo, photo.label_map)

    def _read(self, photo: Photograph, member: str) -> bytes:
        try:
            if not member:
                return photo.container.read_bytes()
            # A folder may well be called a.zip.
            if photo.container.suffix == SHARD_SUFFIX and photo.container != self.folder:
                return self._shards.read(photo.container, member)
            return (photo.container / member).read_bytes()
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            reason = error.args[0] if isinstance(error, KeyError) else error
            raise DataError(f"{photo.key}: {reason}") from error


def open_photographs(
    folder: Path, *, scenes: SceneColumn = "scene_coarse", validation_share: float | None = None
) -> PhotographSet:
    """List the photographs of a folder in any layout of `training.data.layouts`, with scenes.csv where it has one.

    Args:
        folder: the data folder.
        scenes: which label column names the scene; scenes.csv is preferred to both.
        validation_share: share of a plain folder's pictures that validate; None for the default.

    Raises:
        DataError: no such folder, nothing in it, or labels that do not fit the photographs.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    scores, rows = load_scores(folder / SCENES) if (folder / SCENES).exists() else (None, {})
    listed = list_photographs(folder, scenes=scenes, validation_share=validation_share)
    found = PhotographSet((_with_scores(photo, rows) for photo in listed), scores, folder)
    if not found.photographs:
        raise DataError(f"no photographs in {folder}. What can be read: {ACCEPTED}")
    if rows and all(photo.scene_row < 0 for photo in found.photographs):
        raise DataError(f"{SCENES} names none of the photographs; a key looks like {found.photographs[0].key}")
    return found


def _with_scores(photo: Photograph, rows: Mapping[str, int]) -> Photograph:
    row = rows.get(photo.key, -1)
    return photo if row < 0 else replace(photo, scene_row=row)
