"""The history of a run, drawn: one SVG a question, into the run folder.

A plot is drawn from the files of the folder alone, so that an old or unfinished run can be drawn too.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.run import run_folder
from training.run.history import Row, read_rows
from training.whole_files import write_whole

POINTS: Final = 400
"""A curve has at most about so many points; more rows are averaged."""

WIDTH_IN: Final = 11.5
"""Of a plot, as wide as the run's page, inches of 96 px."""

HEIGHT_IN: Final = 2.7
"""Of a line of panels, inches."""

INK: Final = "#1f2933"

COLORS: Final = ("#0b6fb8", "#c2571a", "#3b8132", "#7a4fa3")

REFERENCE: Final = "#8a94a0"


@dataclass(frozen=True)
class Curve:
    """A line in a panel.

    Attributes:
        name: of the column in the rows.
        label: in the legend.
        is_reference: learns nothing; drawn gray and dashed.
    """

    name: str
    label: str
    is_reference: bool = False


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Attributes:
        title: what is shown, with its unit and which way is better.
        curves: the lines.
    """

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Plot:
    """A file of panels side by side.

    Attributes:
        file: its name.
        caption: what it answers.
        source: file of rows it is drawn from.
        panels: of the plot.
    """

    file: str
    caption: str
    source: str
    panels: tuple[Panel, ...]


PLOTS: Final = (
    Plot(
        "scores.svg",
        "What validation says of the averaged weights, beside what learns nothing (dashed).",
        run_folder.METRICS,
        (
            Panel("KL, nats (lower)", (Curve("kl", "network"), Curve("kl_prior", "prior", True))),
            Panel("top-1 (higher)", (Curve("top1", "network"), Curve("top1_majority", "majority", True))),
            Panel("ab within 20 (higher)", (Curve("within20", "network"), Curve("within20_gray", "gray", True))),
            Panel(
                "RMSE of ab, Lab units (lower)",
                (
                    Curve("rmse_regression", "regression"),
                    Curve("rmse_mean", "mean of the posterior"),
                    Curve("rmse_argmax", "argmax"),
                    Curve("rmse_gray", "gray", True),
                ),
            ),
            Panel("scene top-1 (higher)", (Curve("scene_top1", "network"),)),
            Panel("calibration error (lower)", (Curve("ece", "ECE"),)),
            Panel(
                "segmentation (higher)",
                (Curve("segmentation_accuracy", "pixels right"), Curve("segmentation_miou", "mean IoU")),
            ),
        ),
    ),
    Plot(
        "losses.svg",
        "Each head's loss on the training batches.",
        run_folder.STEPS,
        (
            Panel("weighted sum", (Curve("loss", "loss"),)),
            Panel("ab_logits: cross-entropy, nats", (Curve("ab_logits_loss", "ab_logits"),)),
            Panel("ab: regression", (Curve("ab_loss", "ab"),)),
            Panel("scene_logits: cross-entropy, nats", (Curve("scene_logits_loss", "scene_logits"),)),
            Panel("segmentation_logits", (Curve("segmentation_logits_loss", "segmentation_logits"),)),
        ),
    ),
    Plot(
        "pace.svg",
        "The learning rate, and how fast photographs go through.",
        run_folder.STEPS,
        (
            Panel("learning rate", (Curve("learning_rate", "learning rate"),)),
            Panel("images a second", (Curve("images_per_s", "images/s"),)),
        ),
    ),
)


def draw_history(folder: Path) -> list[Plot]:
    """Draw what the rows of a run folder hold.

    Args:
        folder: of the run.

    Returns:
        The plots that could be drawn: there are rows, and they have the columns.

    Raises:
        RunFolderError: a file of rows is broken, or the disk refuses.
    """
    drawn = []
    for plot in PLOTS:
        rows = read_rows(folder / plot.source)
        panels = [panel for panel in plot.panels if any(_points(rows, curve.name)[0].size for curve in panel.curves)]
        if panels:
            (folder / run_folder.PLOTS).mkdir(exist_ok=True)
            write_whole(folder / run_folder.PLOTS / plot.file, _draw(panels, rows))
            drawn.append(plot)
    return drawn


def _points(rows: Sequence[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of a column, averaged down to `POINTS`; rows where it is unknown are left out."""
    pairs = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    step, value = np.array(pairs, float).reshape(-1, 2).T
    every = -(-len(step) // POINTS)
    if every > 1:
        starts = np.arange(0, len(step), every)
        count = np.diff(np.append(starts, len(step)))
        step, value = (np.add.reduceat(column, starts) / count for column in (step, value))
    return step, value


def _draw(panels: Sequence[Panel], rows: Sequence[Row]) -> bytes:
    # A canvas of its own: no window, no state that other users of matplotlib in this process would share.
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    columns = 2 if len(panels) in (2, 4) else min(len(panels), 3)
    lines = -(-len(panels) // columns)
    width, height = WIDTH_IN, lines * HEIGHT_IN
    figure = Figure(figsize=(width, height))
    # Margins by hand: matplotlib's own layouts draw everything twice.
    left, right, top, bottom = 0.55 / width, 1 - 0.1 / width, 1 - 0.28 / height, 0.45 / height
    figure.subplots_adjust(left=left, right=right, top=top, bottom=bottom, wspace=0.22, hspace=0.42)
    for place, panel in enumerate(panels, start=1):
        _draw_panel(figure.add_subplot(lines, columns, place), panel, rows)
    data = io.BytesIO()
    # Equal rows give equal files, and text stays text.
    with rc_context({"svg.hashsalt": "photochrom", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(data, metadata={"Date": None})
    return data.getvalue()


def _draw_panel(axes: Any, panel: Panel, rows: Sequence[Row]) -> None:
    colors = iter(COLORS)
    for curve in panel.curves:
        step, value = _points(rows, curve.name)
        if not step.size:
            continue
        style: dict[str, Any] = {"color": REFERENCE, "linestyle": "--"}
        if not curve.is_reference:
            style = {"color": next(colors), "marker": "o" if len(step) < 40 else "", "markersize": 2.5}
        axes.plot(step, value, label=curve.label, linewidth=1.4, **style)
    axes.set_title(panel.title, loc="left", fontsize=9, color=INK)
    axes.set_xlabel("step", fontsize=8, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(True, linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(axes.lines) > 1:
        axes.legend(fontsize=7, frameon=False)
