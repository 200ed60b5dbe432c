"""chroma.variants: other versions differ where the posterior is open, as a whole, and bring no reds."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from chroma.bins import Q, load_centers
from chroma.decoding import annealed_mean, zone_masses
from chroma.variants import GOAL_AB, MOST_VARIANTS, variant_logits
from chroma.zones import RED

CENTERS = load_centers()


def posterior(*modes: tuple[tuple[float, float], float], sigma: float = 9.0) -> np.ndarray:
    """Return log-odds over the bins: Gaussians round (ab, share); shape (Q,)."""
    odds = sum(
        share * np.exp(-np.square(CENTERS - np.array(ab, np.float32)).sum(axis=1) / (2 * sigma**2))
        for ab, share in modes
    )
    return np.log(odds + 1e-9).astype(np.float32)


SURE = posterior(((-30, 35), 1.0), sigma=6)
OPEN = posterior(((0, 0), 0.4), ((20, 40), 0.2), ((5, -40), 0.2), ((-40, 20), 0.2))
REDDISH = posterior(((0, 5), 0.7), ((50, 25), 0.3))


def scene(noise: float = 0.3) -> np.ndarray:
    """Return a picture whose left half is sure to be green, and whose right half is open; shape (24, 32, Q)."""
    logits = np.where(np.arange(32)[None, :, None] < 16, SURE, OPEN)
    logits = np.broadcast_to(logits, (24, 32, Q))
    return (logits + np.random.default_rng(1).normal(0, noise, (24, 32, Q))).astype(np.float32)


def mean_of(logits: np.ndarray) -> np.ndarray:
    return annealed_mean(logits, CENTERS, 1.0)


def test_the_first_version_is_the_posterior_itself() -> None:
    logits = scene()
    assert variant_logits(logits, CENTERS, variant=1) is logits


def test_what_is_open_changes_and_what_is_sure_stays() -> None:
    logits = scene()
    before = mean_of(logits)
    for variant in range(2, 6):
        change = np.linalg.norm(mean_of(variant_logits(logits, CENTERS, variant=variant)) - before, axis=-1)
        assert np.median(change[:, 18:]) > 3 * np.median(change[:, :14])
        assert np.median(change[:, 18:]) > 5


def test_the_change_reaches_the_goal_and_not_much_more() -> None:
    logits = scene()
    for variant in range(2, MOST_VARIANTS + 1):
        change = np.linalg.norm(mean_of(variant_logits(logits, CENTERS, variant=variant)) - mean_of(logits), axis=-1)
        assert 0.6 * GOAL_AB < change.mean() < 2.5 * GOAL_AB


def test_versions_differ_from_each_other() -> None:
    logits = scene()
    means = [mean_of(variant_logits(logits, CENTERS, variant=variant)) for variant in range(1, 5)]
    for one, other in combinations(means, 2):
        assert np.linalg.norm(one - other, axis=-1).mean() > 3


def test_a_region_changes_as_a_whole() -> None:
    """Spread of the change inside the open half, beside the change itself."""
    logits = scene()
    for variant in range(2, 5):
        change = (mean_of(variant_logits(logits, CENTERS, variant=variant)) - mean_of(logits))[:, 18:]
        assert change.std(axis=(0, 1)).max() < 0.5 * np.linalg.norm(change.mean(axis=(0, 1)))


def test_no_version_is_redder() -> None:
    logits = scene() * 0 + REDDISH
    logits += np.random.default_rng(2).normal(0, 0.3, (24, 32, 1)).astype(np.float32)
    before = zone_masses(logits, CENTERS, (RED,))
    assert before.mean() > 0.2
    for variant in range(2, MOST_VARIANTS + 1):
        assert (zone_masses(variant_logits(logits, CENTERS, variant=variant), CENTERS, (RED,)) <= before + 0.02).all()


def test_a_version_is_the_same_whatever_the_count_and_every_time() -> None:
    logits = scene()
    first = variant_logits(logits, CENTERS, variant=3, count=3)
    assert_array_equal(variant_logits(logits, CENTERS, variant=3, count=8), first)
    assert_array_equal(variant_logits(logits.copy(), CENTERS, variant=3), first)


def test_a_constant_added_to_a_pixel_changes_no_version() -> None:
    logits = scene()
    moved = logits + np.float32(3)
    one, other = (mean_of(variant_logits(z, CENTERS, variant=2)) for z in (logits, moved))
    assert np.abs(one - other).max() < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (41, 1), (3, 5)])
@pytest.mark.parametrize("variant", [2, 8])
def test_any_size_works(shape: tuple[int, int], variant: int) -> None:
    logits = np.broadcast_to(OPEN, (*shape, Q)).copy()
    after = variant_logits(logits, CENTERS, variant=variant)
    assert after.shape == logits.shape
    assert after.dtype == np.float32
    assert np.isfinite(after).all()


@pytest.mark.parametrize("scale", [0.0, 60.0])
def test_no_idea_and_no_doubt_are_both_survived(scale: float) -> None:
    logits = (scene() * 0 + SURE / max(abs(float(SURE.min())), 1) * scale).astype(np.float32)
    assert np.isfinite(variant_logits(logits, CENTERS, variant=4)).all()


@pytest.mark.parametrize(("variant", "count"), [(0, 8), (9, 8), (3, 2), (1, 0), (1, 9)])
def test_a_version_that_there_is_not_is_refused(variant: int, count: int) -> None:
    with pytest.raises(ValueError, match="variant must be in"):
        variant_logits(scene(), CENTERS, variant=variant, count=count)
