"""Where photographs come from: zip shards with labels.csv, or a plain folder. Nothing is decoded or kept here.

Zip shards: a folder of ``*.zip`` (members ``<key>.jpg``, best stored, not deflated) and one ``labels.csv`` with at
least the columns ``key, shard, split``; ``scene``, ``scene_coarse`` and ``dataset`` are used when present.
Plain folder: every picture below it; a hash of its relative path decides the split, so that it never changes.
"""

import csv
import hashlib
import threading
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from training import DataError

Split = Literal["train", "val"]

LABELS: Final = "labels.csv"
SHARD_SUFFIX: Final = ".zip"
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
VALIDATION_SHARE: Final = 0.05
"""Share of a plain folder's pictures that validate."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One photograph, not read yet.

    Attributes:
        key: its name, unique in the data set.
        container: the zip shard, or the folder it lies in, or the picture file itself.
        member: its name in the shard or folder; empty for a file.
        split: train or val.
        scene: name of the scene; empty where unknown.
        dataset: which collection it comes from; empty where unknown.
        label_map: name of its label map in the container; empty where there is none.
        scene_row: its row in the set's `SceneScores`, -1 where it has none.
    """

    key: str
    container: Path
    member: str
    split: Split
    scene: str
    dataset: str
    label_map: str = ""
    scene_row: int = -1


@dataclass(frozen=True, eq=False)
class SceneScores:
    """Class probabilities of many photographs, the largest few of each.

    Attributes:
        scenes: names of the classes.
        index: class of each score, int32, (rows, k); -1 where a row has fewer.
        probability: float32 in [0, 1], (rows, k); 0 where a row has fewer.
    """

    scenes: tuple[str, ...]
    index: np.ndarray
    probability: np.ndarray


class PhotographSet:
    """The photographs of one data folder and the way to their bytes. Safe to read from several threads.

    Attributes:
        photographs: all of them, in a fixed order.
        scenes: names of the scenes that occur (of the scores' classes, where there are scores), sorted; a single
            "unknown" when there are none.
    """

    def __init__(self, photographs: Iterable[Photograph], scores: SceneScores | None = None) -> None:
        self.photographs = tuple(photographs)
        self._scores = scores
        named = {photo.scene for photo in self.photographs} - {""}
        self.scenes = scores.scenes if scores else tuple(sorted(named)) or ("unknown",)
        self._scene_index = {name: index for index, name in enumerate(self.scenes)}
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

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
        index, probability = self._scores.index[photo.scene_row], self._scores.probability[photo.scene_row]
        largest = np.argsort(-probability, kind="stable")[:top_k]
        kept = largest[probability[largest] > 0]
        target[index[kept]] = probability[kept] / probability[kept].sum() if len(kept) else 0
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
            if photo.container.suffix != SHARD_SUFFIX:
                return (photo.container / member).read_bytes() if member else photo.container.read_bytes()
            with self._lock:
                if photo.container not in self._archives:
                    self._archives[photo.container] = zipfile.ZipFile(photo.container)
                return self._archives[photo.container].read(member)
        # A RuntimeError is an encrypted or strangely compressed member, zlib.error and EOFError a damaged one.
        except (OSError, KeyError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{photo.key}: {error}") from error


def open_photographs(folder: Path, *, scenes: Literal["scene", "scene_coarse"] = "scene_coarse") -> PhotographSet:
    """List the photographs of a folder: zip shards if it holds ``labels.csv``, else every picture below it.

    Args:
        folder: the data folder.
        scenes: which label column names the scene.

    Raises:
        DataError: no such folder, nothing in it, or labels that do not fit the shards.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    found = _from_shards(folder, scenes) if (folder / LABELS).exists() else _from_folder(folder)
    if not found:
        raise DataError(f"no photographs in {folder}: neither {LABELS} with zip shards, nor pictures")
    return PhotographSet(found)


def _from_shards(folder: Path, scenes: str) -> list[Photograph]:
    needed = ("key", "shard", "split")
    try:
        with (folder / LABELS).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = set(needed) - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{LABELS} lacks the columns {', '.join(sorted(missing))}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{LABELS} cannot be read: {error}") from error
    for place, row in enumerate(rows, 2):
        if not all(row[column] for column in needed):
            raise DataError(f"{LABELS}, row {place}: {', '.join(needed)} must not be empty")
    absent = sorted(name for name in {row["shard"] for row in rows} if not (folder / name).is_file())
    if absent:
        raise DataError(f"{LABELS} names shards that are not there: {', '.join(absent[:3])}")
    found = []
    for row in rows:
        if row["split"] not in ("train", "val"):
            raise DataError(f"{LABELS}: split of {row['key']} is {row['split']!r}, not train or val")
        split: Split = "train" if row["split"] == "train" else "val"
        found.append(
            Photograph(
                row["key"],
                folder / row["shard"],
                f"{row['key']}.jpg",
                split,
                row.get(scenes) or "",
                row.get("dataset") or "",
            )
        )
    return found


def _from_folder(folder: Path) -> list[Photograph]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    keys = [path.relative_to(folder).as_posix() for path in paths]
    ranks = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64 for key in keys]
    # At least one picture validates, however small the folder.
    limit = max(VALIDATION_SHARE, min(ranks, default=0.0))
    return [
        Photograph(key, folder, key, "val" if rank <= limit and len(keys) > 1 else "train", "", "")
        for key, rank in zip(keys, ranks, strict=True)
    ]
