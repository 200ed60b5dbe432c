"""service.archive.sheet: each picture in its place."""

import numpy as np
import pytest

from service.archive.sheet import GAP_PX, LINE_PX, SheetTooLarge, Strip, compare, draw_sheet
from service.engine.options import Options
from service.engine.session import Session
from service.pictures.decode import Picture
from tests.pictures import levels, smooth_gray


def flat(color: tuple[int, int, int], height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def test_a_gray_picture_has_no_original(session: Session) -> None:
    gray = smooth_gray(40, 60)
    strip = compare(Picture(gray), [Options(vividness=0.0), Options(vividness=1.0)], session, name="a", cell_px=100)
    assert [cell.shape for cell in strip.cells] == [(40, 60, 3)] * 3
    np.testing.assert_array_equal(strip.cells[0], np.dstack([gray] * 3))
    assert not np.array_equal(strip.cells[1], strip.cells[2])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_color_picture_comes_last_as_it_was(session: Session, dtype: type) -> None:
    color = levels(10, 12, 3, dtype=dtype)
    strip = compare(Picture(color), [Options()], session, name="a", cell_px=100)
    gray, ours, original = strip.cells
    np.testing.assert_array_equal(original, color if dtype is np.uint8 else np.rint(color / 257).astype(np.uint8))
    assert np.ptp(gray.astype(int), axis=2).max() <= 1
    assert np.ptp(ours.astype(int), axis=2).max() > 10


def test_large_pictures_shrink_and_small_ones_stay(session: Session) -> None:
    for shape, small in (((100, 400), (16, 64)), ((400, 100), (64, 16)), ((1, 500), (1, 64)), ((8, 9), (8, 9))):
        strip = compare(Picture(smooth_gray(*shape)), [Options()], session, name="a", cell_px=64)
        assert [cell.shape[:2] for cell in strip.cells] == [small, small]


def test_cells_lie_side_by_side_below_their_titles() -> None:
    red, green, blue = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    strips = [Strip("first", (flat(red), flat(green))), Strip("second", (flat(blue), flat(red)))]
    sheet = draw_sheet(strips, ["one", "two"], cell_px=30, columns=1)
    top, step = LINE_PX + GAP_PX, 20 + GAP_PX + LINE_PX
    assert sheet.shape == (top + 2 * step, 2 * 30 + 3 * GAP_PX, 3)
    for row, column, color in ((0, 0, red), (0, 1, green), (1, 0, blue), (1, 1, red)):
        y, x = top + row * step, GAP_PX + column * (30 + GAP_PX)
        assert (sheet[y : y + 20, x : x + 30] == color).all()
    assert (sheet[:top] < 200).any(), "titles"
    assert (sheet[top + 20 : top + step] < 200).any(), "the name"


def test_many_strips_make_a_sheet_about_as_wide_as_high() -> None:
    strips = [Strip(str(number), (flat((9, 9, 9), 60, 60),) * 3) for number in range(50)]
    height, width, _ = draw_sheet(strips, ["a", "b", "c"], cell_px=60).shape
    assert 0.5 < height / width < 2


def test_a_long_name_stays_in_its_strip() -> None:
    strip = Strip("folder/" * 50 + "end.jpg", (flat((200, 200, 200)),))
    assert draw_sheet([strip] * 2, ["a"], cell_px=60, columns=2).shape[1] == 2 * (60 + 2 * GAP_PX)


def test_a_sheet_has_an_end() -> None:
    strips = [Strip("a", (flat((0, 0, 0), 1000, 1000),))] * 120
    with pytest.raises(SheetTooLarge, match="120 pictures"):
        draw_sheet(strips, ["a"], cell_px=1000)
    with pytest.raises(SheetTooLarge):
        draw_sheet([Strip("a", (flat((0, 0, 0), 40, 40),))] * 1000, ["a"], cell_px=40, columns=1)
