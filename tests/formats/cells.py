"""A cell of the table of formats: one file, and the pixels or the one refusal that must come of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from chroma.lab import gray_to_lightness, rgb_to_lab
from service.errors import RequestError
from service.pictures.decode import Picture, decode
from service.pictures.probe import probe

MOST_LIGHTNESS_APART: Final = 0.3
"""How far a pixel's L may be off where there are 8 bits."""

MOST_AB_APART: Final = 1.0
"""...and its a and b."""

MOST_DEEP_APART: Final = 65_535 / 4096
"""How far a level may be off where there are 16 bits."""


@dataclass(frozen=True)
class Cell:
    """One file.

    Attributes:
        name: of the test: layout and depth, in words joined by hyphens.
        make: writes the file.
        pixels: what it must give: gray (H, W) or RGB (H, W, 3), upright sRGB, uint8 or uint16; None where `refusal` is.
        alpha: opacity (H, W), dtype of the pixels; or None.
        refusal: the error that it must be refused with.
        says: what the refusal's detail must hold.
        page: that is asked for.
    """

    name: str
    make: Callable[[], bytes]
    pixels: np.ndarray | None = None
    alpha: np.ndarray | None = None
    refusal: type[RequestError] | None = None
    says: str = ""
    page: int | None = None


def judge(cell: Cell) -> None:
    """Read a cell's file, and hold it against what it must give.

    Raises:
        AssertionError: something else comes of it.
    """
    data = cell.make()
    if cell.refusal is not None:
        refused = _refusal_of(data, cell.page)
        assert type(refused) is cell.refusal, f"{refused!r} instead of {cell.refusal.__name__}"
        assert cell.says in refused.detail, refused.detail
        return
    picture = decode(data, probe(data, max_megapixels=1, page=cell.page))
    _compare(picture, cell)


def _refusal_of(data: bytes, page: int | None) -> RequestError | None:
    try:
        decode(data, probe(data, max_megapixels=1, page=page))
    except RequestError as error:
        return error
    return None


def _compare(picture: Picture, cell: Cell) -> None:
    expected = cell.pixels
    assert expected is not None
    assert picture.pixels.dtype == expected.dtype
    assert picture.pixels.shape == expected.shape
    if expected.dtype == np.uint16:
        assert _most_apart(picture.pixels, expected) <= MOST_DEEP_APART
    else:
        apart = np.abs(_lab(picture.pixels) - _lab(expected)).reshape(-1, 3).max(0)
        assert apart[0] <= MOST_LIGHTNESS_APART, f"L is up to {apart[0]:.2f} off"
        assert apart[1:].max() <= MOST_AB_APART, f"ab is up to {apart[1:].max():.2f} off"
    if cell.alpha is None:
        assert picture.alpha is None
    else:
        assert picture.alpha is not None
        assert picture.alpha.dtype == cell.alpha.dtype
        assert _most_apart(picture.alpha, cell.alpha) <= (MOST_DEEP_APART if cell.alpha.dtype == np.uint16 else 1)


def _most_apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(np.int64) - other).max())


def _lab(levels: np.ndarray) -> np.ndarray:
    if levels.ndim == 2:
        lightness = gray_to_lightness(levels)
        return np.concatenate([lightness, np.zeros_like(lightness), np.zeros_like(lightness)], axis=-1)
    return rgb_to_lab(levels.astype(np.float32) / 255)
