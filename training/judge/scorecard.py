"""The scores of an evaluation: what each is called, how it is printed, and the table."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True)
class Score:
    """One score of a way to decode.

    Attributes:
        heading: of its column.
        form: how it is printed, a format specification.
        better: `high` or `low`; empty where neither is.
        meaning: in one sentence.
    """

    heading: str
    form: str
    better: str
    meaning: str


SCORES: Final = MappingProxyType(
    {
        "psnr": Score("PSNR dB", ".2f", "high", "Peak signal-to-noise ratio over sRGB, mean over photographs."),
        "ssim": Score("SSIM", ".3f", "high", "Structural similarity, mean over the sRGB channels."),
        "ab_error": Score("ab error", ".1f", "low", "Mean distance in ab, Lab units."),
        "delta_e": Score("dE2000", ".1f", "low", "Mean CIEDE2000 color difference; an eye begins to see it at 1."),
        "auc": Score("AuC %", ".1f", "high", "Share of pixels within t of the true ab, averaged over t = 0 to 150."),
        "auc_rebalanced": Score(
            "AuC rebal. %", ".1f", "high", "The same, each pixel weighed by one over how often its true color occurs."
        ),
        "colorfulness": Score("CF", ".1f", "", "Mean colorfulness of the answers."),
        "colorfulness_ratio": Score("CFr", ".2f", "", "Mean colorfulness over that of the truth: 1 is as colorful."),
        "kept_skin": Score("skin kept", ".2f", "", "Chroma of the answers over the truth's where the truth is skin."),
        "kept_foliage": Score("foliage kept", ".2f", "", "The same where the truth is green as plants are."),
        "kept_reds": Score("reds kept", ".2f", "", "The same where the truth is plainly red."),
        "delta_colorfulness_of_means": Score(
            "dCF of means", ".1f", "low", "Difference of the mean colorfulnesses; too pale and too vivid cancel."
        ),
        "mean_delta_colorfulness": Score(
            "mean dCF", ".1f", "low", "Mean of each photograph's difference in colorfulness."
        ),
        "false_red": Score("FRF %", ".2f", "low", "Share of pixels that are red where the truth has no red near."),
        "worst_false_red": Score("worst FRF %", ".1f", "low", "The same in the worst photograph."),
        "false_deep_red": Score("FRF 340-35 %", ".2f", "low", "As FRF, for the deeper reds, which skin hardly has."),
        "false_yellow": Score("false yellow %", ".2f", "low", "As FRF, for yellow hues."),
        "false_green": Score("false green %", ".2f", "low", "As FRF, for green hues."),
        "false_blue": Score("false blue %", ".2f", "low", "As FRF, for blue hues."),
        "false_magenta": Score("false magenta %", ".2f", "low", "As FRF, for magenta hues."),
        "dark_false_red": Score(
            "DFR %", ".2f", "low", "False red in the shadows: share of the pixels with L below 25."
        ),
        "speckle": Score("SPK %", ".2f", "low", "Area of small, strongly colored spots that the truth does not have."),
        "tvr": Score("TVr", ".2f", "", "Variation of color where L is smooth, over the truth's at full size."),
        "tvq": Score("TVq", ".2f", "", "The same over the truth's at a quarter of the size: above 1 is blotchy."),
        "lightness_error": Score("mean dL", ".2f", "low", "Mean change of L."),
        "lightness_error_p99": Score("p99 dL", ".2f", "low", "99th percentile of the change of L."),
    }
)
"""Scores by name; shares are in percent."""

FALSE_COLORS: Final = ("false_red", "false_deep_red", "false_green", "false_yellow", "false_blue")
"""Stand together wherever false red is shown."""

CARD_COLUMNS: Final = (
    *("psnr", "ab_error", "delta_e", "colorfulness_ratio", *FALSE_COLORS, "worst_false_red"),
    *("dark_false_red", "speckle", "tvq", "lightness_error_p99"),
)

PLATE_COLUMNS: Final = ("ab_error", "psnr", "colorfulness_ratio", "kept_skin", "kept_foliage", "kept_reds")

TABLES: Final = MappingProxyType({"plates": PLATE_COLUMNS})
"""Columns of the table by protocol; the others have `CARD_COLUMNS`."""


def table_markdown(report: dict[str, Any]) -> str:
    """Return a report as a Markdown table."""
    columns = {name: SCORES[name] for name in TABLES.get(report.get("terms", ""), CARD_COLUMNS)}
    lines = [
        f"{report['protocol']}; {report['date']}.",
        "",
        "| | " + " | ".join(score.heading for score in columns.values()) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for way, row in report["rows"].items():
        cells = [format(row[name], score.form) if name in row else "" for name, score in columns.items()]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
