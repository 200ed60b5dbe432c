"""What the shipped model promises, and how a promise is judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.quality.mounts import COUNT
from benchmarks.quality.scores import BELOW_GRAY, CALM, DEFAULT, OVER_BASELINE, OVER_GRAY, VIVID

LEAST_PICTURES: Final = 20
"""Means of fewer say nothing of a promise; there are but 12 mounts."""


@dataclass(frozen=True)
class Bar:
    """A promise.

    Attributes:
        table: of which set.
        row: of which mode.
        score: what is measured.
        least: the score must reach it.
        most: the score must not pass it.
    """

    table: str
    row: str
    score: str
    least: float = -float("inf")
    most: float = float("inf")

    @property
    def name(self) -> str:
        """Return the promise in words."""
        limits = [f">= {self.least:g}"] * (self.least > -float("inf")) + [f"<= {self.most:g}"] * (
            self.most < float("inf")
        )
        return f"{self.table}, {self.row}: {self.score} {' and '.join(limits)}"


BARS_CPU: Final = (
    Bar("pictures", CALM, "psnr", least=23.4),
    Bar("pictures", CALM, "false_red", most=0.15),
    Bar("pictures", CALM, BELOW_GRAY, most=15.0),
    Bar("pictures", DEFAULT, "colorfulness_ratio", least=0.70),
    Bar("pictures", DEFAULT, "psnr", least=22.8),
    Bar("pictures", DEFAULT, "false_red", most=0.15),
    Bar("pictures", DEFAULT, "false_green", most=1.0),
    Bar("pictures", DEFAULT, "false_yellow", most=1.0),
    Bar("pictures", DEFAULT, "false_blue", most=1.0),
    Bar("pictures", DEFAULT, "dark_false_red", most=0.1),
    Bar("pictures", DEFAULT, "tvq", least=0.6, most=0.95),
    Bar("pictures", DEFAULT, "speckle", most=0.0201),
    Bar("pictures", VIVID, "colorfulness_ratio", least=0.85),
    Bar("pictures", VIVID, "psnr", least=22.0),
    Bar("pictures", VIVID, "false_red", most=0.5),
    Bar("kodak", DEFAULT, OVER_GRAY, least=0.5),
    Bar("kodak", CALM, OVER_GRAY, least=1.2),
    Bar("origin", DEFAULT, OVER_BASELINE, least=0.4),
    Bar("origin/flickr8k", DEFAULT, OVER_BASELINE, least=0.6),
    Bar("plates/pan", DEFAULT, "ab_error", most=11.9),
    Bar("plates/ortho", DEFAULT, "ab_error", most=11.9),
    Bar("plates/blue", DEFAULT, "ab_error", most=12.6),
    Bar("plates/ortho", DEFAULT, "colorfulness_ratio", least=0.66),
    Bar("plates/blue", DEFAULT, "colorfulness_ratio", least=0.56),
    Bar("plates/pan", DEFAULT, "kept_reds", least=0.45),
    Bar("plates/pan", DEFAULT, "kept_skin", least=0.60),
    Bar("plates/pan", DEFAULT, "kept_foliage", least=0.65),
    Bar("historical", DEFAULT, "median_chroma", least=11.0),
    Bar("historical", DEFAULT, "one_tint", most=33.4),
    Bar("mounts", DEFAULT, "worst_border_chroma", most=3.0),
)
"""What a model that was trained on a CPU promises."""
_HIGHER: Final = (
    Bar("pictures", DEFAULT, "colorfulness_ratio", least=0.75),
    Bar("pictures", VIVID, "colorfulness_ratio", least=0.87),
)
BARS_GPU: Final = (
    *(bar for bar in BARS_CPU if all((bar.table, bar.row, bar.score) != (b.table, b.row, b.score) for b in _HIGHER)),
    *_HIGHER,
)
"""What one that was trained on a GPU promises."""
BARS: Final = {"cpu": BARS_CPU, "gpu": BARS_GPU}


@dataclass(frozen=True)
class Verdict:
    """What became of a promise.

    Attributes:
        name: the promise in words.
        value: what was measured; None where it was not.
        is_kept: None where it cannot be judged.
    """

    name: str
    value: float | None
    is_kept: bool | None


def judge(tables: Mapping[str, Mapping[str, Any]], bars: Iterable[Bar]) -> list[Verdict]:
    """Judge the promises about the sets that were measured: of tables by name, with `pictures` and `rows`."""
    verdicts = []
    for bar in bars:
        if bar.table in tables:
            table = tables[bar.table]
            value = table["rows"].get(bar.row, {}).get(bar.score)
            is_enough = table["pictures"] >= (COUNT if bar.table == "mounts" else LEAST_PICTURES)
            is_judged = value is not None and is_enough
            verdicts.append(Verdict(bar.name, value, bar.least <= value <= bar.most if is_judged else None))
    return verdicts
