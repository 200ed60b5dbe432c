import numpy as np
import pytest

from chroma.bins import load_centers, nearest_bin
from training.judge.confidence import BINS, Reliability, fit, report

CENTERS = load_centers()


def logits_of(shares: dict[tuple[float, float], float]) -> np.ndarray:
    """Logits of a posterior with these shares at the bins nearest to these colors, (Q,)."""
    p = np.full(len(CENTERS), 1e-12)
    for ab, share in shares.items():
        p[nearest_bin(np.array(ab, float), CENTERS)] += share
    return np.log(p).astype(np.float32)


def test_confidence_is_the_mass_near_the_mean_and_right_is_a_true_color_near_it() -> None:
    logits = logits_of({(0, 0): 0.75, (40, 0): 0.25})  # mean (10, 0): 10 from the first, 30 from the second
    measured = Reliability()
    measured.add(np.tile(logits, (4, 1)), np.array([[10.0, 19.9], [10, 20.1], [29, 0], [-11, 0]]))
    assert measured.result() == {"temperature": 1.0, "ece": 0.25, "confidence": 0.75, "right": 0.5}
    assert measured.rows() == [{"pixels": 1.0, "confidence": 0.75, "right": 0.5}]


def test_the_error_is_counted_bin_by_bin_and_does_not_cancel() -> None:
    """Half the pixels are sure and wrong, half unsure and right: on average they look calibrated."""
    measured = Reliability()
    sure, unsure = logits_of({(0, 0): 1.0}), logits_of({(0, 0): 0.2, (60, 0): 0.4, (-60, 0): 0.4})
    measured.add(np.stack([sure, unsure]), np.array([[60.0, 0.0], [0.0, 0.0]]))
    assert measured.ece() == pytest.approx(0.9, abs=0.01)
    assert [row["pixels"] for row in measured.rows()] == [0.5, 0.5]


def test_a_temperature_changes_the_confidence_and_not_what_is_right() -> None:
    logits, truth = np.tile(logits_of({(0, 0): 0.75, (40, 0): 0.25}), (10, 1)), np.zeros((10, 2))
    truth[0] = 90.0
    measured = {temperature: Reliability(temperature) for temperature in (0.5, 1.0, 2.0)}
    for reliability in measured.values():
        reliability.add(logits, truth)
    assert [reliability.result()["right"] for reliability in measured.values()] == [0.9] * 3
    # 0.75 squared over the sum of squares is 0.9: sharpened by 0.5 it is calibrated.
    assert measured[0.5].result()["confidence"] == pytest.approx(0.9, abs=1e-4)
    assert fit(measured) == 0.5
    assert report(measured[1.0], measured[0.5])["rows"]["fitted"]["ece"] < 0.001


def test_an_equal_error_keeps_the_temperature_nearest_to_one() -> None:
    assert fit({temperature: Reliability(temperature) for temperature in (0.7, 0.95, 1.2)}) == 0.95


def test_sums_do_not_depend_on_the_batches() -> None:
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(0, 3, (6, 5, 313)).astype(np.float32), rng.normal(0, 20, (6, 5, 2))
    whole, parts = Reliability(0.8), Reliability(0.8)
    whole.add(logits, truth)
    for row, true in zip(logits, truth, strict=True):
        parts.add(row, true)
    assert parts.result() == whole.result()
    assert len(whole.rows()) <= BINS
    assert sum(row["pixels"] for row in whole.rows()) == pytest.approx(1, abs=1e-4)


def test_without_pixels_there_is_no_error() -> None:
    assert Reliability().result()["ece"] == 0
    assert Reliability().rows() == []
