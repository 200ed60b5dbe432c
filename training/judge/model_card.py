"""A model card's figures: what stands between its marks is written by a command, all the rest by hand.

A card has up to five marked sections, of which only `scores` must be there; the text between two marks is replaced.

run          what was trained, on how much, for how long, how validation went
scores       every way to decode on the evaluation photographs, beside doing nothing, the majority color, the ceiling
validation   the posterior on the validation split, beside what learns nothing
kinds        the default setting by coarse scene and by data set, on the validation split
failures     the photographs on which the default setting loses most to doing nothing
"""

import fnmatch
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from chroma.hues import HUE_SECTORS, hue_of
from training import DataError
from training.judge.gallery import QUALITY
from training.judge.group_scores import EVERYTHING, KINDS
from training.judge.scorecard import FALSE_COLORS, SCORES, table_markdown
from training.run.history import judged_kl, read_rows
from training.run.run_folder import EVALUATION, METRICS, PHOTOGRAPHS, START, Run
from training.run.status import read_status
from training.whole_files import write_whole

MARKS: Final = tuple(
    (name, f"<!-- {name}: start, written by photochrom-train evaluate -->", f"<!-- {name}: end -->")
    for name in ("run", "scores", "validation", "kinds", "failures")
)
"""Name, first and last mark of each section; each mark stands on a line of its own."""

CARD_START: Final = next(start for name, start, _ in MARKS if name == "scores")

CARD_END: Final = next(end for name, _, end in MARKS if name == "scores")

SHOWN_TILES: Final = ("gray", "default", "truth")

UNMEASURED: Final = "Not measured: the evaluation was made without `--data`."

GRAY_CHROMA: Final = 4.0
"""Below this a color is called gray..."""

PALE_CHROMA: Final = 15.0
"""...below this pale..."""

STRONG_CHROMA: Final = 35.0
"""...and above this strong. Lab units."""

FALSE_HEADINGS: Final = tuple(SCORES[name].heading for name in FALSE_COLORS)

COARSE: Final = (("network", "network"), ("majority", "majority"), ("do nothing", "do nothing (gray)"))

POSTERIOR: Final = {
    "kl": ("KL, nats", ".3f"),
    "top1": ("top-1", ".3f"),
    "within10": ("within 10", ".3f"),
    "within20": ("within 20", ".3f"),
    "rmse_mean": ("RMSE mean", ".2f"),
    "rmse_regression": ("RMSE regression", ".2f"),
    "rmse_argmax": ("RMSE argmax", ".2f"),
    "ece_labels": ("ECE of labels", ".4f"),
    "scene_top1": ("scene", ".3f"),
}
"""Heading and form of each column of `validation`."""


@dataclass(frozen=True)
class Shots:
    """Which failures a card may show, and where their pictures go.

    Attributes:
        run_folder: the run; its evaluation page has the pictures.
        show: pattern of the names of photographs that may be shown, as `kodak_*`.
        folder: gets one JPEG each: gray, default, truth, side by side.
    """

    run_folder: Path
    show: str
    folder: Path


def run_facts(run: Run, parameters: int) -> dict[str, Any]:
    """Return what a card says of a run, for JSON.

    Args:
        run: the run.
        parameters: of its network.

    Returns:
        Encoder, decoder, sizes, engine, machine, and the evaluations that it made while it trained.
    """
    status, recipe = read_status(run.folder), run.recipe
    photographs = json.loads((run.folder / PHOTOGRAPHS).read_text(encoding="utf-8"))
    rows = read_rows(run.folder / METRICS)
    names = (
        "epoch",
        "step",
        "images",
        "minutes",
        "kl",
        "origin_kl",
        "kl_prior",
        "within20",
        "within20_gray",
        "scene_top1",
    )
    return {
        "encoder": recipe.model.encoder,
        "decoder_channels": list(recipe.model.decoder_channels),
        "parameters": parameters,
        "batch_size": recipe.batch_size,
        "crop_px": sorted(set(recipe.data.crop_sides or (recipe.data.crop_px,))),
        "photographs": {name: count for name, count in photographs.items() if name in ("train", "val")},
        "machine": status.machine,
        "start": read_start(run.folder),
        "evaluations": [{name: row.get(name) for name in names} for row in rows],
    }


def read_start(folder: Path) -> dict[str, Any]:
    """Return whose weights a run started from, or of which it is the average; empty for a start of its own.

    Args:
        folder: of the run.
    """
    path = folder / START
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def read_report(run_folder: Path) -> dict[str, Any]:
    """Return the report of a run's last evaluation, as `training.judge.evaluate.evaluate_run` made it.

    Raises:
        DataError: there is none, or it is broken.
    """
    path = run_folder / EVALUATION
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; run `photochrom-train evaluate` first") from error
    return report


def update_card(card: Path, report: Mapping[str, Any], shots: Shots | None = None) -> None:
    """Replace what stands between the marks of a model card by what a report says.

    Args:
        card: Markdown file that holds at least the marks `CARD_START` and `CARD_END`.
        report: from `training.judge.evaluate.evaluate_run`.
        shots: which failures to show; pictures that only the former card showed are removed from its folder. None
            for none, and all pictures stay.

    Raises:
        DataError: the card cannot be read, lacks the marks of the scores, or has a first mark without a last.
        RunFolderError: the disk refuses.
    """
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{card} cannot be read: {error}") from error
    sections = {
        "run": _run_section,
        "scores": lambda said: _scores_section(said, listed=MARKS[-1][1] not in text),
        "validation": _validation_section,
        "kinds": _kinds_section,
        "failures": lambda said: _failures_section(said, shots, card.parent),
    }
    former: set[Path] = set()
    for name, start, end in MARKS:
        if name != "scores" and start not in text and end not in text:
            continue
        try:
            head, rest = text.split(start)
            rest, tail = rest.split(end)
        except ValueError as error:
            raise DataError(f"{card} must be a file that holds the lines {start} and {end}") from error
        said = sections[name](report).strip()
        if name == "failures" and shots is not None:
            former |= _linked(rest, card.parent) - _linked(said, card.parent)
        text = f"{head}{start}\n{said}\n{end}{tail}"
    write_whole(card, text)
    for path in former:
        if shots is not None and path.parent == shots.folder.resolve():
            path.unlink(missing_ok=True)


def _linked(markdown: str, beside: Path) -> set[Path]:
    """Return the pictures that a text shows."""
    return {(beside / link).resolve() for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", markdown)}


def _run_section(report: Mapping[str, Any]) -> str:
    facts = report["details"].get("run")
    if not facts:
        return "Unknown: the report was made by an older `photochrom-train evaluate`."
    evaluations = facts["evaluations"]
    photographs = facts["photographs"]
    rows = {
        "run": f"`{report['run']}`, recipe `{report['recipe']}`",
        "network": f"encoder `{facts['encoder']}`, decoder of "
        f"{', '.join(map(str, facts['decoder_channels']))} channels; {facts['parameters']:,} parameters",
        "inference size": f"{report['size']} px (square root of the area), aspect ratio kept",
        "photographs": f"{photographs.get('train', 0):,} to train on, {photographs.get('val', 0):,} for validation, "
        f"in crops of {', '.join(map(str, facts['crop_px']))} px",
    }
    if evaluations:
        last = evaluations[-1]
        best = _best(evaluations)
        each = f" ({last['images'] / photographs['train']:.1f} for each)" if photographs.get("train") else ""
        rows["training"] = (
            f"{last['step']:,} steps of {facts['batch_size']}, {last['images']:,} samples{each}, "
            f"{last['minutes']:.0f} minutes"
        )
        start = facts.get("start") or {}
        if "share" in start:
            share = start["share"]
            rows["weights"] = f"{share:g} of the last of `{start['run']}`, {1 - share:g} of those of `{start['other']}`"
        else:
            rows["weights"] = (
                f"moving average of epoch {best['epoch']}, the lowest KL on validation: {_form(judged_kl(best), '.3f')}"
            )
        rows["KL by epoch"] = ", ".join(_form(row["kl"], ".3f") for row in evaluations)
    if facts["machine"]:
        machine = facts["machine"]
        rows["machine"] = f"{machine['processor']}, {machine['memory']}, {machine['devices']}; {machine['engine']}"
    rows["evaluated"] = str(report["date"])
    return _table(("", ""), [list(row) for row in rows.items()], left=2)


def _scores_section(report: Mapping[str, Any], *, listed: bool) -> str:
    below = f"{report['worse_than_gray']:.0%} of the photographs score below gray at the default setting."
    worst = ", ".join(f"{picture['name']} ({picture['gain_db']:+.1f} dB)" for picture in report["worst"])
    named = f" The {len(report['worst'])} worst, against doing nothing: {worst}." if listed else ""
    return f"{table_markdown(dict(report))}\n{below}{named}"


def _best(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the evaluation whose weights are the best ones."""
    known = [dict(row) for row in evaluations]
    return min(known, key=lambda row: math.inf if judged_kl(row) is None else judged_kl(row))


def _validation_section(report: Mapping[str, Any]) -> str:
    validation = report["details"]["posterior"]["validation"]
    if not validation:
        return UNMEASURED
    rows = dict(validation["rows"])
    facts = report["details"].get("run") or {}
    # The evaluations of an averaged run are those of one of its parts.
    is_average = "share" in (facts.get("start") or {})
    best = {} if is_average else _best(facts.get("evaluations") or [{}])
    rows["network"] = rows["network"] | {"scene_top1": best.get("scene_top1")}
    cells = [
        [title, *(_form(rows[who].get(name), form) for name, (_, form) in POSTERIOR.items())] for who, title in COARSE
    ]
    table = _table(("", *(heading for heading, _ in POSTERIOR.values())), cells)
    return f"{validation.get('pictures', '')} photographs of the validation split, as in training.\n\n{table}"


def _kinds_section(report: Mapping[str, Any]) -> str:
    groups = report["details"].get("groups")
    if not groups:
        return UNMEASURED
    headings = ("", "photographs", "PSNR dB", "gray, dB", "CFr", *FALSE_HEADINGS, "KL, nats", "prior's KL")
    forms = dict.fromkeys(("psnr", "psnr_gray", "colorfulness_ratio", *FALSE_COLORS), ".2f")
    forms |= {"kl": ".3f", "kl_prior": ".3f"}

    def line(name: str, row: Mapping[str, Any]) -> list[str]:
        return [name, str(row["pictures"]), *(_form(row.get(score), form) for score, form in forms.items())]

    parts = [
        f"{groups['pictures']} photographs of the validation split, squashed as above, default setting. "
        "What is of no known kind counts in the last row alone."
    ]
    for by, title in KINDS.items():
        rows = [line(name.replace("_", " "), row) for name, row in groups[by].items()]
        if rows:
            parts.append(_table((title, *headings[1:]), [*rows, line(EVERYTHING, groups[EVERYTHING])]))
    return "\n\n".join(parts)


def _failures_section(report: Mapping[str, Any], shots: Shots | None, beside: Path) -> str:
    seen = {picture["name"]: picture for picture in report["details"]["per_picture"]}
    rows, shown = [], []
    for worst in report["worst"]:
        picture = seen[worst["name"]]
        scores, colors = picture["scores"], picture.get("mean_ab", {})
        rows.append(
            [
                f"`{Path(worst['name']).stem}`",
                f"{worst['gain_db']:+.1f}",
                _form(scores["gray"]["psnr"], ".1f"),
                _form(scores["default"]["psnr"], ".1f"),
                *(_form(scores["default"].get(name), ".1f") for name in FALSE_COLORS),
                *(name_color(colors[what]) if what in colors else "" for what in ("truth", "default")),
            ]
        )
        if shots is not None and fnmatch.fnmatch(worst["name"], shots.show):
            path = _write_shot(picture, shots)
            link = Path(os.path.relpath(path, beside)).as_posix()
            shown.append(f"![{Path(worst['name']).stem}: gray, default, truth]({link})")
    headings = ("", "gain dB", "gray, dB", "default, dB", *FALSE_HEADINGS, "true color, mean", "answer, mean")
    parts = [
        f"The {len(rows)} photographs on which the default setting loses most to doing nothing.",
        _table(headings, rows),
    ]
    if shown:
        parts += ["Those of them that may be shown (gray, default, truth):", *shown]
    return "\n\n".join(parts)


def _write_shot(picture: Mapping[str, Any], shots: Shots) -> Path:
    tiles = []
    for what in SHOWN_TILES:
        path = shots.run_folder / picture["tiles"].get(what, "")
        tile = cv2.imread(str(path)) if path.is_file() else None
        if tile is None:
            raise DataError(f"{path} is no picture: evaluate the run again")
        tiles.append(tile)
    shots.folder.mkdir(parents=True, exist_ok=True)
    target = shots.folder / f"{Path(picture['name']).stem}.jpg"
    data = cv2.imencode(".jpg", np.concatenate(tiles, axis=1), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    write_whole(target, data.tobytes())
    return target


def name_color(ab: Sequence[float]) -> str:
    """Return an ab value, Lab units, in words: how strong, and which of the sectors of `chroma.hues`."""
    chroma, hue = math.hypot(*ab), float(hue_of(np.asarray(ab, np.float64)))
    if chroma < GRAY_CHROMA:
        return "gray"
    sector = next(name for name, (low, high) in HUE_SECTORS.items() if (hue - low) % 360 < (high - low) % 360)
    strength = "pale " if chroma < PALE_CHROMA else "strong " if chroma > STRONG_CHROMA else ""
    return f"{strength}{sector}"


def _form(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    marks = ["---" if place < left else "---:" for place in range(len(headings))]
    lines = [[f" {cell} " if cell else " " for cell in line] for line in (headings, marks, *rows)]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines)
