"""The sets of pictures: a folder of photographs, a data folder's `origin_val`, plates with a truth, old photographs."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from chroma.compose import compose_u8
from chroma.emulsions import PAN
from chroma.lab import rgb_u8_to_lightness
from chroma.sectors import Box
from training import DataError
from training.data.photographs import SUFFIXES, open_photographs
from training.data.pictures import decode_photograph
from training.data.samples import is_gray
from training.judge.judging import squash
from training.judge.plate_scenes import PLATES, TRUTH, read_boxes, read_plates

KODAK: Final = "kodak_*"


@dataclass(frozen=True)
class Photo:
    """A color photograph to score against.

    Attributes:
        name: of the file.
        group: what it is scored with beside the whole set; may be empty.
        rgb_u8: sRGB, uint8, (H, W, 3); 256 x 256 px but for Kodak's.
        boxes: drawn round skin; empty where nobody has drawn them.
    """

    name: str
    group: str
    rgb_u8: np.ndarray
    boxes: tuple[Box, ...] = ()


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
        folder: in any layout of `training.data.layouts` that names this split.
        every: take only one in so many.

    Raises:
        RuntimeError: no such photographs, or one of them cannot be read.
    """
    try:
        found = open_photographs(folder)
        # Shard by shard: the archives are read from front to back.
        for photo in sorted(found.split("origin_val")[::every], key=lambda photo: photo.container):
            yield Photo(photo.key, photo.dataset, squash(decode_photograph(found.read(photo))))
    except DataError as error:
        raise RuntimeError(f"{folder}: {error}") from error


def plates(folder: Path) -> Iterator[tuple[Photo, dict[str, np.ndarray]]]:
    """Yield scenes of known color with what each plate saw of them: uint8, (256, 256), by plate.

    Args:
        folder: as `training.judge.plate_scenes` describes it.

    Raises:
        OSError: there is no such folder.
        RuntimeError: a box or a picture is missing or broken.
    """
    try:
        boxes = read_boxes(folder)
        for path in sorted((folder / TRUTH).iterdir()):
            scene = {name: squash(rgb_u8) for name, rgb_u8 in read_plates(path).items()}
            seen = {plate: to_gray(scene[TRUTH if plate == PAN else plate]) for plate in PLATES}
            yield Photo(path.name, "", scene[TRUTH], boxes.get(path.stem, ())), seen
    except DataError as error:
        raise RuntimeError(f"{folder}: {error}") from error
