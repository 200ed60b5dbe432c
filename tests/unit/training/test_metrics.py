"""Scores on cases small enough to compute by hand."""

import numpy as np
import pytest

from chroma.bins import load_centers, nearest_bin
from chroma.decoding import log_softmax
from chroma.soft_encoding import build_table, densify
from training.run.metrics import ColorScores, posterior_table

CENTERS = load_centers()
TABLE = build_table(CENTERS, k=10)
UNIFORM = np.full(313, 1 / 313)


def bin_at(a: float, b: float) -> int:
    return int(nearest_bin(np.array([a, b], np.float32), CENTERS))


def target_of(*ab: tuple[float, float], weight: float = 1.0) -> np.ndarray:
    """One picture, one row of pixels."""
    return np.array([[[(a, b, weight) for a, b in ab]]], np.float32)


def heads_of(
    logits: np.ndarray, ab: np.ndarray | float = 0.0, scene: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    shape = (*logits.shape[:-1], 2)
    scene_logits = np.zeros((len(logits), 4), np.float32) if scene is None else scene
    return {
        "ab_logits": logits.astype(np.float32),
        "ab": np.broadcast_to(np.asarray(ab, np.float32), shape),
        "scene_logits": scene_logits,
    }


def certain(*bins: int) -> np.ndarray:
    """Logits of one row of pixels that are sure of their bins."""
    logits = np.zeros((1, 1, len(bins), 313), np.float32)
    for place, index in enumerate(bins):
        logits[0, 0, place, index] = 60
    return logits


def scenes_of(*indices: int) -> np.ndarray:
    """Return probabilities of four scenes; -1 is an unknown one."""
    return np.array([[index == scene for scene in range(4)] for index in indices], np.float32)


def scores(
    heads: dict[str, np.ndarray], target: np.ndarray, scene: int = -1, prior: np.ndarray = UNIFORM
) -> dict[str, float]:
    tally = ColorScores(TABLE, CENTERS, prior)
    tally.add(heads, target, scenes_of(*[scene] * len(target)))
    return tally.result()


def test_a_perfect_prediction() -> None:
    truth = [(20, 30), (-40, 0), (0, 0), (60, 50)]
    target = target_of(*truth)
    index, weight = TABLE.encode(target[..., :2])
    dense = densify(index, weight, 313)
    got = scores(heads_of(np.log(np.maximum(dense, 1e-30)), target[..., :2]), target)
    assert got["kl"] == pytest.approx(0, abs=1e-5)
    assert got["top1"] == 1
    assert got["soft_accuracy"] == pytest.approx(1, abs=1e-5)
    assert got["within20"] == 1
    assert got["rmse_regression"] == 0
    assert got["rmse_argmax"] == pytest.approx(0, abs=1e-6)  # the truth lies on bin centers
    assert np.isnan(got["scene_top1"])


def test_kl_is_the_divergence_from_the_soft_target() -> None:
    rng = np.random.default_rng(0)
    target = target_of((13, -7), (55, 21))
    logits = rng.normal(0, 2, (1, 1, 2, 313))
    index, weight = TABLE.encode(target[..., :2])
    dense = densify(index, weight, 313)
    safe = np.where(dense > 0, dense, 1)
    expected = (dense * (np.log(safe) - log_softmax(logits))).sum(axis=-1).mean()
    assert scores(heads_of(logits), target)["kl"] == pytest.approx(expected, rel=1e-5)


def test_the_majority_row_answers_the_prior() -> None:
    prior = np.full(313, 0.4 / 312)
    prior[bin_at(0, 0)] = 0.6
    target = target_of((0, 0), (0, 0), (3, 2), (50, 0))
    got = scores(heads_of(np.zeros((1, 1, 4, 313))), target, prior=prior)
    assert got["top1_majority"] == 0.75
    own = scores(heads_of(np.broadcast_to(np.log(prior), (1, 1, 4, 313))), target, prior=prior)
    assert own["kl"] == pytest.approx(own["kl_prior"], rel=1e-5)
    assert own["top1"] == own["top1_majority"]


def test_the_gray_row_answers_nothing() -> None:
    got = scores(heads_of(certain(0, 0, 0, 0)), target_of((0, 0), (3, 4), (0, 19.9), (30, 40)))
    assert got["within20_gray"] == 0.75
    assert got["rmse_gray"] == pytest.approx(np.sqrt((0 + 25 + 19.9**2 + 2500) / 4), rel=1e-6)


def test_errors_are_measured_in_lab_units() -> None:
    """Truth (0, 0); the posterior is split evenly between two bins 20 apart, one of them right."""
    here, there = bin_at(0, 0), bin_at(20, 0)
    assert CENTERS[here].tolist() == [0, 0]
    assert CENTERS[there].tolist() == [20, 0]
    logits = np.full((1, 1, 1, 313), -60.0)
    logits[..., there], logits[..., here] = 0.001, 0
    got = scores(heads_of(logits, np.array([3, -4])), target_of((0, 0)))
    assert got["rmse_mean"] == pytest.approx(10, abs=0.02)
    assert got["rmse_argmax"] == pytest.approx(20)
    assert got["rmse_regression"] == pytest.approx(5)
    assert got["within20"] == 1
    assert got["top1"] == 0


def test_equally_near_bins_are_equally_right() -> None:
    """(5, 0) lies between two bins: either is a hit."""
    left, right, wrong = bin_at(0, 0), bin_at(10, 0), bin_at(20, 0)
    target = target_of((5, 0))
    hits = [scores(heads_of(certain(guess)), target)["top1"] for guess in (left, right, wrong)]
    assert hits == [1, 1, 0]


def test_top_5_counts_the_five_most_probable_bins() -> None:
    """The right bin is the first, fifth and sixth guess."""
    right, others = bin_at(40, 40), [bin_at(-10 * n, 0) for n in range(5)]
    logits = np.full((1, 1, 3, 313), -60.0)
    for place, ahead in enumerate((0, 4, 5)):
        logits[0, 0, place, others[:ahead]] = 1.0
        logits[0, 0, place, right] = 0.5
    got = scores(heads_of(logits), target_of((40, 40), (40, 40), (40, 40)))
    assert got["top5"] == pytest.approx(2 / 3)
    assert got["top1"] == pytest.approx(1 / 3)


def test_the_majority_of_five_is_the_priors() -> None:
    frequent = [bin_at(10 * n, 0) for n in range(5)]
    prior = np.full(313, 0.1 / 308)
    prior[frequent] = [0.3, 0.2, 0.2, 0.1, 0.1]
    got = scores(heads_of(certain(0, 0, 0)), target_of((0, 0), (40, 0), (50, 0)), prior=prior)
    assert got["top1_majority"] == pytest.approx(1 / 3)
    assert got["top5_majority"] == pytest.approx(2 / 3)


def test_cross_entropy_is_kl_above_the_labels_entropy() -> None:
    target = target_of((13, -7), (55, 21))
    got = scores(heads_of(np.random.default_rng(5).normal(0, 2, (1, 1, 2, 313))), target)
    _, weight = TABLE.encode(target[..., :2])
    entropy = -(weight * np.log(weight)).sum(axis=-1).mean()
    assert got["entropy"] == pytest.approx(entropy)
    assert got["cross_entropy"] == pytest.approx(got["kl"] + entropy)
    assert got["largest_mass"] == pytest.approx(weight.max(axis=-1).mean())


def test_within_10_is_stricter_than_within_20() -> None:
    got = scores(heads_of(certain(*[bin_at(0, 0)] * 4)), target_of((0, 0), (6, 6), (0, 15), (30, 0)))
    assert (got["within10"], got["within20"]) == (0.5, 0.75)
    assert (got["within10_gray"], got["within20_gray"]) == (0.5, 0.75)


def test_ties_cap_what_one_right_bin_allows() -> None:
    """(5, 0) lies between two bins, (5, 5) among four, (0, 0) on one."""
    got = scores(heads_of(certain(0, 0, 0)), target_of((5, 0), (5, 5), (0, 0)))
    assert got["top1_untied"] == pytest.approx((0.5 + 0.25 + 1) / 3)


def test_soft_labels_are_calibrated_by_their_mass_not_by_hits() -> None:
    """An answer that equals the soft label is always right, yet only as sure as the label: the hits say otherwise."""
    target = target_of((3, 2), (-22, 41), (17, 8))
    index, weight = TABLE.encode(target[..., :2])
    got = scores(heads_of(np.log(np.maximum(densify(index, weight, 313), 1e-30))), target)
    assert got["ece_labels"] == pytest.approx(0, abs=1e-6)
    assert got["confidence"] == pytest.approx(weight.max(axis=-1).mean())
    assert got["ece"] == pytest.approx(1 - got["confidence"])


def test_the_reliability_diagram_holds_what_the_calibration_error_sums() -> None:
    rng = np.random.default_rng(6)
    target = rng.integers(-60, 60, (2, 4, 5, 3)).astype(np.float32)
    target[..., 2] = 1
    tally = ColorScores(TABLE, CENTERS, UNIFORM)
    tally.add(heads_of(rng.normal(0, 4, (2, 4, 5, 313))), target, scenes_of(-1, -1))
    rows, got = tally.reliability(), tally.result()
    assert sum(row["pixels"] for row in rows) == pytest.approx(1)
    assert sum(row["pixels"] * abs(row["confidence"] - row["right"]) for row in rows) == pytest.approx(got["ece"])
    gap = sum(row["pixels"] * abs(row["confidence"] - row["label_mass"]) for row in rows)
    assert gap == pytest.approx(got["ece_labels"])
    assert [row["confidence"] for row in rows] == sorted(row["confidence"] for row in rows)


def test_the_table_says_who_answers() -> None:
    target = target_of((13, -7), (55, 21), (0, 0))
    table = posterior_table(scores(heads_of(np.random.default_rng(7).normal(0, 2, (1, 1, 3, 313))), target))
    assert list(table) == ["network", "majority", "do nothing", "ceiling"]
    floor = table["ceiling"]["cross_entropy"]
    for row in ("network", "majority"):
        assert table[row]["cross_entropy"] - table[row]["kl"] == pytest.approx(floor)
    assert table["majority"]["kl"] == pytest.approx(np.log(313) - floor)
    for name, value in table["network"].items():
        if name in table["ceiling"] and name not in ("kl", "cross_entropy"):
            assert value <= table["ceiling"][name]


def test_gray_pixels_do_not_count() -> None:
    target = np.concatenate([target_of((30, 30)), target_of((70, 10), weight=0.0)])
    guess = certain(bin_at(30, 30))
    alone = scores(heads_of(guess), target[:1])
    both = scores(heads_of(np.concatenate([guess, certain(bin_at(-50, 50))])), target)
    assert both == pytest.approx(alone, nan_ok=True)


def test_the_calibration_error_is_confidence_minus_accuracy() -> None:
    """Four pixels, each half sure of one bin and one of the four right: |0.5 - 0.25|."""
    right, wrong, other = bin_at(40, 40), bin_at(0, 0), bin_at(-40, 40)
    logits = np.full((1, 1, 4, 313), -60.0)
    for place, guess in enumerate((right, wrong, wrong, wrong)):
        logits[0, 0, place, guess], logits[0, 0, place, other] = 0.0001, 0
    got = scores(heads_of(logits), target_of((40, 40), (40, 40), (40, 40), (40, 40)))
    assert got["ece"] == pytest.approx(0.25, abs=1e-3)
    assert got["top1"] == 0.25


def test_scenes_count_where_they_are_known() -> None:
    scene_logits = np.array([[0, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    target = np.concatenate([target_of((30, 30))] * 3)
    tally = ColorScores(TABLE, CENTERS, UNIFORM)
    tally.add(heads_of(np.zeros((3, 1, 1, 313)), scene=scene_logits), target, scenes_of(1, 2, -1))
    assert tally.result()["scene_top1"] == 0.5


def test_the_right_scene_of_a_soft_label_is_its_most_probable_one() -> None:
    scene_logits = np.array([[0, 2, 0, 0], [0, 0, 1, 0]], np.float32)
    tally = ColorScores(TABLE, CENTERS, UNIFORM)
    labels = np.array([[0.2, 0.5, 0.3, 0], [0.4, 0, 0.3, 0.3]], np.float32)
    target = np.concatenate([target_of((30, 30))] * 2)
    tally.add(heads_of(np.zeros((2, 1, 1, 313)), scene=scene_logits), target, labels)
    assert tally.result()["scene_top1"] == 0.5


def test_batches_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(1)
    target = np.concatenate([rng.integers(-60, 60, (5, 2, 3, 2)), rng.integers(0, 2, (5, 2, 3, 1))], -1).astype(
        np.float32
    )
    heads = heads_of(rng.normal(0, 2, (5, 2, 3, 313)), rng.normal(0, 20, (5, 2, 3, 2)))
    scene = scenes_of(*rng.integers(-1, 4, 5))
    whole, parts = ColorScores(TABLE, CENTERS, UNIFORM), ColorScores(TABLE, CENTERS, UNIFORM)
    whole.add(heads, target, scene)
    for part in (slice(0, 1), slice(1, 4), slice(4, 5)):
        parts.add({name: head[part] for name, head in heads.items()}, target[part], scene[part])
    assert parts.result() == pytest.approx(whole.result(), rel=1e-6)


def test_without_any_color_scores_are_unknown() -> None:
    got = scores(heads_of(certain(0)), target_of((0, 0), weight=0.0), scene=2)
    assert got["scene_top1"] == 0
    assert all(np.isnan(got[name]) for name in ("kl", "kl_prior", "top1", "within20", "rmse_mean", "rmse_gray"))
