"""What an evaluation looks at: which pictures, at which size, decoded in which ways. docs/evaluation.md has the terms.

photographs  any color photographs, squashed to 256 x 256; every decoder
eccv16       the terms of "Colorful Image Colorization": squashed to 256 x 256, AuC raw and rebalanced; VGG row optional
div2k        full-size pictures, composed at full size; PSNR and SSIM of the regression and the soft head
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np

from training import DataError
from training.data import is_gray
from training.photographs import SUFFIXES
from training.pictures import decode_photograph
from training.scorecard import FALSE_COLORS
from training.ways import ANNEALED, ARGMAX, CALM, DEFAULT, REGRESSION, VIVID

SIDE_PX: Final = 256
"""Pictures are judged at this side, px."""

PHOTOGRAPH_COLUMNS: Final = (
    *("psnr", "ssim", "delta_e", "auc", "auc_rebalanced", "colorfulness_ratio"),
    *(*FALSE_COLORS, "dark_false_red", "speckle", "tvq"),
)


@dataclass(frozen=True)
class Protocol:
    """The terms of an evaluation.

    Attributes:
        name: as on the command line.
        title: what stands on the page.
        side_px: pictures are squashed to this side; None leaves them as they are...
        most_pixels: ...and leaves out those that are larger: judging a pixel takes half a kilobyte.
        ways: names of the ways to decode; None for all of them, and the vividness curve.
        columns: scores of the first table, see `training.scorecard.SCORES`.
    """

    name: str
    title: str
    side_px: int | None = SIDE_PX
    most_pixels: int | None = None
    ways: tuple[str, ...] | None = None
    columns: tuple[str, ...] = PHOTOGRAPH_COLUMNS

    def describe(self, pictures: int, size: int) -> str:
        """Return the terms in one line, for a number of pictures and an inference size, px."""
        shape = f"squashed to {self.side_px}x{self.side_px}" if self.side_px else "at full size"
        return f"{pictures} photographs {shape}, true L, network input {size} px"


PROTOCOLS: Final = MappingProxyType(
    {
        "photographs": Protocol("photographs", "Color photographs"),
        "eccv16": Protocol(
            "eccv16",
            "ECCV16 terms",
            ways=(CALM, DEFAULT, VIVID, REGRESSION, ARGMAX, ANNEALED, "original decode: rebalanced, T=0.38"),
            columns=("auc", "auc_rebalanced", "psnr", "colorfulness_ratio", *FALSE_COLORS),
        ),
        "div2k": Protocol(
            "div2k",
            "DIV2K, full size",
            side_px=None,
            most_pixels=16_000_000,
            ways=(REGRESSION, ANNEALED, ARGMAX, DEFAULT),
            columns=("psnr", "ssim", "delta_e", "auc", "colorfulness_ratio", *FALSE_COLORS),
        ),
    }
)


@dataclass(frozen=True)
class Sample:
    """One photograph to score.

    Attributes:
        name: of its file.
        rgb_u8: sRGB, uint8, (H, W, 3), as the protocol wants it.
    """

    name: str
    rgb_u8: np.ndarray


@dataclass(frozen=True)
class LeftOut:
    """A file that cannot be scored.

    Attributes:
        name: of the file.
        reason: in words.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Label:
    """What somebody said is in a picture.

    Attributes:
        scene: name of its kind of scene; empty where unknown.
        index: its class, as the classifier counts; None where unknown.
    """

    scene: str = ""
    index: int | None = None


def picture_paths(folder: Path) -> list[Path]:
    """Return the pictures of a folder, by name.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def samples(paths: Iterable[Path], protocol: Protocol) -> Iterator[Sample | LeftOut]:
    """Decode pictures one at a time; what cannot be scored comes with the reason.

    Args:
        paths: from `picture_paths`.
        protocol: at which size they are wanted.

    Yields:
        One item a path, in order.
    """
    for path in paths:
        try:
            rgb_u8 = decode_photograph(path.read_bytes())
        except (DataError, OSError) as error:
            yield LeftOut(path.name, str(error))
            continue
        height, width = rgb_u8.shape[:2]
        if protocol.most_pixels is not None and height * width > protocol.most_pixels:
            yield LeftOut(path.name, f"{width} x {height} px: more than {protocol.most_pixels / 1e6:g} megapixels")
        elif is_gray(rgb_u8):
            yield LeftOut(path.name, "it has no color to score against")
        else:
            yield Sample(path.name, squash(rgb_u8, protocol.side_px))


def squash(rgb_u8: np.ndarray, side_px: int | None) -> np.ndarray:
    """Resize RGB, uint8, (H, W, 3), to a square, whatever its proportions; None leaves it as it is."""
    picture = np.ascontiguousarray(rgb_u8)
    if side_px is None:
        return picture
    return cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_AREA)


def read_labels(path: Path) -> dict[str, Label]:
    """Read what is in the pictures: a CSV with the column `file`, and `scene`, `label` or both.

    `file` is the picture's file name, `scene` a word, `label` a class index as the classifier counts (from 0).

    Args:
        path: the CSV file.

    Returns:
        Labels by file name.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a label that is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            if "file" not in columns or not {"scene", "label"} & set(columns):
                raise DataError(f"{path} needs the column file, and scene or label")
            return {
                row["file"]: Label(row.get("scene") or "", int(row["label"]) if row.get("label") else None)
                for row in reader
            }
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
