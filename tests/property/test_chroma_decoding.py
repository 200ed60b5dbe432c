"""Laws of the decoders."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

from chroma.bins import Q, load_centers
from chroma.decoding import (
    Knobs,
    annealed_mean,
    argmax_ab,
    capped_log_weights,
    decode,
    fuse,
    hue_guard,
    posterior_spread,
    softmax,
)
from chroma.zones import ZONES

seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(1e-3, 10)
knobs = st.builds(
    Knobs, temperature=st.floats(0.05, 2), tau=st.floats(0, 1), cap=st.floats(1, 100), gain=st.floats(0, 3)
)
LIGHT = np.full(1, 50, np.float32)
"""An L without shadow, for every pixel."""

abs_ = hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.just(2)), elements=st.floats(-128, 128, width=32))
backings = hnp.arrays(np.float32, len(ZONES), elements=st.floats(0, 1, width=32))


def random_logits(seed: int, *shape: int) -> np.ndarray:
    """Logits of all tempers: nearly flat to nearly certain."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(*shape, Q)) * 10 ** rng.uniform(-1, 1.5)).astype(np.float32)


def random_log_weights(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, Q).astype(np.float32)


@given(seeds, st.floats(-100, 100, width=32), temperatures)
def test_a_constant_added_to_the_logits_changes_nothing(seed: int, constant: float, temperature: float) -> None:
    """In posteriors that are not decided by the rounding of the sum itself."""
    logits = random_logits(seed, 3)
    shifted = logits + np.float32(constant)
    rounding = np.abs((shifted.astype(np.float64) - constant) - logits).max() / temperature
    tolerance = 1e-2 + 250 * rounding
    assert_allclose(
        annealed_mean(shifted, load_centers(), temperature),
        annealed_mean(logits, load_centers(), temperature),
        atol=tolerance,
    )


@given(seeds)
def test_the_least_temperature_gives_the_argmax_where_it_is_clear(seed: int) -> None:
    logits = random_logits(seed, 4)
    gap = np.diff(np.sort(logits, axis=-1)[:, -2:], axis=-1)[:, 0]
    clear = gap > 0.02
    assert_allclose(
        annealed_mean(logits, load_centers(), 1e-3)[clear], argmax_ab(logits, load_centers())[clear], atol=1e-3
    )


@given(seeds, temperatures)
def test_a_mean_lies_within_the_centers(seed: int, temperature: float) -> None:
    ab = annealed_mean(random_logits(seed, 5), load_centers(), temperature)
    assert (ab >= load_centers().min(axis=0) - 1e-3).all()
    assert (ab <= load_centers().max(axis=0) + 1e-3).all()


@given(seeds, knobs)
def test_a_batch_equals_its_pixels_one_by_one(seed: int, knobs: Knobs) -> None:
    logits, log_weights = random_logits(seed, 2, 3), random_log_weights(seed)
    options = {"temperature": knobs.temperature, "tau": knobs.tau, "cap": knobs.cap, "gain": 1.0, "lightness": LIGHT}
    whole = annealed_mean(logits, load_centers(), knobs.temperature)
    batch = decode(logits, load_centers(), log_weights, **options)
    assert batch.shape == (2, 3, 2)
    for place in np.ndindex(2, 3):
        assert_allclose(whole[place], annealed_mean(logits[place], load_centers(), knobs.temperature), atol=2e-3)
        pixel = decode(logits[place], load_centers(), log_weights, **options)
        assert np.abs(batch[place] - pixel).max() < 5e-3


@given(seeds, st.floats(1, 1000))
def test_the_cap_bounds_the_ratio_and_keeps_the_order(seed: int, cap: float) -> None:
    log_weights = random_log_weights(seed)
    capped = capped_log_weights(log_weights, cap)
    assert np.ptp(capped) <= np.log(cap) + 1e-5
    assert (capped <= log_weights).all()
    assert (np.diff(capped[np.argsort(log_weights)]) >= 0).all()


@given(seeds, knobs)
def test_decoding_is_finite_and_no_gain_is_gray(seed: int, knobs: Knobs) -> None:
    logits, log_weights = random_logits(seed, 3), random_log_weights(seed)
    options = {"temperature": knobs.temperature, "tau": knobs.tau, "cap": knobs.cap, "lightness": LIGHT}
    assert np.isfinite(decode(logits, load_centers(), log_weights, gain=knobs.gain, **options)).all()
    assert not decode(logits, load_centers(), log_weights, gain=0.0, **options).any()


@given(abs_, backings, st.floats(0, 100, width=32))
def test_the_guard_keeps_hue_and_never_adds_chroma(ab: np.ndarray, backing: np.ndarray, L: float) -> None:
    guarded = hue_guard(ab, np.broadcast_to(backing, (len(ab), len(ZONES))), np.full(1, L, np.float32))
    before, after = np.hypot(*ab.T), np.hypot(*guarded.T)
    assert (after <= before * (1 + 1e-5)).all()
    assert (after >= np.minimum(before, min(zone.passes for zone in ZONES)) - 1e-4).all()
    cross = guarded[:, 0] * ab[:, 1] - guarded[:, 1] * ab[:, 0]
    assert_allclose(cross, 0, atol=0.05)


@given(abs_, backings, backings)
def test_more_backing_never_means_less_color(ab: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    less, more = (
        np.broadcast_to(mass, (len(ab), len(ZONES))) for mass in (np.minimum(one, other), np.maximum(one, other))
    )
    weak, strong = hue_guard(ab, less, LIGHT), hue_guard(ab, more, LIGHT)
    assert (np.hypot(*strong.T) >= np.hypot(*weak.T) - 1e-3).all()


@given(abs_, backings, st.floats(0, 100, width=32), st.floats(0, 100, width=32))
def test_more_light_never_means_less_color(ab: np.ndarray, backing: np.ndarray, one: float, other: float) -> None:
    masses = np.broadcast_to(backing, (len(ab), len(ZONES)))
    dark, light = (hue_guard(ab, masses, np.full(1, L, np.float32)) for L in sorted((one, other)))
    assert (np.hypot(*light.T) >= np.hypot(*dark.T) - 1e-3).all()


@given(st.floats(0, 360, width=32), st.floats(0, 100, width=32), backings, st.floats(0, 100, width=32))
def test_the_guard_is_smooth(degrees: float, chroma: float, backing: np.ndarray, L: float) -> None:
    """A small step in hue, chroma, backing or light is a small step in what is shown: no edge where none was.

    The steepest there is: a chroma of 100 loses 82 in a tenth of the mass, or in the 8 degrees of a fading zone.
    """
    step = 1e-3

    def shown(degrees: float, chroma: float, backing: np.ndarray, L: float) -> np.ndarray:
        hue = np.radians(degrees)
        ab = np.array([[chroma * np.cos(hue), chroma * np.sin(hue)]])
        return hue_guard(ab, backing[None].astype(np.float64), np.array([L]))

    here = shown(degrees, chroma, backing, L)
    for other in (
        shown(degrees + 8 * step, chroma, backing, L),
        shown(degrees, chroma + 100 * step, backing, L),
        shown(degrees, chroma, backing + 0.1 * step, L),
        shown(degrees, chroma, backing, L + 3 * step),
    ):
        assert np.abs(other - here).max() <= 250 * step


@given(seeds)
def test_spread_is_zero_to_the_gamut_s_size(seed: int) -> None:
    logits = random_logits(seed, 6)
    spread = posterior_spread(logits, load_centers())
    assert (spread >= 0).all()
    assert (spread <= 130).all()
    flat = posterior_spread(logits * np.float32(1e-6), load_centers())
    assert_allclose(
        flat, np.sqrt(np.square(load_centers() - load_centers().mean(axis=0)).sum(axis=1).mean()), rtol=1e-3
    )


@given(abs_, st.floats(0, 100, width=32), seeds)
def test_fusion_lies_between_its_two_heads(ab: np.ndarray, spread: float, seed: int) -> None:
    other = np.random.default_rng(seed).uniform(-100, 100, ab.shape).astype(np.float32)
    fused = fuse(ab, other, np.full((len(ab), 1), spread, np.float32))
    assert (fused >= np.minimum(ab, other) - 1e-3).all()
    assert (fused <= np.maximum(ab, other) + 1e-3).all()


@given(seeds)
def test_softmax_is_a_distribution(seed: int) -> None:
    posterior = softmax(random_logits(seed, 4))
    assert (posterior >= 0).all()
    assert_allclose(posterior.sum(axis=-1), 1, atol=1e-5)
