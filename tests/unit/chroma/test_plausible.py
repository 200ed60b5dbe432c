"""chroma.plausible: the modes of a posterior as they look at a place, and which pixel of it speaks of the place."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from chroma.bins import Q, load_centers
from chroma.decoding import softmax
from chroma.lab import rgb_u8_to_lab
from chroma.plausible import DISTINCT_DELTA_E, LEAST_SHARE, MOST_COLORS, find_place, plausible_colors
from chroma.quality import delta_e_2000
from chroma.zones import RED

CENTERS = load_centers()


def logits_of(*modes: tuple[tuple[float, float], float], width: float = 4.0) -> np.ndarray:
    """Return a posterior of Gaussians round (ab, share), Lab units."""
    odds = np.full(Q, 1e-9)
    for ab, share in modes:
        bump = np.exp(-np.square(CENTERS - np.array(ab)).sum(axis=1) / (2 * width**2))
        odds += share * bump / bump.sum()
    return np.log(odds).astype(np.float32)


def labs_of(colors: list[tuple[str, float]]) -> np.ndarray:
    return rgb_u8_to_lab(np.array([list(bytes.fromhex(color[1:])) for color, _ in colors], np.uint8))


def test_both_planted_modes_are_found_with_their_shares() -> None:
    colors = plausible_colors(logits_of(((10, 20), 0.7), ((-20, -10), 0.3)), CENTERS, seen=60.0, L=60.0)
    assert_allclose([share for _, share in colors], [0.7, 0.3], atol=0.04)  # Tails look like neither.
    assert_allclose(labs_of(colors), [[60, 10, 20], [60, -20, -10]], atol=1)


def test_gray_is_one_of_them_where_the_posterior_has_it() -> None:
    colors = plausible_colors(logits_of(((0, 0), 0.4), ((10, 40), 0.6)), CENTERS, seen=50.0, L=50.0)
    (_, first), (gray, second) = colors
    assert gray == "#777777"
    assert (first, second) == pytest.approx((0.6, 0.4), abs=0.07)
    assert "#777777" not in dict(plausible_colors(logits_of(((10, 40), 1)), CENTERS, seen=50.0, L=50.0))


def test_a_red_without_backing_is_as_pale_as_the_guard_makes_it_and_one_with_its_like() -> None:
    """Red holds less than `RED.unbacked`: it is not shown above what passes; with all the mass it is."""
    weak = plausible_colors(logits_of(((60, 10), 0.3), ((-20, -10), 0.7)), CENTERS, seen=50.0, L=50.0)
    assert len(weak) == 2
    assert np.hypot(*labs_of(weak)[1, 1:]) == pytest.approx(RED.passes, abs=1)
    strong = plausible_colors(logits_of(((60, 10), 0.97), ((-20, -10), 0.03)), CENTERS, seen=50.0, L=50.0)
    assert np.hypot(*labs_of(strong)[0, 1:]) > 50
    dark = plausible_colors(logits_of(((60, 10), 0.97), ((-20, -10), 0.03)), CENTERS, seen=15.0, L=50.0)
    assert np.hypot(*labs_of(dark)[0, 1:]) < 50
    merged = plausible_colors(logits_of(((60, 10), 0.3), ((10, 0), 0.3), ((-20, -10), 0.4)), CENTERS, seen=50.0, L=50.0)
    assert [share for _, share in merged] == pytest.approx([0.6, 0.4], abs=0.03)


def test_what_is_improbable_is_no_color_and_one_is_always_there() -> None:
    rare = logits_of(((0, 40), 1 - LEAST_SHARE / 2), ((-40, 0), LEAST_SHARE / 2))
    assert len(plausible_colors(rare, CENTERS, seen=50.0, L=50.0)) == 1
    flat = plausible_colors(np.zeros(Q, np.float32), CENTERS, seen=50.0, L=50.0)
    assert 1 <= len(flat) <= MOST_COLORS
    assert len(plausible_colors(logits_of(((60, 0), 1)), CENTERS, seen=50.0, L=100.0)) == 1


@pytest.mark.parametrize("seed", range(40))
def test_colors_differ_to_the_eye_and_have_the_lightness_of_the_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=Q) * 10 ** rng.uniform(-1, 1)).astype(np.float32)
    L = float(rng.uniform(5, 95))
    colors = plausible_colors(logits, CENTERS, seen=float(rng.uniform(0, 100)), L=L)
    shares = [share for _, share in colors]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1 + 1e-9
    assert max(shares) <= 1
    labs = labs_of(colors)
    assert np.abs(labs[:, 0] - L).max() < 0.6  # of which the 8 bits are most
    for index, lab in enumerate(labs):
        others = np.delete(labs, index, axis=0)
        assert delta_e_2000(np.broadcast_to(lab, others.shape), others).min(initial=99) > DISTINCT_DELTA_E - 1.5
    assert shares[0] >= softmax(logits).max() - 1e-6


def test_beside_an_edge_the_right_side_speaks() -> None:
    """The picture is 400 px wide, a pixel of the posterior 100 px; the edge is at 170 px, in the second one."""
    L = np.full((300, 400, 1), 20, np.float32)
    L[:, 170:] = 80
    looked: list[int] = []

    def part(rows: slice, columns: slice) -> np.ndarray:
        looked.append(L[rows, columns].size)
        return L[rows, columns]

    for x, column, lightness in ((0.3, 0, 20), (0.36, 0, 20), (0.44, 2, 80), (0.0, 0, 20), (1.0, 3, 80)):
        assert find_place(x, 0.5, (300, 400), (3, 4), part) == ((1, column), lightness)
    assert max(looked) <= 100 * 100


def test_a_grain_of_the_film_is_no_lightness() -> None:
    L = np.full((100, 100, 1), 40, np.float32)
    L[50, 50] = 95
    assert find_place(0.505, 0.505, (100, 100), (8, 8), lambda rows, columns: L[rows, columns])[1] == 40


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (3, 2)])
def test_small_pictures_have_places_too(shape: tuple[int, int]) -> None:
    L = np.full((*shape, 1), 30, np.float32)
    for x, y in ((0.0, 0.0), (1.0, 1.0), (0.5, 0.5)):
        (row, column), lightness = find_place(x, y, shape, (8, 16), lambda rows, columns: L[rows, columns])
        assert 0 <= row < 8
        assert 0 <= column < 16
        assert lightness == 30


def test_what_is_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x and y must be in \[0, 1\]"):
        find_place(1.1, 0.0, (4, 4), (1, 1), lambda *_: np.zeros((4, 4, 1), np.float32))
