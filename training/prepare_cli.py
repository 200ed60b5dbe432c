"""`photochrom-train prepare`: its options, its bar, and what it says in the end."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from training.recipes import load_recipe

console: Final = Console(stderr=True)

Three = tuple[float, float, float]


def prepare(
    source: Annotated[
        Path,
        typer.Argument(help="Photographs: COCO-Stuff or DIV2K as downloaded, a folder of pictures, or zip shards."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the shards, empty or not there; an unfinished one goes on.")],
    size: Annotated[int, typer.Option(min=32, help="Short side that photographs are shrunk to, px.")] = 256,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core when left out.")] = None,
    validation_share: Annotated[
        float | None, typer.Option(min=0, max=0.99, help="Of a plain folder's pictures; 0.05 when left out.")
    ] = None,
    keep_gray: Annotated[bool, typer.Option("--keep-gray", help="Keep gray and tinted photographs.")] = False,
    scene_model: Annotated[Path | None, typer.Option(help="ONNX scene classifier that names the scenes.")] = None,
    scene_names: Annotated[Path | None, typer.Option(help="Its class names, one a line.")] = None,
    scene_mean: Annotated[Three | None, typer.Option(help="What it takes from RGB in [0, 1]; ImageNet's.")] = None,
    scene_std: Annotated[Three | None, typer.Option(help="What it divides by then; ImageNet's.")] = None,
    recipe: Annotated[str, typer.Option(help="The prior is counted by this recipe's data options.")] = "default",
) -> None:
    """Make zip shards of photographs: judged, shrunk, labeled. A killed call goes on when it is given again."""
    data = load_recipe(recipe).data
    from training.data import prepare as work
    from training.data.scene_model import MEAN, STD

    options = work.PrepareOptions(
        source=source,
        out=out,
        size=size,
        workers=workers or cores(),
        validation_share=validation_share,
        keep_gray=keep_gray,
        scene_model=scene_model,
        scene_names=scene_names,
        scene_mean=scene_mean or MEAN,
        scene_std=scene_std or STD,
        data=data,
    )
    display = PrepareDisplay()
    with display.bar:
        made = work.prepare(options, watch=display.photograph)
    console.print(summary(made))
    if made.reasons:
        console.print(f"each of them: {out / work.REFUSED}", soft_wrap=True, highlight=False)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class PrepareDisplay:
    """A bar with photographs a second and time left; without a terminal, a line every tenth of the work."""

    def __init__(self) -> None:
        """Make the bar; it shows when entered."""
        self.bar = Progress(
            TextColumn("preparing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("photographs, {task.fields[rate]} a second,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self.bar.add_task("prepare", total=None, rate="?")
        self._told = -1

    def photograph(self, done: int, total: int) -> None:
        """Show that so many photographs are done."""
        speed = self.bar.tasks[0].speed
        self.bar.update(self._task, completed=done, total=total, rate=f"{speed:.0f}" if speed else "?")
        tenth = 10 * done // total
        if not console.is_terminal and tenth > self._told:
            console.print(f"{done}/{total} photographs")
            self._told = tenth


def summary(made: Any) -> Table:
    """Return what came out, a `training.data.prepare.PreparedShards`, as a table."""
    table = Table(show_header=False)
    table.add_row("to train on", str(made.train))
    table.add_row("to validate on", str(made.val))
    table.add_row("refused", str(made.refused))
    if made.without_labels:
        table.add_row("without their label map", str(made.without_labels))
    for reason, count in made.reasons[:8]:
        table.add_row(f"  {reason}", str(count))
    if not made.train or not made.val:
        table.add_row("[red]nothing to " + ("validate on" if made.train else "train on"), "a run needs both")
    return table
