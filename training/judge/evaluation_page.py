"""The evaluation as one HTML page: every number on it is in the report, and says where."""

import json
from collections.abc import Callable, Mapping
from html import escape
from importlib import resources
from typing import Any

from training.judge.evaluation_plots import draw_plots
from training.judge.scorecard import FALSE_COLORS, SCORES
from training.judge.ways import CEILING, DEFAULT, DO_NOTHING, MAJORITY

POSTERIOR_COLUMNS = {
    "kl": ("KL", ".3f"),
    "cross_entropy": ("CE", ".3f"),
    "top1": ("top-1", ".3f"),
    "top5": ("top-5", ".3f"),
    "soft_accuracy": ("soft accuracy", ".3f"),
    "within10": ("within 10", ".3f"),
    "within20": ("within 20", ".3f"),
    "ece": ("ECE of hits", ".3f"),
    "ece_labels": ("ECE of labels", ".3f"),
    "rmse_mean": ("RMSE mean", ".2f"),
    "rmse_regression": ("RMSE regression", ".2f"),
    "rmse_argmax": ("RMSE argmax", ".2f"),
}
"""Heading and form of each score of the posterior."""

CONFIDENCE_COLUMNS = {"temperature": "g", "ece": ".3f", "confidence": ".3f", "right": ".3f"}
"""Form of each figure of the confidence."""

DECODER_COLUMNS = (
    *("psnr", "ab_error", "auc", "auc_rebalanced", "colorfulness_ratio", *FALSE_COLORS, "worst_false_red"),
    *("dark_false_red", "speckle", "tvq"),
)

VIVIDNESS_COLUMNS = ("psnr", "colorfulness_ratio", *FALSE_COLORS, "dark_false_red", "tvq")

FIDELITY_COLUMNS = (
    *("colorfulness", "colorfulness_ratio", "delta_colorfulness_of_means", "mean_delta_colorfulness"),
    *("kept_skin", "kept_foliage", "kept_reds"),
)

NOISE_COLUMNS = (*FALSE_COLORS, "false_magenta", "dark_false_red", "speckle", "tvr", "tvq")

TILE_TITLES = {
    "gray": "gray",
    "regression": "regression",
    "argmax": "argmax",
    "default": "default",
    "ortho": "ortho plate",
    "blue": "blue plate",
    "vivid": "vivid",
    "truth": "truth",
}


def render_page(report: Mapping[str, Any]) -> str:
    """Make the page.

    Args:
        report: from `training.judge.evaluate.evaluate_run`; nothing else is looked at.

    Returns:
        HTML with its styles and plots inside; pictures are files beside it, named in the report.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        (resources.files("training") / "templates" / "evaluation.html.j2").read_text("utf-8")
    )
    shown = [place for place, picture in enumerate(report["details"]["per_picture"]) if picture["tiles"]]
    extreme = {picture["place"] for picture in (*report["worst"], *report["details"]["best"])}
    return template.render(
        report=report,
        number=_numbers(report),
        plots={name: Html(svg) for name, svg in draw_plots(report).items()},
        scores=SCORES,
        false_colors=FALSE_COLORS,
        references=(DO_NOTHING, MAJORITY, CEILING),
        default=DEFAULT,
        others=[place for place in shown if place not in extreme],
        posterior_columns=POSTERIOR_COLUMNS,
        confidence_columns=CONFIDENCE_COLUMNS,
        decoder_columns=DECODER_COLUMNS,
        vividness_columns=VIVIDNESS_COLUMNS,
        fidelity_columns=[name for name in FIDELITY_COLUMNS if any(name in row for row in report["rows"].values())],
        noise_columns=NOISE_COLUMNS,
        tile_titles=TILE_TITLES,
    )


def pointer(*path: str | int) -> str:
    """Return where a value is in a JSON document (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


class Html(str):
    """Markup that a template takes as it is."""

    def __html__(self) -> str:
        """Return itself: nothing is left to escape."""
        return self


def _numbers(report: Mapping[str, Any]) -> Callable[..., Html]:
    """Return what writes a number of the report into the page, with its place and its exact value."""

    def number(*path: str | int, form: str = "") -> Html:
        value: Any = report
        for part in path:
            value = value[part]
        text = "unknown" if value is None else format(value, form)
        attributes = {"value": json.dumps(value), "data-json": pointer(*path), "data-form": form}
        written = " ".join(f'{name}="{escape(text)}"' for name, text in attributes.items())
        return Html(f"<data {written}>{escape(text)}</data>")

    return number
