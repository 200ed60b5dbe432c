"""chroma.palette: which colors a picture holds, and how those of a reference are taken over."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import Q, load_centers
from chroma.decoding import annealed_mean
from chroma.palette import ab_histogram, palette_of, reference_logits

CENTERS = load_centers()


def plain(*colors: tuple[int, int, int], shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Return a picture of stripes of equal width; sRGB, uint8."""
    rgb = np.empty((*shape, 3), np.uint8)
    for index, color in enumerate(colors):
        rgb[:, index * shape[1] // len(colors) : (index + 1) * shape[1] // len(colors)] = color
    return rgb


def logits_of(*modes: tuple[tuple[float, float], float], shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    """Return the same posterior everywhere: Gaussians of 12 Lab units round (ab, share)."""
    odds = sum(
        share * np.exp(-np.square(CENTERS - np.array(ab, np.float32)).sum(axis=1) / (2 * 12**2)) for ab, share in modes
    )
    return np.broadcast_to(np.log(odds + 1e-8).astype(np.float32), (*shape, Q)).copy()


def test_a_palette_names_the_colors_of_a_picture_and_their_shares() -> None:
    palette = palette_of(plain((200, 30, 40), (30, 60, 200), (30, 60, 200), (240, 240, 235)))
    assert [color for color, _ in palette] == ["#1e3cc8", "#c81e28", "#f0f0eb"]
    assert_allclose([share for _, share in palette], [0.5, 0.25, 0.25], atol=0.02)


def test_a_palette_has_at_most_the_colors_asked_for_and_never_the_same_twice(photograph: np.ndarray) -> None:
    for count in (1, 3, 6):
        palette = palette_of(photograph, count)
        shares = [share for _, share in palette]
        assert 1 <= len(palette) <= count
        assert len({color for color, _ in palette}) == len(palette)
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
    assert palette_of(photograph) == palette_of(photograph)


def test_a_plain_picture_has_one_color() -> None:
    assert palette_of(np.full((1, 1, 3), 77, np.uint8)) == [("#4d4d4d", 1.0)]


@pytest.mark.usefixtures("as_in_production")
@pytest.mark.parametrize("picture", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    for use in (palette_of, ab_histogram):
        with pytest.raises(ValueError, match="expected sRGB"):
            use(picture)


def test_a_palette_without_colors_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one color"):
        palette_of(np.zeros((2, 2, 3), np.uint8), 0)


def test_a_histogram_has_the_share_of_each_bin() -> None:
    histogram = ab_histogram(plain((119, 119, 119), (119, 119, 119), (60, 90, 220)))
    gray = (CENTERS == 0).all(axis=1)
    assert histogram.shape == (Q,)
    assert histogram.sum() == pytest.approx(1)
    assert histogram[gray].item() == pytest.approx(2 / 3, abs=0.02)
    assert CENTERS[np.where(gray, 0, histogram).argmax(), 1] < -40


def test_colors_move_toward_the_reference_the_stronger_the_further() -> None:
    logits = logits_of(((30, 20), 0.6), ((-10, -30), 0.4))
    blue = ab_histogram(plain((70, 110, 190), (120, 120, 130)))
    b = [
        float(annealed_mean(reference_logits(logits, blue, CENTERS, strength=s), CENTERS, 1.0)[..., 1].mean())
        for s in (0.0, 0.25, 0.5, 1.0)
    ]
    assert b == sorted(b, reverse=True)
    assert b[0] > -2
    assert b[-1] < -15


def test_what_the_network_is_sure_of_stays() -> None:
    logits = logits_of(((-40, 40), 1.0))
    blue = ab_histogram(plain((40, 60, 200)))
    before, after = (
        annealed_mean(z, CENTERS, 1.0) for z in (logits, reference_logits(logits, blue, CENTERS, strength=1.0))
    )
    unsure = logits_of(((-40, 40), 0.5), ((30, -50), 0.5))
    unsure_after = annealed_mean(reference_logits(unsure, blue, CENTERS, strength=1.0), CENTERS, 1.0)
    assert np.abs(after - before).max() < 20
    assert np.linalg.norm(unsure_after - annealed_mean(unsure, CENTERS, 1.0), axis=-1).min() > 30


def test_a_gray_reference_takes_color_away() -> None:
    logits = logits_of(((35, 25), 0.6), ((5, 5), 0.4))
    after = reference_logits(logits, ab_histogram(plain((128, 128, 128))), CENTERS, strength=1.0)
    chroma = [np.linalg.norm(annealed_mean(z, CENTERS, 1.0), axis=-1).mean() for z in (logits, after)]
    assert chroma[1] < chroma[0] / 2


def test_strength_zero_changes_nothing() -> None:
    logits = logits_of(((10, 20), 1.0))
    assert_array_equal(reference_logits(logits, np.ones(Q) / Q, CENTERS, strength=0.0), logits)


@pytest.mark.parametrize("strength", [-0.1, 1.1, np.nan])
def test_a_strength_outside_0_and_1_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be in"):
        reference_logits(logits_of(((0, 0), 1.0)), np.ones(Q) / Q, CENTERS, strength=strength)


@pytest.mark.parametrize("broken", [np.zeros(Q), -np.ones(Q), np.full(Q, np.nan)])
def test_a_histogram_without_mass_is_refused(broken: np.ndarray) -> None:
    with pytest.raises(ValueError, match="prior has finite shares"):
        reference_logits(logits_of(((0, 0), 1.0)), broken, CENTERS, strength=0.5)
