"""Scores of a set of color photographs: a table for all of them, and one for each group."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.quality.sets import Photo
from chroma.quality import colorfulness, psnr
from training.judge.judging import HIGHEST_PSNR, Tally, Truth, TruthSums

GRAY: Final = "do nothing (gray)"
CALM: Final = "calm"
DEFAULT: Final = "default"
VIVID: Final = "vivid"
BELOW_GRAY: Final = "below_gray"
"""Share of the photographs whose PSNR is below that of gray, percent."""
OVER_GRAY: Final = "over_gray_db"
OVER_BASELINE: Final = "over_baseline_db"
"""PSNR over the baseline's at equal colorfulness."""
COLUMNS: Final = {
    "psnr": ("PSNR dB", ".2f"),
    OVER_GRAY: ("over gray dB", "+.2f"),
    OVER_BASELINE: ("over baseline dB", "+.2f"),
    "ab_error": ("ab error", ".2f"),
    "colorfulness_ratio": ("CFr", ".3f"),
    "false_red": ("FRF %", ".3f"),
    "false_deep_red": ("FRF 340-35 %", ".3f"),
    "false_green": ("false green %", ".3f"),
    "false_yellow": ("yellow %", ".3f"),
    "false_blue": ("blue %", ".3f"),
    "dark_false_red": ("DFR %", ".3f"),
    "tvq": ("TVq", ".3f"),
    "speckle": ("SPK %", ".3f"),
    "kept_reds": ("reds kept", ".2f"),
    "kept_skin": ("skin kept", ".2f"),
    "kept_foliage": ("foliage kept", ".2f"),
    BELOW_GRAY: ("below gray %", ".1f"),
    "worst_false_red": ("worst FRF %", ".1f"),
    "worst_gain_db": ("worst dB", "+.1f"),
    "worst": ("worst", "s"),
    "median_chroma": ("median chroma", ".1f"),
    "one_tint": ("one tint %", ".1f"),
    "border_chroma": ("border chroma", ".2f"),
    "worst_border_chroma": ("worst", ".2f"),
}
"""Heading and form of each score; docs/evaluation.md and benchmarks/README.md define them."""


class Scores:
    """Scores of several rows of answers, photograph by photograph.

    Attributes:
        names: of the photographs.
        groups: of each one.
    """

    def __init__(self, rows: Sequence[str]) -> None:
        """Begin with none; the rows are those of gray and of `rows`."""
        self.names: list[str] = []
        self.groups: list[str] = []
        self._tallies = {row: Tally(full=False) for row in (GRAY, *rows)}
        self._truths = TruthSums()
        self._alike = np.ones(1 << 16)  # no rebalancing: that score is for training

    def add(self, photo: Photo, answers: Mapping[str, np.ndarray]) -> None:
        """Score the answers to a photograph, sRGB, uint8, (H, W, 3), by row; gray's is among them."""
        truth = Truth.of(photo.rgb_u8, self._alike, photo.boxes)
        for row, answer in answers.items():
            self._tallies[row].add(answer, truth)
        self._truths.add(truth)
        self.names.append(photo.name)
        self.groups.append(photo.group)

    def tables(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the table of all photographs, and `name/group` of each group; none where there are no photographs."""
        chosen = {name: list(range(len(self.names)))}
        for group in sorted(set(self.groups) - {""}):
            chosen[f"{name}/{group}"] = [place for place, own in enumerate(self.groups) if own == group]
        return {key: {"pictures": len(places), "rows": self._rows(places)} for key, places in chosen.items() if places}

    def _rows(self, places: Sequence[int]) -> dict[str, dict[str, float | str]]:
        truths, gray = self._truths.part(places), self._tallies[GRAY].part(places)
        table: dict[str, dict[str, float | str]] = {}
        for row, whole in self._tallies.items():
            tally = whole.part(places)
            gains = np.array(
                [ours["psnr"] - none["psnr"] for ours, none in zip(tally.scores, gray.scores, strict=True)]
            )
            scores = {name: value for name, value in tally.result(truths).items() if name in COLUMNS}
            table[row] = {
                **scores,
                OVER_GRAY: round(float(gains.mean()), 3),
                BELOW_GRAY: round(100 * float(np.mean(gains < 0)), 2),
                "worst_gain_db": round(float(gains.min()), 2),
                "worst": self.names[places[int(gains.argmin())]],
            }
        return table


class Curve:
    """PSNR and colorfulness of a set along the vividness, to compare two models at equal colorfulness."""

    def __init__(self) -> None:
        """Begin without photographs."""
        self._psnr: list[list[float]] = []
        self._colorfulness: list[list[float]] = []
        self._truth: list[float] = []

    def add(self, truth: np.ndarray, answers: Sequence[np.ndarray]) -> None:
        """Add a photograph and the answers to it, the calmest first; sRGB, uint8, (H, W, 3)."""
        self._psnr.append([min(psnr(answer, truth), HIGHEST_PSNR) for answer in answers])
        self._colorfulness.append([colorfulness(answer) for answer in answers])
        self._truth.append(colorfulness(truth))

    def points(self, places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return CFr and mean PSNR, dB, at each vividness, over the photographs at these places."""
        ratio = np.mean(np.array(self._colorfulness)[places], axis=0) / np.mean(np.array(self._truth)[places])
        return ratio, np.mean(np.array(self._psnr)[places], axis=0)


def at_equal_colorfulness(
    ours: tuple[np.ndarray, np.ndarray], baseline: tuple[np.ndarray, np.ndarray], ratio: float
) -> dict[str, float]:
    """Compare the PSNR of two models where their answers are equally colorful.

    Each is interpolated linearly along its curve. Where one of them does not reach the CFr at any vividness, both are
    compared at the nearest CFr that both reach.

    Args:
        ours: CFr, rising, and mean PSNR, dB; each (points,).
        baseline: likewise.
        ratio: the CFr to compare at.

    Returns:
        The CFr, both PSNR and their difference, dB.

    Raises:
        RuntimeError: there is no CFr that both reach.
    """
    lowest, highest = max(ours[0][0], baseline[0][0]), min(ours[0][-1], baseline[0][-1])
    if lowest > highest:
        raise RuntimeError("the two models are equally colorful at no vividness")
    at = float(np.clip(ratio, lowest, highest))
    our_db, baseline_db = float(np.interp(at, *ours)), float(np.interp(at, *baseline))
    return {
        "colorfulness_ratio": round(at, 4),
        "psnr": round(our_db, 4),
        "baseline_psnr": round(baseline_db, 4),
        OVER_BASELINE: round(our_db - baseline_db, 3),
    }
