"""Scenes of known color beside what old plates saw of them: a folder of negatives taken through three filters.

truth/NAME.jpg   the registered colors; their L is what a panchromatic plate saw
ortho/NAME.jpg   what an orthochromatic plate saw, of the same size
blue/NAME.jpg    what a plate saw that is sensitive to blue alone
boxes.csv        name (without suffix), sector, x0, y0, x1, y1 (shares of width and height): boxes round skin,
where the sector is `skin`; without the file nobody knows where skin is
"""

import csv
from pathlib import Path
from typing import Final

import numpy as np

from chroma.emulsions import BLUE, ORTHO, PAN
from chroma.sectors import Box, inside_boxes
from training import DataError
from training.data.pictures import decode_photograph

TRUTH: Final = "truth"

BOXES: Final = "boxes.csv"

SKIN: Final = "skin"

SEEN: Final = (ORTHO, BLUE)
"""Plates that have a folder of their own."""

PLATES: Final = (PAN, *SEEN)


def read_plates(truth: Path) -> dict[str, np.ndarray]:
    """Read a scene's colors and what plates saw of them.

    Args:
        truth: file in the folder `truth`.

    Returns:
        sRGB, uint8, (H, W, 3), all of one size: `truth` and, by name, the plates of `SEEN`.

    Raises:
        DataError: a picture is missing or broken, or a plate has another size than the truth.
    """
    pictures = {}
    for name in (TRUTH, *SEEN):
        path = truth.parent.parent / name / truth.name
        try:
            pictures[name] = decode_photograph(path.read_bytes())
        except DataError as error:
            raise DataError(f"{name}/{truth.name}: {error}") from error
        except OSError as error:
            raise DataError(f"{name}/{truth.name}: {error.strerror}") from error
        if pictures[name].shape != pictures[TRUTH].shape:
            raise DataError(f"{name}/{truth.name} has another size than the truth")
    return pictures


def read_boxes(folder: Path) -> dict[str, tuple[Box, ...]]:
    """Read where skin is in the scenes of a folder, by name without suffix; none where there is no `boxes.csv`.

    Raises:
        DataError: the file cannot be read, lacks a column, or holds what is no box.
    """
    path = folder / BOXES
    boxes: dict[str, tuple[Box, ...]] = {}
    if not path.exists():
        return boxes
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                box = Box(*(float(row[edge]) for edge in Box._fields))
                inside_boxes((1, 1), [box])  # for what it refuses
                if row["sector"] == SKIN:
                    boxes[row["name"]] = (*boxes.get(row["name"], ()), box)
    except KeyError as error:
        raise DataError(f"{path} lacks the column {error}") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return boxes
