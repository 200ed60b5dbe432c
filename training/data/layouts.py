"""What lies in a data folder: which photographs, of which split, with which scene and label map. No picture is opened.

Zip shards: ``labels.csv`` beside ``*.zip`` (members ``KEY.jpg`` or as the column ``member`` says, best stored, not
    deflated), see `SHARD_COLUMNS`.
Split folders: ``train2017`` and ``val2017`` of COCO, ``DIV2K_train_HR`` and ``DIV2K_valid_HR`` of DIV2K; also below
    ``images``. Label maps of COCO-Stuff (``NAME.png``, 8 bits: class, 255 = unlabeled) are looked for in
    ``stuffthingmaps``, ``annotations``, and beside the pictures.
Plain folder: every picture below it; a hash of its relative path decides the split, so that it never changes.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from training import DataError
from training.data.shards import SUFFIX as SHARD_SUFFIX
from training.data.tables import read_table

Split = Literal["train", "val", "origin_val"]

SceneColumn = Literal["scene", "scene_coarse"]

LABELS: Final = "labels.csv"

SHARD_COLUMNS: Final = ("key", "shard", "split")
"""What labels.csv must have; it may have scene, scene_coarse, dataset, label_map and member (names in the shard)."""

SPLITS: Final[dict[str, Split]] = {"train": "train", "val": "val", "origin_val": "origin_val"}
"""`origin_val` validates on collections that `train` and `val` have nothing of; only labels.csv can name it."""

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})

SPLIT_FOLDERS: Final[tuple[dict[str, Split], ...]] = (
    {"train2017": "train", "val2017": "val"},
    {"DIV2K_train_HR": "train", "DIV2K_valid_HR": "val"},
)

IMAGE_ROOTS: Final = ("", "images")

LABEL_ROOTS: Final = ("stuffthingmaps", "annotations", "stuffthingmaps_trainval2017")

VALIDATION_SHARE: Final = 0.05
"""Share of a plain folder's pictures that validate."""

ACCEPTED: Final = (
    f"zip shards with {LABELS}, train2017 and val2017 (COCO), DIV2K_train_HR and DIV2K_valid_HR (DIV2K), "
    "or a folder of pictures"
)

UNFINISHED: Final = "prepare.json"
"""`photochrom-train prepare` leaves it in a folder that it has not finished."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One photograph, not read yet.

    Attributes:
        key: its name, unique in the data set.
        container: the zip shard, or the folder it lies in, or the picture file itself.
        member: its name in the shard or folder; empty for a file.
        split: train, val or origin_val.
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


def list_photographs(folder: Path, *, scenes: SceneColumn, validation_share: float | None) -> Iterator[Photograph]:
    """List what a data folder holds, in a fixed order.

    Args:
        folder: the data folder.
        scenes: which label column names the scene.
        validation_share: share of a plain folder's pictures that validate; None for the default.

    Raises:
        DataError: labels that do not fit the shards, a folder that `prepare` has not finished, or a validation share
            for a folder that says itself what validates.
    """
    images, splits = _split_folders(folder)
    if validation_share is not None and (splits or (folder / LABELS).exists()):
        raise DataError(f"{folder} says itself which photographs validate: leave the validation share out")
    if (folder / LABELS).exists():
        return _from_shards(folder, scenes)
    if (folder / UNFINISHED).exists():
        raise DataError(f"`photochrom-train prepare` has not finished {folder}: give its command again")
    if splits:
        return _from_split_folders(folder, images, splits)
    return _from_folder(folder, VALIDATION_SHARE if validation_share is None else validation_share)


def _split_folders(folder: Path) -> tuple[str, dict[str, Split]]:
    """Return where the split folders are (below which folder), and those that are there."""
    for root in IMAGE_ROOTS:
        for names in SPLIT_FOLDERS:
            found = {name: split for name, split in names.items() if (folder / root / name).is_dir()}
            if found:
                return root, found
    return "", {}


def _from_shards(folder: Path, scenes: str) -> Iterator[Photograph]:
    shards: dict[str, Path] = {}
    # Words that return in every row are kept once.
    words: dict[str, str] = {}
    columns = (*SHARD_COLUMNS, scenes, "dataset", "label_map", "member")
    for number, row in read_table(folder / LABELS, columns, SHARD_COLUMNS):
        key, shard, split, scene, dataset, label_map, member = row
        if not key or not shard or not split:
            raise DataError(f"{LABELS}, row {number}: {', '.join(SHARD_COLUMNS)} must not be empty")
        if shard not in shards:
            shards[shard] = folder / shard
            if shards[shard].suffix != SHARD_SUFFIX or not shards[shard].is_file():
                raise DataError(f"{LABELS} names a shard that is not there: {shard}")
        if split not in SPLITS:
            raise DataError(f"{LABELS}: split of {key} is {split!r}, not {' or '.join(SPLITS)}")
        yield Photograph(
            key,
            shards[shard],
            member or f"{key}.jpg",
            SPLITS[split],
            words.setdefault(scene, scene),
            words.setdefault(dataset, dataset),
            label_map,
        )


def _from_split_folders(folder: Path, images: str, splits: dict[str, Split]) -> Iterator[Photograph]:
    for name, split in splits.items():
        root = f"{images}/{name}" if images else name
        pictures = _names(folder / root)
        labels = {}
        for label_root in (*(f"{place}/{name}" for place in LABEL_ROOTS), root):
            stems = {label[:-4] for label in _names(folder / label_root) if label.endswith(".png")}
            if label_root == root:
                # Label maps unpacked among the photographs: a PNG beside a JPEG of the same name.
                stems &= {picture.rpartition(".")[0] for picture in pictures if not picture.endswith(".png")}
                pictures = [picture for picture in pictures if picture[:-4] not in stems or picture[-4:] != ".png"]
            labels |= {stem: label_root for stem in stems if stem not in labels}
        for picture in pictures:
            stem, _, suffix = picture.rpartition(".")
            if f".{suffix.lower()}" in SUFFIXES:
                place = labels.get(stem)
                label_map = f"{place}/{stem}.png" if place else ""
                member = f"{root}/{picture}"
                yield Photograph(member, folder, member, split, "", "", label_map)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error


def _from_folder(folder: Path, validation_share: float) -> Iterator[Photograph]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error

    keys = []
    for place, _, names in os.walk(folder, onerror=refuse):
        below = os.path.relpath(place, folder)
        front = "" if below == "." else below.replace(os.sep, "/") + "/"
        keys += [front + name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES]
    # A folder's pictures stay together, whatever characters sort before the slash.
    keys.sort(key=lambda key: key.split("/"))
    # At least one picture validates, however small the folder.
    limit = max(validation_share, min(map(_rank, keys), default=0.0))
    for key in keys:
        yield Photograph(key, folder, key, "val" if _rank(key) <= limit and len(keys) > 1 else "train", "", "")


def _rank(key: str) -> float:
    """Where a picture stands between 0 and 1, by its name alone."""
    return float(int.from_bytes(hashlib.sha256(os.fsencode(key)).digest()[:8], "big") / 2**64)
