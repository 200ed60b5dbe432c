"""One way's answers against the truth, picture by picture, and their means.

PSNR, SSIM and errors are means over pictures; CFr, TVr and TVq are ratios of means; the rebalanced AuC and the chroma
kept in a sector are over the pixels of all pictures. docs/evaluation.md defines every score.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from chroma import quality
from chroma.bins import load_centers
from chroma.comparison import chroma_of, ratio_of_sums
from chroma.hues import hue_of
from chroma.lab import rgb_u8_to_lab
from chroma.prior import smooth_prior
from chroma.sectors import Box, chroma_sum, foliage_mask, inside_boxes, red_mask, skin_mask
from chroma.soft_encoding import ab_to_row, integer_ab, nearest_bins

SIDE_PX: Final = 256
"""Pictures are judged at this side, px."""

LEAST_SHARE: Final = 1e-5
"""A bin counts as this frequent at least in the rebalanced AuC, lest a few pixels of a color that hardly ever occurs
decide it."""

SSIM_SIGMA: Final = 1.5
"""Of the Gaussian window of 11 x 11, as in Wang and others 2004, px."""

STRIP_PIXELS: Final = 1 << 18

HIGHEST_PSNR: Final = 100.0
"""Equal pictures count as this near, dB: a mean with an infinity in it says nothing."""

CHROMA_EDGES: Final = np.arange(0, 104, 4)

HUE_EDGES: Final = np.arange(0, 375, 15)


def squash(rgb_u8: np.ndarray, side_px: int | None = SIDE_PX) -> np.ndarray:
    """Resize RGB, uint8, (H, W, 3), to a square, whatever its proportions; None leaves it as it is."""
    picture = np.ascontiguousarray(rgb_u8)
    if side_px is None:
        return picture
    return cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Truth:
    """A photograph to score against, with what every way's score needs of it.

    Attributes:
        rgb_u8: sRGB, uint8, (H, W, 3).
        lab: CIE Lab, float32, (H, W, 3).
        weights: what each pixel counts in the rebalanced AuC, (H, W).
        colorfulness: see `chroma.quality`.
        variation: `smooth_variation` at full size, Lab units.
        quarter_variation: the same of ab at a quarter of the size.
        sectors: where skin, foliage and reds are, (H, W), by name; no skin where nobody drew boxes round it.
    """

    rgb_u8: np.ndarray
    lab: np.ndarray
    weights: np.ndarray
    colorfulness: float
    variation: float
    quarter_variation: float
    sectors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, rgb_u8: np.ndarray, rarity: np.ndarray, boxes: Sequence[Box] = ()) -> "Truth":
        """Look at a photograph, (H, W, 3), uint8; `rarity` is from `rarity_table`, `boxes` are drawn round skin."""
        lab = rgb_u8_to_lab(rgb_u8)
        sectors = {"foliage": foliage_mask(lab), "reds": red_mask(lab)}
        if boxes:
            sectors["skin"] = skin_mask(lab, inside_boxes(lab.shape[:2], boxes))
        return cls(
            rgb_u8,
            lab,
            rarity.take(ab_to_row(lab[..., 1:])),
            quality.colorfulness(rgb_u8),
            quality.smooth_variation(lab),
            quality.smooth_variation(quality.quarter_lab(lab)),
            sectors,
        )


def rarity_table(prior: np.ndarray) -> np.ndarray:
    """Return the inverse class probability of every integer ab pair, lambda = 0 in the terms of ECCV16.

    The prior is smoothed in ab (sigma 5) and no bin counts as rarer than `LEAST_SHARE`, so that every weight is finite.

    Args:
        prior: of a run, raw, (Q,).

    Returns:
        Weights, float64, (65536,), by `chroma.soft_encoding.ab_to_row`.
    """
    centers = load_centers()
    shares = np.maximum(smooth_prior(prior, centers), LEAST_SHARE)
    nearest = nearest_bins(integer_ab(), centers, k=1)[:, 0]
    return 1 / (shares / shares.sum())[nearest]


@dataclass
class Tally:
    """Scores of one way, picture by picture.

    Attributes:
        full: also SSIM and delta E 2000, which cost more than all the others together.
        scores: one dict a picture.
    """

    full: bool = True
    scores: list[dict[str, float]] = field(default_factory=list)
    chroma_counts: np.ndarray = field(default_factory=lambda: np.zeros(len(CHROMA_EDGES) - 1))
    hue_counts: np.ndarray = field(default_factory=lambda: np.zeros(len(HUE_EDGES) - 1))
    _rebalanced: list[tuple[float, float]] = field(default_factory=list)
    _chroma: list[dict[str, float]] = field(default_factory=list)

    def add(self, rgb_u8: np.ndarray, truth: Truth) -> None:
        """Score a picture, sRGB, uint8, (H, W, 3), against its truth."""
        lab = rgb_u8_to_lab(rgb_u8)
        false_hues = quality.false_hues(lab, truth.lab)
        right = quality.right_thresholds(lab[..., 1:], truth.lab[..., 1:])
        lightness_error = np.abs(lab[..., 0] - truth.lab[..., 0])
        score = {
            "psnr": min(quality.psnr(rgb_u8, truth.rgb_u8), HIGHEST_PSNR),
            "ab_error": quality.ab_error(lab[..., 1:], truth.lab[..., 1:]),
            "auc": 100 * float(right.mean()),
            **{f"false_{sector}": 100 * float(mask.mean()) for sector, mask in false_hues.items()},
            "false_deep_red": 100 * quality.false_deep_red_fraction(lab, truth.lab),
            "dark_false_red": 100 * quality.dark_share(false_hues["red"], truth.lab),
            "speckle": 100 * quality.speckle(lab, truth.lab),
            "lightness_error": float(lightness_error.mean()),
            "lightness_error_p99": float(np.percentile(lightness_error, 99)),
            "colorfulness": quality.colorfulness(rgb_u8),
            "variation": quality.smooth_variation(lab),
        }
        if self.full:
            score["ssim"] = ssim(rgb_u8, truth.rgb_u8)
            score["delta_e"] = mean_delta_e(lab, truth.lab)
        self.scores.append(score)
        self._rebalanced.append((float((truth.weights * right).sum()), float(truth.weights.sum())))
        self._chroma.append({sector: chroma_sum(lab, mask) for sector, mask in truth.sectors.items()})
        self.count_colors(lab)

    def count_colors(self, lab: np.ndarray) -> None:
        """Add a picture, (H, W, 3), to the histograms of chroma, and of hue where the chroma is above 15."""
        chroma = chroma_of(lab)
        self.chroma_counts += np.histogram(np.minimum(chroma, CHROMA_EDGES[-1]), CHROMA_EDGES)[0]
        self.hue_counts += np.histogram(hue_of(lab[..., 1:])[chroma > 15], HUE_EDGES)[0]

    def part(self, places: Sequence[int]) -> "Tally":
        """Return the tally of the pictures at these places alone, without histograms."""
        chosen = Tally(self.full, [self.scores[place] for place in places])
        chosen._rebalanced = [self._rebalanced[place] for place in places]
        chosen._chroma = [self._chroma[place] for place in places]
        return chosen

    def result(self, truths: "TruthSums") -> dict[str, float]:
        """Return the row: means, ratios of means, and the worst picture's false red; shares and AuC in percent.

        Chroma kept is there for those sectors that the truths have.
        """
        of = {name: [score[name] for score in self.scores] for name in self.scores[0]}
        row = {name: float(np.mean(values)) for name, values in of.items() if name != "variation"}
        row["worst_false_red"] = max(of["false_red"])
        row["auc_rebalanced"] = 100 * ratio_of_sums(*zip(*self._rebalanced, strict=True))
        row["colorfulness_ratio"] = _ratio(of["colorfulness"], truths.colorfulness)
        row["delta_colorfulness_of_means"], row["mean_delta_colorfulness"] = quality.colorfulness_differences(
            of["colorfulness"], truths.colorfulness
        )
        row["tvr"] = _ratio(of["variation"], truths.variation)
        row["tvq"] = _ratio(of["variation"], truths.quarter_variation)
        ours, true = _summed(self._chroma), _summed(truths.chroma)
        row |= {f"kept_{sector}": ours[sector] / total for sector, total in true.items() if total}
        return {name: round(value, 4) for name, value in row.items()}


@dataclass
class TruthSums:
    """What the ratios divide by, picture by picture; made of the same pictures as the tallies.

    Attributes:
        colorfulness: of each photograph.
        variation: `smooth_variation` of each.
        quarter_variation: the same of ab at a quarter of the size.
        chroma: summed over each of its sectors.
    """

    colorfulness: list[float] = field(default_factory=list)
    variation: list[float] = field(default_factory=list)
    quarter_variation: list[float] = field(default_factory=list)
    chroma: list[dict[str, float]] = field(default_factory=list)

    def add(self, truth: Truth) -> None:
        """Add a photograph."""
        self.colorfulness.append(truth.colorfulness)
        self.variation.append(truth.variation)
        self.quarter_variation.append(truth.quarter_variation)
        self.chroma.append({sector: chroma_sum(truth.lab, mask) for sector, mask in truth.sectors.items()})

    def part(self, places: Sequence[int]) -> "TruthSums":
        """Return those of the photographs at these places alone."""
        of = (self.colorfulness, self.variation, self.quarter_variation, self.chroma)
        return TruthSums(*([values[place] for place in places] for values in of))


def _summed(pictures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return sums by sector."""
    sums: dict[str, float] = defaultdict(float)
    for picture in pictures:
        for sector, chroma in picture.items():
            sums[sector] += chroma
    return sums


def mean_delta_e(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean CIEDE2000 difference of two pictures, CIE Lab, (H, W, 3), strip by strip."""
    rows = max(STRIP_PIXELS // truth.shape[1], 1)
    strips = [slice(start, start + rows) for start in range(0, len(truth), rows)]
    total = sum(float(quality.delta_e_2000(predicted[strip], truth[strip]).sum()) for strip in strips)
    return total / (truth.shape[0] * truth.shape[1])


def ssim(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity: mean over the three sRGB channels and all pixels 5 px or more from the border.

    Gaussian window of sigma 1.5 (11 x 11), K1 = 0.01, K2 = 0.03, range 255, population covariance: the settings of the
    paper.

    Args:
        predicted: sRGB, uint8, (H, W, 3), each side at least 11 px.
        truth: the same shape.

    Returns:
        In [-1, 1]; 1 for equal pictures.

    References:
        Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
        IEEE Transactions on Image Processing 13(4), 2004.
    """
    from skimage.metrics import structural_similarity  # slow to import

    return float(
        structural_similarity(
            truth,
            predicted,
            gaussian_weights=True,
            sigma=SSIM_SIGMA,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
        )
    )


def mean_rows(rows: Iterable[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Return the means of some scores of some pictures, rounded."""
    listed = list(rows)
    return {name: round(float(np.mean([row[name] for row in listed])), 4) for name in names}


def _ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the ratio of means; 0 where the truth has nothing to compare with."""
    return ratio_of_sums(numerators, denominators) if sum(denominators) else 0.0
