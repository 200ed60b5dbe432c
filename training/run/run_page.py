"""A run on one page: state, scores, plots, previews, machine, what was refused, recipe.

The page is made from the files of the folder alone, and shows them: it can be opened from the disk, and copied with the
folder. Nothing on it comes from the network.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Final

from training import RunFolderError
from training.config import Recipe
from training.run import run_folder
from training.run.history import Row, judged_kl, read_rows
from training.run.plots import PLOTS
from training.run.status import read_status
from training.whole_files import write_whole

REFRESH_S: Final = 20
"""How often the page of a running run loads itself again, s."""

SILENT_S: Final = 600
"""A running run that has written nothing for so long was probably killed, s."""

REFUSED_SHOWN: Final = 500

SCORES: Final = (
    ("KL, nats", "kl", "kl_prior", "prior", 3),
    ("top-1", "top1", "top1_majority", "majority", 3),
    ("top-5", "top5", "top5_majority", "majority", 3),
    ("ab within 20", "within20", "within20_gray", "gray", 3),
    ("ab within 10", "within10", "within10_gray", "gray", 3),
    ("RMSE, regression", "rmse_regression", "rmse_gray", "gray", 2),
    ("RMSE, posterior mean", "rmse_mean", "rmse_gray", "gray", 2),
    ("RMSE, argmax", "rmse_argmax", "rmse_gray", "gray", 2),
    ("scene top-1", "scene_top1", None, "", 3),
    ("calibration error", "ece", None, "", 3),
    ("segmentation, pixels right", "segmentation_accuracy", None, "", 3),
    ("segmentation, mean IoU", "segmentation_miou", None, "", 3),
)
"""Title, column, column of what learns nothing, its name, digits."""


def write_page(folder: Path) -> Path:
    """Write a run folder's page.

    Args:
        folder: of the run, finished or not.

    Returns:
        The page.

    Raises:
        RunFolderError: a file that the page shows is broken, or the disk refuses.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    page = folder / run_folder.PAGE
    write_whole(page, environment.get_template("run.html.j2").render(_content(folder)))
    return page


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3 h 05 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = math.floor(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _content(folder: Path) -> dict[str, Any]:
    rows = read_rows(folder / run_folder.METRICS)
    refused = _read_json(folder / run_folder.REFUSED)
    best = min((row for row in rows if judged_kl(row) is not None), key=judged_kl, default=None)
    return {
        "name": folder.resolve().name,
        "status": read_status(folder),
        "refresh_s": REFRESH_S,
        "silent_s": SILENT_S,
        "evaluations": len(rows),
        "last": rows[-1] if rows else None,
        "best": best,
        "best_kl": None if best is None else judged_kl(best),
        "scores": _scores(rows[-1], best) if rows else [],
        "plots": [
            (f"{run_folder.PLOTS}/{plot.file}", plot.caption)
            for plot in PLOTS
            if (folder / run_folder.PLOTS / plot.file).exists()
        ],
        "previews": [
            f"{run_folder.PREVIEWS}/{path.name}" for path in sorted((folder / run_folder.PREVIEWS).glob("*.png"))
        ],
        "photographs": _read_json(folder / run_folder.PHOTOGRAPHS),
        "refused": list(refused.items())[:REFUSED_SHOWN],
        "refused_count": len(refused),
        "recipe": _recipe(folder),
    }


def _scores(last: Row, best: Row | None) -> list[dict[str, str]]:
    """Return the lines of the table: the scores there are, at the last evaluation and at that of the lowest KL."""

    def number(row: Row | None, name: str | None, digits: int) -> str:
        value = row.get(name) if row is not None and name is not None else None
        return "" if value is None else f"{value:.{digits}f}"

    return [
        {
            "title": title,
            "last": number(last, name, digits),
            "best": number(best, name, digits),
            "reference": number(last, reference, digits),
            "reference_name": who if last.get(reference or "") is not None else "",
        }
        for title, name, reference, who, digits in SCORES
        if last.get(name) is not None
    ]


def _recipe(folder: Path) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Return sections of (option, value, differs from the default)."""
    fields = _read_json(folder / run_folder.RECIPE)
    defaults = json.loads(Recipe(name=str(fields.get("name"))).to_json())
    own = [(name, value) for name, value in fields.items() if not isinstance(value, dict)]
    sections = [("run", own, defaults)]
    sections += [
        (part.name, list(fields[part.name].items()), defaults[part.name])
        for part in dataclasses.fields(Recipe)
        if isinstance(fields.get(part.name), dict)
    ]
    return [
        (title, [(name, json.dumps(value), value != usual.get(name)) for name, value in options])
        for title, options, usual in sections
    ]


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunFolderError(f"{path} is broken ({error}): remove it") from error
