"""chroma.hints: hints are obeyed at their point, spread over what is one thing, and stop at edges."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from chroma.compose import compose_u8, enlarge_ab
from chroma.gamut import fit_gamut
from chroma.hints import MANY_HINTS, MANY_SIDE_PX, WORK_SIDE_PX, Hint, apply_hints
from chroma.lab import rgb_u8_to_lab
from chroma.quality import delta_e_2000

BASE = (6.0, 8.0)


def flat(height: int, width: int, L: float = 50.0) -> np.ndarray:
    return np.full((height, width, 1), L, np.float32)


def two_tone(height: int, width: int, left: float = 40.0, right: float = 60.0) -> np.ndarray:
    L = flat(height, width, left)
    L[:, width // 2 :] = right
    return L


def base(h: int = 12, w: int = 16) -> np.ndarray:
    return np.broadcast_to(np.array(BASE, np.float32), (h, w, 2)).copy()


def enlarged(L: np.ndarray, ab: np.ndarray, *hints: Hint) -> np.ndarray:
    """Return what the picture's ab is after hints, at its full size."""
    return enlarge_ab(apply_hints(L, ab, hints), (L.shape[0], L.shape[1]))


def errors(L: np.ndarray, ab: np.ndarray, hints: list[Hint]) -> list[float]:
    """Return CIEDE2000 between each hint, as far as sRGB can show it, and the final picture at its pixel."""
    lab = rgb_u8_to_lab(compose_u8(L, apply_hints(L, ab, hints)))
    found = []
    for hint in hints:
        at = hint.pixel(*L.shape[:2])
        wanted = np.concatenate([L[at], fit_gamut(L[at], np.asarray(hint.ab, np.float32))])
        found.append(float(delta_e_2000(lab[at], wanted)))
    return found


def random_hints(count: int, seed: int) -> list[Hint]:
    rng = np.random.default_rng(seed)
    return [Hint(*rng.random(2).tolist(), tuple(rng.uniform(-50, 50, 2).tolist())) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 6, 64])
@pytest.mark.parametrize("size", [(90, 120), (700, 1100)])
def test_hints_are_obeyed_at_their_point(size: tuple[int, int], count: int) -> None:
    L = two_tone(*size) + np.random.default_rng(3).normal(0, 6, (*size, 1)).astype(np.float32)
    assert max(errors(L, base(), random_hints(count, seed=count))) < 5


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.5, 1.0)])
def test_hints_at_the_very_border_are_obeyed(point: tuple[float, float]) -> None:
    assert max(errors(flat(130, 900), base(), [Hint(*point, (30.0, -20.0))])) < 1


@pytest.mark.parametrize("size", [(100, 160), (400, 600), (1100, 1600)])
def test_nothing_leaks_across_an_edge(size: tuple[int, int]) -> None:
    beyond = size[1] // 2 + 1 + size[1] // 256
    for x in (0.1, 0.4, 0.49):
        after = enlarged(two_tone(*size), base(), Hint(x, 0.5, (45.0, -40.0)))
        assert np.abs(after[:, beyond:] - BASE).max() < 2


def test_a_hint_beside_an_edge_colors_its_own_side() -> None:
    """Its pixel lies between pixels of the working grid, of which some are across the edge."""
    L = two_tone(800, 1200)
    after = enlarged(L, base(), Hint(599.5 / 1200, 0.5, (45.0, -40.0)))
    assert_allclose(after[400, 560:590], [[45, -40]] * 30, atol=5)
    assert np.abs(after[:, 606:] - BASE).max() < 2


def test_a_thin_line_keeps_a_hint_on_its_side_and_takes_one_of_its_own() -> None:
    L = flat(200, 300)
    L[:, 150:152] = 15
    beside = enlarged(L, base(), Hint(0.4, 0.5, (45.0, -40.0)))
    assert np.abs(beside[:, 153:] - BASE).max() < 2
    on = enlarged(L, base(), Hint(150.5 / 300, 0.5, (30.0, 30.0)))
    assert_allclose(on[90:110, 150], [[30, 30]] * 20, atol=5)
    assert np.abs(on[:, :148] - BASE).max() < 2


def test_a_hint_spreads_over_a_flat_surface_and_fades() -> None:
    after = enlarged(flat(200, 300), base(), Hint(0.2, 0.5, (46.0, 8.0)))[100, :, 0]
    assert after[60] == pytest.approx(46, abs=0.1)
    assert after[75] > 40
    assert (np.diff(after[60:]) <= 1e-4).all()
    assert after[-1] < BASE[0] + 2


def test_a_hint_passes_grain() -> None:
    L = flat(300, 400) + np.random.default_rng(5).normal(0, 4, (300, 400, 1)).astype(np.float32)
    after = enlarged(L, base(), Hint(0.5, 0.5, (46.0, 8.0)))[..., 0]
    assert np.median(after[130:170, 180:220]) > 35


def test_two_hints_share_what_lies_between_them() -> None:
    after = enlarged(flat(100, 300), base(), Hint(0.4, 0.5, (40.0, 0.0)), Hint(0.6, 0.5, (-40.0, 0.0)))[50, :, 0]
    assert after[120] == pytest.approx(40, abs=1)
    assert after[180] == pytest.approx(-40, abs=1)
    assert abs(after[149:151].mean()) < 5


def test_a_second_hint_of_the_same_color_carries_the_first_further() -> None:
    one = enlarged(flat(100, 300), base(), Hint(0.2, 0.5, (40.0, 0.0)))
    two = enlarged(flat(100, 300), base(), Hint(0.2, 0.5, (40.0, 0.0)), Hint(0.8, 0.5, (40.0, 0.0)))
    assert two[50, 240, 0] > one[50, 240, 0] + 20
    assert (two[..., 0] >= one[..., 0] - 1).all()


def test_hints_that_contradict_each_other_in_one_pixel_give_no_wild_color() -> None:
    after = apply_hints(
        flat(40, 40), base(), [Hint(0.5, 0.5, (60.0, 0.0)), Hint(0.5, 0.5, (-60.0, 0.0)), Hint(0.51, 0.5, (0.0, 60.0))]
    )
    assert np.isfinite(after).all()
    assert np.abs(after).max() <= 80


def test_gray_is_a_color_too() -> None:
    ab = np.full((12, 16, 2), 25, np.float32)
    after = enlarged(flat(100, 150), ab, Hint(0.5, 0.5, (0.0, 0.0)))
    assert np.linalg.norm(after[50, 75]) < 0.1
    assert np.linalg.norm(after[40:60, 65:85], axis=-1).max() < 8


def test_the_lightness_decides_where_predicted_colors_agree_and_colors_where_they_do_not() -> None:
    ab = base()
    ab[:, 8:] = (-30, 35)
    after = enlarged(flat(120, 160), ab, Hint(0.3, 0.5, (45.0, -40.0)))
    assert np.abs(after[60, 40] - (45, -40)).max() < 5
    assert np.abs(after[60, 100] - (-30, 35)).max() < 12


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 3000), (2500, 1), (3, 700), (2, 2)])
def test_any_size_works(shape: tuple[int, int]) -> None:
    hints = [Hint(0.0, 0.0, (20.0, 10.0)), Hint(1.0, 1.0, (20.0, 10.0))]
    after = enlarged(flat(*shape), base(), *hints)
    assert_allclose(after[0, 0], (20, 10), atol=0.5)
    assert_allclose(after[-1, -1], (20, 10), atol=0.5)


def test_no_hints_change_nothing_but_the_size() -> None:
    ab = np.random.default_rng(4).normal(0, 20, (12, 16, 2)).astype(np.float32)
    assert_allclose(apply_hints(flat(90, 120), ab, []), enlarge_ab(ab, (90, 120)))


@pytest.mark.parametrize(("count", "side"), [(1, WORK_SIDE_PX), (MANY_HINTS + 1, MANY_SIDE_PX)])
def test_the_working_grid_is_bounded_and_a_small_picture_keeps_its_own(count: int, side: int) -> None:
    hints = [Hint(0.5, 0.5, (1.0, 1.0))] * count
    assert apply_hints(flat(300, 1200), base(), hints).shape == (side // 4, side, 2)
    assert apply_hints(flat(60, 80), base(), hints).shape == (60, 80, 2)


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan, math.inf])
def test_a_point_outside_the_picture_is_refused(bad: float) -> None:
    for x, y in ((bad, 0.5), (0.5, bad)):
        with pytest.raises(ValueError, match="x and y must be in"):
            Hint(x, y, (0.0, 0.0))


@pytest.mark.parametrize("bad", [-129.0, 129.0, math.nan, math.inf])
def test_what_is_no_color_is_refused(bad: float) -> None:
    for ab in ((bad, 0.0), (0.0, bad)):
        with pytest.raises(ValueError, match="a and b must be in"):
            Hint(0.5, 0.5, ab)


@pytest.mark.usefixtures("as_in_production")
@pytest.mark.parametrize("L", [np.zeros((4, 4), np.float32), np.zeros((0, 4, 1), np.float32), np.zeros((4, 4, 2))])
def test_what_is_no_lightness_is_refused(L: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected L of shape"):
        apply_hints(L, base(), [Hint(0.5, 0.5, (0.0, 0.0))])


def test_ab_that_is_no_number_is_refused() -> None:
    ab = base()
    ab[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        apply_hints(flat(20, 20), ab, [])
