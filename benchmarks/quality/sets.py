"""The sets of pictures: a folder of photographs, a data folder's `origin_val`, plates with a truth, old photographs."""

import csv
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from chroma.compose import compose_u8
from chroma.lab import rgb_u8_to_lightness
from chroma.sectors import Box, inside_boxes
from training import DataError
from training.data import is_gray
from training.photographs import SUFFIXES
from training.pictures import decode_photograph

SIDE_PX: Final = 256
"""As `training.protocols.SIDE_PX`, whose module needs the network's libraries."""
ORIGIN_SPLIT: Final = "origin_val"
PLATES: Final = ("pan", "ortho", "blue")
"""What a plate is sensitive to: all light (the truth's L), blue and green, blue alone."""
BOXES: Final = "boxes.csv"
KODAK: Final = "kodak_*"


@dataclass(frozen=True)
class Photo:
    """A color photograph to score against.

    Attributes:
        name: of the file.
        group: what it is scored with beside the whole set; may be empty.
        rgb_u8: sRGB, uint8, (H, W, 3); 256 x 256 px but for Kodak's.
        inside: where people are, (H, W); None where nobody has drawn it.
    """

    name: str
    group: str
    rgb_u8: np.ndarray
    inside: np.ndarray | None = None


def squash(rgb_u8: np.ndarray) -> np.ndarray:
    """Resize RGB, uint8, (H, W, 3), to the square that is judged."""
    return cv2.resize(np.ascontiguousarray(rgb_u8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def to_gray(rgb_u8: np.ndarray) -> np.ndarray:
    """Return the gray picture of the same L, 8 bits: uint8, (H, W), from RGB, uint8, (H, W, 3)."""
    return compose_u8(rgb_u8_to_lightness(rgb_u8), np.zeros((1, 1, 2), np.float32))[..., 0]


def photographs(folder: Path) -> Iterator[Photo]:
    """Yield every color photograph of a folder, by name."""
    for name, rgb_u8 in pictures(folder):
        if is_gray(rgb_u8):
            sys.stderr.write(f"{name} is left out: it has no color to score against\n")
        else:
            yield Photo(name, "", squash(rgb_u8))


def kodak_photographs(folder: Path) -> Iterator[Photo]:
    """Yield those photographs of a folder that are named `kodak_*`, by name, in their own size."""
    for name, rgb_u8 in pictures(folder, KODAK):
        yield Photo(name, "", rgb_u8)


def pictures(folder: Path, pattern: str = "*") -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and RGB, uint8, of every picture of a folder whose name fits a pattern, by name."""
    for path in sorted(folder.glob(pattern)):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        try:
            yield path.name, decode_photograph(path.read_bytes())
        except (DataError, OSError) as error:
            sys.stderr.write(f"{path.name} is left out: {error}\n")


def origin_photographs(folder: Path, every: int = 1) -> Iterator[Photo]:
    """Yield the photographs of the split `origin_val` of a data folder, in groups by data set.

    Args:
        folder: `labels.csv` (columns key, shard, split, dataset, and member where it is not `<key>.jpg`) and the zip
            shards that it names.
        every: take each so manieth only.

    Raises:
        OSError: a file is missing.
        RuntimeError: a column or a member is missing, or a member is no picture.
    """
    try:
        with (folder / "labels.csv").open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["split"] == ORIGIN_SPLIT][::every]
        for shard in sorted({row["shard"] for row in rows}):
            with zipfile.ZipFile(folder / shard) as archive:
                for row in rows:
                    if row["shard"] == shard:
                        rgb_u8 = decode_photograph(archive.read(row.get("member") or f"{row['key']}.jpg"))
                        yield Photo(row["key"], row["dataset"], squash(rgb_u8))
    except (KeyError, DataError, zipfile.BadZipFile) as error:
        raise RuntimeError(f"{folder}: {error}") from error


def plates(folder: Path) -> Iterator[tuple[Photo, dict[str, np.ndarray]]]:
    """Yield scenes of known color with what each plate saw of them: uint8, (256, 256), by plate.

    Args:
        folder: `truth/`, `ortho/` and `blue/` with pictures of the same names, and `boxes.csv` (name without suffix,
            sector, and x0, y0, x1, y1 as shares of width and height) with boxes round what is skin.

    Raises:
        OSError: a file is missing.
        RuntimeError: a box or a picture is broken.
    """
    try:
        boxes = skin_boxes(folder / BOXES)
        for path in sorted((folder / "truth").iterdir()):
            rgb_u8 = squash(decode_photograph(path.read_bytes()))
            seen = {
                plate: to_gray(squash(decode_photograph((folder / plate / path.name).read_bytes())))
                for plate in PLATES[1:]
            }
            inside = inside_boxes((SIDE_PX, SIDE_PX), boxes[path.stem])
            yield Photo(path.name, "", rgb_u8, inside), {PLATES[0]: to_gray(rgb_u8)} | seen
    except (KeyError, ValueError, DataError) as error:
        raise RuntimeError(f"{folder}: {error}") from error


def skin_boxes(path: Path) -> dict[str, list[Box]]:
    """Read the boxes of skin, by name of the picture; names that have none give an empty list."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["sector"] == "skin":
                boxes[row["name"]].append(Box(*(float(row[edge]) for edge in Box._fields)))
    return boxes
