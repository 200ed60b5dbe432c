"""One way's scores: each column against the formula in chroma or a computation by hand."""

import numpy as np
import pytest

from chroma import quality
from chroma.bins import load_centers, nearest_bin
from chroma.lab import rgb_u8_to_lab
from chroma.prior import smooth_prior
from chroma.sectors import Box, chroma_kept, foliage_mask, inside_boxes, red_mask, skin_mask
from chroma.soft_encoding import ab_to_row
from tests.unit.training.pictures import landscape, scene
from training.judge import judging
from training.judge.judging import (
    HIGHEST_PSNR,
    LEAST_SHARE,
    Tally,
    Truth,
    TruthSums,
    mean_delta_e,
    mean_rows,
    rarity_table,
    ssim,
)

CENTERS = load_centers()
PRIOR = np.exp(-np.square(CENTERS).sum(axis=1) / 800)
RARITY = rarity_table(PRIOR)


def paler(rgb_u8: np.ndarray, share: float) -> np.ndarray:
    gray = rgb_u8.mean(axis=-1, keepdims=True)
    return np.rint(gray + share * (rgb_u8 - gray)).astype(np.uint8)


@pytest.fixture(scope="module")
def judged() -> tuple[list[np.ndarray], list[np.ndarray], dict[str, float]]:
    """Two photographs, two answers of unequal paleness, their row."""
    truths = [landscape(seed, 64, 64) for seed in (1, 2)]
    answers = [paler(truths[0], 0.8), paler(truths[1], 0.2)]
    tally, sums = Tally(), TruthSums()
    for answer, rgb_u8 in zip(answers, truths, strict=True):
        truth = Truth.of(rgb_u8, RARITY)
        tally.add(answer, truth)
        sums.add(truth)
    return truths, answers, tally.result(sums)


def test_a_part_is_the_tally_of_those_pictures_alone() -> None:
    whole, sums, alone, own = Tally(full=False), TruthSums(), Tally(full=False), TruthSums()
    for seed in range(3):
        truth, answer = Truth.of(landscape(seed, 32, 32), RARITY), paler(landscape(seed, 32, 32), 0.3 * seed)
        whole.add(answer, truth)
        sums.add(truth)
        if seed != 1:
            alone.add(answer, truth)
            own.add(truth)
    assert whole.part([0, 2]).result(sums.part([0, 2])) == alone.result(own)


def test_means_are_over_pictures(judged: tuple[list[np.ndarray], list[np.ndarray], dict[str, float]]) -> None:
    truths, answers, row = judged
    labs = [(rgb_u8_to_lab(answer), rgb_u8_to_lab(truth)) for answer, truth in zip(answers, truths, strict=True)]
    pairs = list(zip(answers, truths, strict=True))
    assert row["psnr"] == pytest.approx(np.mean([quality.psnr(*pair) for pair in pairs]), abs=1e-3)
    assert row["ssim"] == pytest.approx(np.mean([ssim(*pair) for pair in pairs]), abs=1e-3)
    assert row["delta_e"] == pytest.approx(np.mean([quality.delta_e_2000(*pair).mean() for pair in labs]), abs=1e-3)
    assert row["auc"] == pytest.approx(100 * np.mean([quality.auc(a[..., 1:], b[..., 1:]) for a, b in labs]), abs=1e-3)
    assert row["speckle"] == pytest.approx(100 * np.mean([quality.speckle(*pair) for pair in labs]), abs=1e-3)
    for sector in quality.HUE_SECTORS:
        expected = 100 * np.mean([quality.false_hue_fraction(*pair, sector) for pair in labs])
        assert row[f"false_{sector}"] == pytest.approx(expected, abs=1e-3)
    deep = 100 * np.mean([quality.false_deep_red_fraction(*pair) for pair in labs])
    assert row["false_deep_red"] == pytest.approx(deep, abs=1e-3)
    dark = 100 * np.mean([quality.dark_false_red_fraction(*pair) for pair in labs])
    assert row["dark_false_red"] == pytest.approx(dark, abs=1e-3)


def test_ratios_are_of_means(judged: tuple[list[np.ndarray], list[np.ndarray], dict[str, float]]) -> None:
    truths, answers, row = judged
    labs = [rgb_u8_to_lab(answer) for answer in answers], [rgb_u8_to_lab(truth) for truth in truths]
    assert row["colorfulness_ratio"] == pytest.approx(quality.colorfulness_ratio(answers, truths), abs=1e-3)
    assert row["tvq"] == pytest.approx(quality.tvq(*labs), abs=1e-3)
    assert row["tvr"] == pytest.approx(quality.tvr(*labs), abs=1e-3)
    before, after = ([quality.colorfulness(picture) for picture in some] for some in (answers, truths))
    assert row["delta_colorfulness_of_means"] == pytest.approx(abs(np.mean(before) - np.mean(after)), abs=1e-3)
    assert row["mean_delta_colorfulness"] == pytest.approx(np.mean(np.abs(np.subtract(before, after))), abs=1e-3)


def test_chroma_is_kept_by_sector_over_all_pictures() -> None:
    """Skin counts where somebody drew a box alone; a sector that no truth has is not in the row."""
    truths, box = [scene(seed, 64, 64) for seed in (1, 2)], Box(0, 0, 1, 1)
    answers = [paler(truths[0], 0.8), paler(truths[1], 0.2)]
    tally, sums = Tally(full=False), TruthSums()
    for answer, rgb_u8, boxes in zip(answers, truths, ((box,), ()), strict=True):
        truth = Truth.of(rgb_u8, RARITY, boxes)
        tally.add(answer, truth)
        sums.add(truth)
    row = tally.result(sums)
    labs = [rgb_u8_to_lab(answer) for answer in answers], [rgb_u8_to_lab(truth) for truth in truths]
    for name, of in (("foliage", foliage_mask), ("reds", red_mask)):
        masks = [of(lab) for lab in labs[1]]
        assert row[f"kept_{name}"] == pytest.approx(chroma_kept(*labs, masks), abs=1e-3)
    skin = [skin_mask(labs[1][0], inside_boxes((64, 64), [box]))]
    assert row["kept_skin"] == pytest.approx(chroma_kept(labs[0][:1], labs[1][:1], skin), abs=1e-3)
    gray = Truth.of(np.full((8, 8, 3), 90, np.uint8), RARITY)
    tally, sums = Tally(full=False), TruthSums()
    tally.add(gray.rgb_u8, gray)
    sums.add(gray)
    assert not [name for name in tally.result(sums) if name.startswith("kept")]


def test_the_rebalanced_auc_counts_classes_alike() -> None:
    """Nine pixels of the commonest color are right, one of a rare color is not: raw 90 %, rebalanced far lower."""
    common, rare = nearest_bin(np.float32([[0, 0], [60, 50]]), CENTERS)
    shares = np.maximum(smooth_prior(PRIOR, CENTERS), LEAST_SHARE)
    shares /= shares.sum()
    lab = np.full((2, 5, 3), [50.0, 0.0, 0.0], np.float32)
    lab[1, 4, 1:] = CENTERS[rare]
    truth = Truth(np.zeros((2, 5, 3), np.uint8), lab, RARITY.take(ab_to_row(lab[..., 1:])), 1.0, 1.0, 1.0)
    right = quality.right_thresholds(lab[..., 1:] * 0, lab[..., 1:])
    expected = (9 / shares[common] + right[1, 4] / shares[rare]) / (9 / shares[common] + 1 / shares[rare])
    tally, sums = Tally(full=False), TruthSums()
    gray = np.full((2, 5, 3), 119, np.uint8)
    tally.add(gray, truth)
    sums.add(truth)
    row = tally.result(sums)
    assert row["auc_rebalanced"] == pytest.approx(100 * expected, abs=0.3)
    assert row["auc_rebalanced"] < row["auc"] - 20


def test_every_color_has_a_finite_weight() -> None:
    certain = np.zeros(313)
    certain[100] = 1.0
    table = rarity_table(certain)
    assert table.shape == (65536,)
    assert np.isfinite(table).all()
    assert table.max() / table.min() <= 1 / LEAST_SHARE


def test_equal_pictures_count_as_a_hundred_decibels() -> None:
    truth = Truth.of(landscape(3, 32, 32), RARITY)
    tally, sums = Tally(), TruthSums()
    tally.add(truth.rgb_u8, truth)
    sums.add(truth)
    row = tally.result(sums)
    assert (row["psnr"], row["ssim"], row["colorfulness_ratio"]) == (HIGHEST_PSNR, 1, 1)
    assert row["false_red"] == row["delta_e"] == 0


def test_light_rows_lack_what_is_costly() -> None:
    truth = Truth.of(landscape(3, 32, 32), RARITY)
    sums = TruthSums()
    sums.add(truth)
    rows = []
    for full in (True, False):
        tally = Tally(full=full)
        tally.add(paler(truth.rgb_u8, 0.5), truth)
        rows.append(tally.result(sums))
    assert set(rows[0]) - set(rows[1]) == {"ssim", "delta_e"}
    assert {name: rows[0][name] for name in rows[1]} == rows[1]


def test_histograms_count_every_pixel_once() -> None:
    tally = Tally()
    tally.count_colors(rgb_u8_to_lab(landscape(4, 40, 50)))
    strong = np.full((3, 4, 3), [50.0, 200.0, 0.0], np.float32)
    tally.count_colors(strong)
    assert tally.chroma_counts.sum() == 40 * 50 + 12
    assert tally.chroma_counts[-1] >= 12  # beyond the last edge counts in the last bar
    assert tally.hue_counts[0] >= 12


def test_ssim_of_a_known_pair_is_the_papers() -> None:
    """An offset leaves structure and contrast: SSIM is its luminance term, (2 m1 m2 + C1) / (m1^2 + m2^2 + C1)."""
    flat = np.full((20, 20, 3), 100, np.uint8)
    constant = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + constant) / (100**2 + 120**2 + constant)
    assert ssim(flat + 20, flat) == pytest.approx(expected)
    assert ssim(flat, flat) == 1


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (rgb_u8_to_lab(landscape(seed, 37, 20)) for seed in (5, 6))
    monkeypatch.setattr(judging, "STRIP_PIXELS", 60)
    assert mean_delta_e(first, second) == pytest.approx(quality.delta_e_2000(first, second).mean())


def test_rows_of_a_group_are_averaged() -> None:
    assert mean_rows([{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 5.0}], ("a", "b")) == {"a": 1.5, "b": 4.0}
