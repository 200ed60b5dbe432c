"""The plots of the evaluation page, drawn from the report alone: SVG that takes its ink from the page."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from chroma.hues import HUE_SECTORS
from training.judge.ways import ARGMAX, CALM, CEILING, DEFAULT, DO_NOTHING, MAJORITY, REGRESSION, VIVID

SIZE_IN: Final = (4.4, 3.1)

INK: Final = "#010203"
"""Stands for the page's ink and is replaced by it."""

FAINT: Final = "#040506"
"""Stands for the page's rules."""

BLUE, ORANGE, GREEN, PURPLE, RED = "#3987c9", "#dd7a1f", "#44995a", "#9a6bc4", "#d1495b"

GRAY: Final = "#8b93a0"

FAMILIES: Final = (
    ("annealed", GREEN, "^"),
    ("prior correction", PURPLE, "s"),
    ("original", RED, "X"),
)
"""Decoders by what their name begins with; the others go by their own."""

STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evaluation",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}

LONG_LABEL: Final = 20
"""Three columns of labels longer than this do not fit."""


def draw_plots(report: Mapping[str, Any]) -> dict[str, str]:
    """Draw what the report has data for.

    Args:
        report: from `training.judge.evaluate.evaluate_run`.

    Returns:
        SVG elements by name: `psnr` and `false_red` along the vividness curve, `reliability_photographs`,
        `reliability_validation`, `confidence_photographs`, `hues`, `gains`, `chroma`, `hue`.
    """
    details = report["details"]
    plots: dict[str, str] = {}
    if details["vividness"]:
        plots["psnr"] = _svg("psnr", lambda axes: _trade(axes, report, "psnr", "PSNR, dB (higher is better)"))
        plots["false_red"] = _svg(
            "false_red", lambda axes: _trade(axes, report, "false_red", "false red, % (lower is better)")
        )
    plots["hues"] = _svg("hues", lambda axes: _false_hues(axes, report["rows"]))
    for name, scored in details["posterior"].items():
        if scored is not None:
            plots[f"reliability_{name}"] = _svg(
                f"reliability_{name}", partial(_reliability, rows=scored["reliability"])
            )
    for name, measured in details["confidence"].items():
        plots[f"confidence_{name}"] = _svg(f"confidence_{name}", partial(_confidence, rows=measured["reliability"]))
    histograms = details["histograms"]
    plots["gains"] = _svg("gains", lambda axes: _gains(axes, histograms["gain_db"]))
    plots["chroma"] = _svg("chroma", lambda axes: _shares(axes, histograms["chroma"], "chroma, Lab units", log=True))
    plots["hue"] = _svg("hue", lambda axes: _hue(axes, histograms["hue"]))
    return plots


def _trade(axes: Any, report: Mapping[str, Any], score: str, label: str) -> None:
    """Score against colorfulness: the curve that vividness runs along, the other decoders, and doing nothing."""
    details = report["details"]
    curve = details["vividness"]
    decoders = details["decoders"]
    axes.plot(
        [step["colorfulness_ratio"] for step in curve],
        [step[score] for step in curve],
        color=BLUE,
        marker="o",
        markersize=4,
        label="vividness 0 to 1",
        zorder=3,
    )
    for family, color, marker in FAMILIES:
        rows = [row for name, row in decoders.items() if name.startswith(family)]
        points = [row["colorfulness_ratio"] for row in rows], [row[score] for row in rows]
        axes.scatter(*points, color=color, marker=marker, s=22, label=family)
    for name, marker in ((REGRESSION, "P"), (ARGMAX, "v"), ("fused", "D")):
        axes.scatter(
            [decoders[name]["colorfulness_ratio"]],
            [decoders[name][score]],
            color=ORANGE,
            marker=marker,
            s=26,
            label=name,
        )
    axes.axhline(decoders[DO_NOTHING][score], color=GRAY, linestyle="--", linewidth=1, label="do nothing")
    axes.set(xlabel="colorfulness over the truth's", ylabel=label)


def _false_hues(axes: Any, rows: Mapping[str, Mapping[str, float]]) -> None:
    shown = [name for name in rows if name not in (DO_NOTHING, MAJORITY, CEILING)]
    shown = [name for name in shown if name in (DEFAULT, VIVID, REGRESSION, ARGMAX) or name.startswith("original")]
    width = 0.8 / len(shown)
    colors = dict(zip(shown, (BLUE, GREEN, ORANGE, PURPLE, RED, GRAY), strict=False))
    places = np.arange(len(HUE_SECTORS))
    for number, name in enumerate(shown):
        heights = [rows[name][f"false_{sector}"] for sector in HUE_SECTORS]
        axes.bar(places + (number + 0.5) * width - 0.4, heights, width, color=colors[name], label=_short(name))
    axes.set_xticks(places, list(HUE_SECTORS))
    axes.grid(visible=False, axis="x")
    axes.set(ylabel="pixels of a false hue, %")


def _reliability(axes: Any, *, rows: Sequence[Mapping[str, float]]) -> None:
    confidence = [row["confidence"] for row in rows]
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1, label="calibrated")
    axes.plot(confidence, [row["label_mass"] for row in rows], color=BLUE, marker="o", label="mass of the soft label")
    axes.plot(confidence, [row["right"] for row in rows], color=ORANGE, marker="s", label="hits, ties counted")
    axes.set(xlabel="confidence: probability of the top bin", ylabel="share", xlim=(0, 1), ylim=(0, 1))


def _confidence(axes: Any, *, rows: Sequence[Mapping[str, float]]) -> None:
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1, label="calibrated")
    confidence = [row["confidence"] for row in rows]
    axes.plot(confidence, [row["right"] for row in rows], color=BLUE, marker="o", label="right")
    axes.bar(
        confidence,
        [row["pixels"] for row in rows],
        0.05,
        color=GRAY,
        alpha=0.5,
        label="share of the pixels",
    )
    axes.set(xlabel="confidence: mass within 20 Lab units", ylabel="share", xlim=(0, 1), ylim=(0, 1))


def _gains(axes: Any, histogram: Mapping[str, Sequence[float]]) -> None:
    edges, counts = np.asarray(histogram["edges"]), histogram["counts"]
    colors = [RED if edge < 0 else BLUE for edge in edges[:-1]]
    axes.bar(edges[:-1], counts, np.diff(edges) * 0.92, align="edge", color=colors)
    axes.set(xlabel="PSNR over gray at the default setting, dB", ylabel="photographs")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _shares(axes: Any, histogram: Mapping[str, Any], label: str, *, log: bool = False) -> None:
    edges = histogram["edges"]
    colors = {CALM: GREEN, DEFAULT: BLUE, VIVID: ORANGE, "truth": INK}
    for name, shares in histogram["shares"].items():
        axes.stairs([100 * share for share in shares], edges, color=colors[name], label=_short(name), linewidth=1.4)
    axes.set(xlabel=label, ylabel="pixels, %")
    if log:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.01)


def _hue(axes: Any, histogram: Mapping[str, Any]) -> None:
    _shares(axes, histogram, "hue where chroma is above 15, degrees")
    axes.set_xticks(range(0, 361, 60))


def _short(name: str) -> str:
    return name.partition(" (")[0].replace(" decode", "")


def _svg(name: str, draw: Callable[[Any], None]) -> str:
    """Draw one pair of axes; return an <svg> element whose ids are its own and whose colors are the page's."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.set_axisbelow(True)
        draw(axes)
        if labels := axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside upper left", ncols=2 if max(map(len, labels)) > LONG_LABEL else 3)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "currentColor").replace(FAINT, "var(--rule)")
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()
