"""`photochrom-train`: prepare photographs, run a recipe, choose the decoder, evaluate."""

import importlib
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from training import TrainingError
from training.prepare_cli import prepare
from training.recipes import load_recipe

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train Photochrom's network.")
console = Console(stderr=True)

DataFolder = Annotated[
    Path, typer.Option("--data", help="COCO-Stuff or DIV2K as downloaded, a folder of pictures, or zip shards.")
]

app.command("prepare")(prepare)


@app.command("recipes", hidden=True)
@app.command("list")
def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """List the recipes: what each is, what it costs, which scores to expect."""
    from training.catalog import catalog, catalog_json, catalog_table

    entries = catalog()
    typer.echo(catalog_json(entries) if as_json else catalog_table(entries))


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe; `photochrom-train list` lists them.")],
    data: DataFolder,
    folder: Annotated[
        Path | None, typer.Option("--run", help="Run folder, default runs/RECIPE; a run found there goes on.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read photographs; threads in a short run.")] = 2,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Schedule by elapsed time and stop then.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(min=1, help="Steps between checkpoints.")] = None,
    options_set: Annotated[
        list[str] | None, typer.Option("--set", help="Change one option, as loss.rebalance=true; may be repeated.")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="Run folder, or exported ONNX file, whose weights to start with.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option(help="Write events for TensorBoard into the run folder.")] = True,
    distribute: Annotated[bool, typer.Option("--distribute", help="Train on all devices; needs JAX.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="How many processes train together; implies that.")] = 1,
    process_index: Annotated[int, typer.Option(min=0, help="Which of them this is, from 0.")] = 0,
    coordinator: Annotated[str | None, typer.Option(help="HOST:PORT at which process 0 can be reached.")] = None,
) -> None:
    """Train a recipe; a killed run goes on where it stopped when the same command is given again."""
    chosen = load_recipe(recipe).with_options(options_set or [])
    load_framework()
    from training.run.distribution import Cluster

    cluster = None
    if distribute or processes > 1 or process_index or coordinator:
        cluster = Cluster(processes, process_index, coordinator)
    from training.run.train import RunOptions, train

    folder = folder or Path("runs") / recipe
    options = RunOptions(data, folder, workers, minutes, epochs, checkpoint_every, tensorboard, start_from, cluster)
    display = TrainingDisplay()
    # A polite end, like Ctrl-C: the run page then says that it was stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with display.bar:
        made = train(chosen, options, watch=display.step, report=display.scores)
    from training.run.status import read_status

    if reason := read_status(made).reason:
        console.print(Text(f"NOTE: {reason}", style="bold yellow"), soft_wrap=True)
    console.print(Text(f"done: {made}"), soft_wrap=True)


@app.command()
def unpack(
    model: Annotated[Path, typer.Argument(help="ONNX file made by photochrom-export.")],
    folder: Annotated[Path, typer.Option("--run", help="Run folder to make.")],
) -> None:
    """Make a run folder of an ONNX file: to calibrate, evaluate or export its network again."""
    load_framework()
    from training.run.starting import unpack as unpack_model

    unpack_model(model, folder)
    console.print(f"done: {folder}")


@app.command()
def average(
    run_folder: Annotated[Path, typer.Argument(help="Run folder whose last weights to take.")],
    other: Annotated[Path, typer.Argument(help="Run folder or exported ONNX file to average them with.")],
    data: DataFolder,
    folder: Annotated[Path, typer.Option("--run", help="Run folder to make.")],
    share: Annotated[float, typer.Option(help="Of the first run's weights, between 0 and 1.")] = 0.5,
) -> None:
    """Average the weights of two runs of one network, and measure their normalization again."""
    load_framework()
    from training.run.soup import average as average_runs

    average_runs(run_folder, other, share, data, folder)
    console.print(f"done: {folder}")


@app.command()
def page(run_folder: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Draw the plots and the page of a run again; a run does that itself while it trains."""
    from training.run.plots import draw_history
    from training.run.run_folder import open_run
    from training.run.run_page import write_page

    open_run(run_folder)
    draw_history(run_folder)
    typer.echo(write_page(run_folder))


@app.command()
def calibrate(
    run_folder: Annotated[Path, typer.Argument(help="Run folder.")],
    data: DataFolder,
    pictures: Annotated[int, typer.Option(min=8, help="Validation photographs to look at.")] = 256,
) -> None:
    """Choose the vividness curve on the validation split; writes curve.json into the run folder."""
    load_framework()
    from training.judge.calibrate import calibrate_run

    for line in calibrate_run(run_folder, data, pictures=pictures):
        console.print(line)


@app.command()
def evaluate(
    run_folder: Annotated[Path, typer.Argument(help="Run folder.")],
    pictures: Annotated[Path, typer.Option("--pictures", help="Folder of color photographs to score on.")],
    protocol: Annotated[str, typer.Option(help="photographs, plates, eccv16, div2k: at which size, in which ways.")] = (
        "photographs"
    ),
    data: Annotated[
        Path | None, typer.Option("--data", help="What the run trained on: its validation split is scored too.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the colorized pictures here.")] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Inference size; default the recipe's.")] = None,
    weights: Annotated[str, typer.Option(help="File of the run folder.")] = "best.weights.h5",
    card: Annotated[Path | None, typer.Option(help="Also write the figures into this model card.")] = None,
    show: Annotated[str, typer.Option(help="Failures that the card may show, as 'kodak_*'.")] = "",
    shots: Annotated[Path, typer.Option(help="Gets their pictures.")] = Path("docs/images/gallery/failures"),
    labels: Annotated[
        Path | None, typer.Option(help="CSV with the columns file, and scene or label (a class index).")
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help=".npy that the rebalanced AuC divides by; default the run's.")
    ] = None,
    fid_network: Annotated[str | None, typer.Option(help="ONNX, one picture -> features; FILE@SCALE.")] = None,
    lpips_network: Annotated[str | None, typer.Option(help="ONNX, two pictures -> distance; FILE@SCALE.")] = None,
    classifier: Annotated[str | None, typer.Option(help="ONNX, one picture -> classes; FILE@SCALE.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; default one a core.")] = None,
) -> None:
    """Score a run on color photographs; writes evaluation.json and evaluation.html, and prints the table."""
    load_framework()
    from training.judge.evaluate import Networks, Shots, evaluate_run, table_markdown, update_card

    bar = Progress(
        TextColumn("{task.completed:.0f}/{task.total:.0f} photographs"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("evaluate", total=1, name="")
        report = evaluate_run(
            run_folder,
            pictures,
            protocol=protocol,
            data=data,
            out=out,
            size=size,
            weights=weights,
            labels=labels,
            prior=prior,
            networks=Networks(fid_network, lpips_network, classifier),
            watch=lambda done, total, name: bar.update(task, completed=done, total=total, name=name),
            workers=workers,
        )
    typer.echo(table_markdown(report))
    if card is not None:
        update_card(card, report, Shots(run_folder, show, shots) if show else None)


@app.command("card")
def write_card(
    run_folder: Annotated[Path, typer.Argument(help="Run folder that was evaluated.")],
    card: Annotated[Path, typer.Option(help="Model card with the marks.")] = Path("service/model/MODEL_CARD.md"),
    show: Annotated[str, typer.Option(help="Failures that the card may show, as 'kodak_*'.")] = "",
    shots: Annotated[Path, typer.Option(help="Gets their pictures.")] = Path("docs/images/gallery/failures"),
) -> None:
    """Write the figures of a run's last evaluation into a model card; `evaluate --card` does the same at once."""
    from training.judge.model_card import Shots, read_report, update_card

    update_card(card, read_report(run_folder), Shots(run_folder, show, shots) if show else None)


@app.command()
def ablate(
    data: DataFolder,
    pictures: Annotated[Path, typer.Option("--pictures", help="Folder of color photographs to score on.")],
    out: Annotated[Path, typer.Option(help="Gets a run folder a row, ablation.json and strips.")] = Path(
        "runs/ablation"
    ),
    show: Annotated[Path | None, typer.Option(help="Folder of pictures to make strips of.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read photographs; threads in a short run.")] = 2,
    options_set: Annotated[
        list[str] | None, typer.Option("--set", help="Option that all rows share, as steps=1000; may be repeated.")
    ] = None,
) -> None:
    """Turn the original recipe into ours, one group of options at a time, and print the table of docs/red-noise.md."""
    load_framework()
    from training.judge.ablation import ablate as run_ablation
    from training.judge.ablation import table

    report = run_ablation(
        data, pictures, out, show=show, assignments=tuple(options_set or ()), workers=workers, tell=console.print
    )
    typer.echo(table(report))


def load_framework() -> None:
    """Load Keras and its backend, without what they say of themselves meanwhile.

    TensorFlow's C++ part writes to the process's own standard error, some of it before its log level is read. When
    loading fails, what was said is said after all.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            importlib.import_module("keras")
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class TrainingDisplay:
    """Progress bar with images a second, losses and time left; a table after each epoch."""

    def __init__(self) -> None:
        """Make the bar; it shows when entered."""
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f} · {task.fields[rate]:.1f} images/s · {task.fields[losses]}"
            ),
            TextColumn("· {task.fields[left]} left"),
            console=console,
            refresh_per_second=2,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("train", total=1, epoch=0, rate=0.0, losses="", left="?", start=True)
        self.plain = not console.is_terminal

    def step(self, progress: Any) -> None:
        """Show a step; without a terminal, one line every 50 steps."""
        losses = " ".join(f"{name.removesuffix('_loss')} {value:.3f}" for name, value in progress.losses.items())
        left = f"{int(progress.left_s // 60)}:{int(progress.left_s % 60):02d}"
        self.bar.update(
            self.task,
            completed=progress.step,
            total=progress.steps,
            epoch=progress.epoch,
            rate=progress.images_per_s,
            losses=losses,
            left=left,
        )
        if self.plain and progress.step % 50 == 0:
            console.print(
                f"epoch {progress.epoch} step {progress.step}/{progress.steps} "
                f"{progress.images_per_s:.1f} images/s {losses} {left} left"
            )

    def scores(self, row: dict[str, Any]) -> None:
        """Show an epoch's scores beside the rows that learn nothing."""

        def number(name: str, digits: int = 3) -> str:
            # A score is unknown where validation has no color, or no scenes.
            return "unknown" if row[name] is None else f"{row[name]:.{digits}f}"

        table = Table(title=f"epoch {row['epoch']}: {row['images']} images, {row['minutes']} min")
        for column in ("", "KL", "top-1", "ab within 20", "RMSE", "scene"):
            table.add_column(column)
        table.add_row(
            "network",
            number("kl"),
            number("top1"),
            number("within20"),
            f"{number('rmse_mean', 2)} (reg {number('rmse_regression', 2)}, argmax {number('rmse_argmax', 2)})",
            number("scene_top1"),
        )
        table.add_row("majority", number("kl_prior"), number("top1_majority"), "", "", "")
        table.add_row("do nothing", "", "", number("within20_gray"), number("rmse_gray", 2), "")
        console.print(table)


def main() -> None:
    """Run the command line; a known error is one line and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except TrainingError as error:
        console.print(Text(f"{type(error).__name__}: {error}", style="red"), soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
