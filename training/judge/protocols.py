"""What an evaluation looks at: which pictures, at which size, decoded in which ways. docs/evaluation.md has the terms.

photographs  any color photographs, squashed to 256 x 256; every decoder; the default through old plates, too
plates       scenes with what plates saw of them (`training.judge.plate_scenes`), squashed to 256 x 256
eccv16       the terms of "Colorful Image Colorization": squashed to 256 x 256, AuC raw and rebalanced; VGG row optional
div2k        full-size pictures, composed at full size; PSNR and SSIM of the regression and the soft head
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from chroma.emulsions import EMULSIONS, plate_lightness
from chroma.lab import rgb_u8_to_lightness
from chroma.sectors import Box
from training import DataError
from training.data.photographs import SUFFIXES
from training.data.pictures import decode_photograph
from training.data.samples import is_gray
from training.judge.judging import SIDE_PX, squash
from training.judge.plate_scenes import TRUTH, read_boxes, read_plates
from training.judge.scorecard import FALSE_COLORS, PLATE_COLUMNS
from training.judge.ways import ANNEALED, ARGMAX, CALM, DEFAULT, PLATE_WAYS, REGRESSION, VIVID

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
        columns: scores of the first table, see `training.judge.scorecard.SCORES`.
        has_plates: the folder is one of `training.judge.plate_scenes`.
    """

    name: str
    title: str
    side_px: int | None = SIDE_PX
    most_pixels: int | None = None
    ways: tuple[str, ...] | None = None
    columns: tuple[str, ...] = PHOTOGRAPH_COLUMNS
    has_plates: bool = False

    def describe(self, pictures: int, size: int) -> str:
        """Return the terms in one line, for a number of pictures and an inference size, px."""
        shape = f"squashed to {self.side_px}x{self.side_px}" if self.side_px else "at full size"
        seen = "seen through three plates, the true L put back" if self.has_plates else "true L"
        return f"{pictures} photographs {shape}, {seen}, network input {size} px"

    def paths(self, folder: Path) -> list[Path]:
        """Return the color photographs of a folder, by name.

        Raises:
            DataError: no such folder.
        """
        return picture_paths(folder / TRUTH if self.has_plates else folder)


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
        "plates": Protocol(
            "plates", "Scenes seen through plates", ways=PLATE_WAYS, columns=PLATE_COLUMNS, has_plates=True
        ),
    }
)


@dataclass(frozen=True)
class Sample:
    """One photograph to score.

    Attributes:
        name: of its file.
        rgb_u8: sRGB, uint8, (H, W, 3), as the protocol wants it.
        plates: L of what plates really saw, in [0, 100], float32, (H, W, 1), by plate.
        boxes: drawn round skin.
    """

    name: str
    rgb_u8: np.ndarray
    plates: Mapping[str, np.ndarray] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()

    def through(self, plate: str) -> np.ndarray:
        """Return the L of what a plate saw, float32, (H, W, 1): the real one, or else one of the mean mix."""
        if plate in self.plates:
            return self.plates[plate]
        return plate_lightness(self.rgb_u8, EMULSIONS[plate].mix())


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


def samples(paths: Sequence[Path], protocol: Protocol) -> Iterator[Sample | LeftOut]:
    """Decode pictures one at a time; what cannot be scored comes with the reason.

    Args:
        paths: from `Protocol.paths`.
        protocol: at which size they are wanted.

    Yields:
        One item a path, in order.

    Raises:
        DataError: the boxes beside plates cannot be read.
    """
    boxes = read_boxes(paths[0].parent.parent) if protocol.has_plates and paths else {}
    for path in paths:
        try:
            pictures = read_plates(path) if protocol.has_plates else {TRUTH: decode_photograph(path.read_bytes())}
        except (DataError, OSError) as error:
            yield LeftOut(path.name, str(error))
            continue
        rgb_u8 = pictures.pop(TRUTH)
        height, width = rgb_u8.shape[:2]
        if protocol.most_pixels is not None and height * width > protocol.most_pixels:
            yield LeftOut(path.name, f"{width} x {height} px: more than {protocol.most_pixels / 1e6:g} megapixels")
        elif is_gray(rgb_u8):
            yield LeftOut(path.name, "it has no color to score against")
        else:
            side_px = protocol.side_px
            seen = {plate: rgb_u8_to_lightness(squash(picture, side_px)) for plate, picture in pictures.items()}
            yield Sample(path.name, squash(rgb_u8, side_px), seen, boxes.get(path.stem, ()))


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
