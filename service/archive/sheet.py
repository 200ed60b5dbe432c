"""Pictures side by side on one sheet: gray, ours, and the truth where the file has color."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from chroma.compose import compose_u8
from service.engine.colorizer import colorize, prepare
from service.engine.options import Options
from service.engine.session import Session
from service.pictures.decode import Picture
from service.pictures.levels import to_8_bits
from service.pictures.probe import MAX_SIDE_PX

GAP_PX: Final = 8

TEXT_PX: Final = 14

LINE_PX: Final = 22

MAX_SHEET_PIXELS: Final = 100_000_000
"""A larger sheet is neither looked at nor held in memory with ease."""

PAPER: Final = (255, 255, 255)

INK: Final = (40, 40, 40)

Cell = UInt8[np.ndarray, "h w 3"]


class SheetTooLarge(ValueError):
    """The pictures do not fit on one sheet; the text says what to do."""


@dataclass(frozen=True, eq=False)
class Strip:
    """One picture's place on the sheet.

    Attributes:
        name: what is written below.
        cells: sRGB, uint8, each (h, w, 3); as many as titles or fewer.
    """

    name: str
    cells: tuple[Cell, ...]


def compare(picture: Picture, ways: Sequence[Options], session: Session, *, name: str, cell_px: int) -> Strip:
    """Color a picture at its full size, and shrink what comes out.

    Args:
        picture: gray or color.
        ways: how to color, one cell each.
        session: the loaded model.
        name: what is written below.
        cell_px: longest side of a cell, px.

    Returns:
        Gray, each way, and last the picture itself where it has color.
    """
    L = prepare(picture, ways[0], session.stamp).L
    cells = [compose_u8(L[:], np.zeros((1, 1, 2), np.float32))]
    cells += [colorize(picture, way, session, deep=False, workers=session.threads).rgb for way in ways]
    if picture.pixels.ndim == 3:
        cells.append(to_8_bits(picture.pixels) if picture.is_deep else picture.pixels)
    return Strip(name, tuple(_shrink(cell, cell_px) for cell in cells))


def _shrink(rgb: Cell, cell_px: int) -> Cell:
    height, width = rgb.shape[:2]
    scale = min(1.0, cell_px / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return rgb if scale == 1 else np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def draw_sheet(
    strips: Sequence[Strip], titles: Sequence[str], *, cell_px: int, columns: int = 0
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw strips below and beside each other, with titles on top.

    Args:
        strips: at least one.
        titles: what the cells show, in order.
        cell_px: longest side of a cell, px.
        columns: strips side by side; 0 chooses so that the sheet is about as wide as high.

    Returns:
        The sheet, sRGB, uint8, shape (H, W, 3).

    Raises:
        SheetTooLarge: more pixels than a sheet may have, or a longer side than a picture may have.
    """
    width = len(titles) * (cell_px + GAP_PX) + GAP_PX
    heights = [max(cell.shape[0] for cell in strip.cells) + GAP_PX + LINE_PX for strip in strips]
    columns = min(columns or max(1, round(math.sqrt(sum(heights) / width))), len(strips))
    rows = [range(start, min(start + columns, len(strips))) for start in range(0, len(strips), columns)]
    tops = np.cumsum([LINE_PX + GAP_PX, *(max(heights[index] for index in row) for row in rows)])
    size = columns * width, int(tops[-1])
    if size[0] * size[1] > MAX_SHEET_PIXELS or max(size) > MAX_SIDE_PX:
        raise SheetTooLarge(
            f"{len(strips)} pictures would give a sheet of {size[0]} x {size[1]} px: name fewer, or smaller cells"
        )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT_PX)
    for column in range(columns):
        for index, title in enumerate(titles):
            draw.text((column * width + GAP_PX + index * (cell_px + GAP_PX), GAP_PX), title, INK, font)
    for row, top in zip(rows, tops[:-1].tolist(), strict=True):
        for column, number in enumerate(row):
            strip, left = strips[number], column * width + GAP_PX
            for index, cell in enumerate(strip.cells):
                sheet.paste(Image.fromarray(np.ascontiguousarray(cell)), (left + index * (cell_px + GAP_PX), top))
            below = top + max(cell.shape[0] for cell in strip.cells) + 2
            draw.text((left, below), _fit(strip.name, font, width - GAP_PX), INK, font)
    return np.asarray(sheet)


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut off the front of a name that is too long; its end says more."""
    text = text.replace("\n", " ")
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("..." + text) > width:
        text = text[1:]
    return "..." + text
