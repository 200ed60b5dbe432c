"""`photochrom-export RUN`: a run folder in, a verified ONNX file out.

Exit status: 0 the file is written; 1 the run cannot be exported; 2 the command line is wrong; 3 the exported model
computes something else than the network, so it was not written.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from chroma.signature import SignatureError
from export import BackendError, ExportError, PrecisionError, ToleranceError
from export.tolerances import Precision
from training import TrainingError

if TYPE_CHECKING:
    from export.pipeline import Exported

FAILED: Final = 1
WRONG_COMMAND: Final = 2
DIFFERENT: Final = 3

app = typer.Typer(add_completion=False)
console = Console(stderr=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder of photochrom-train.")],
    out: Annotated[Path | None, typer.Option(help="ONNX file to write, default RUN/model.onnx.")] = None,
    weights: Annotated[str, typer.Option(help="File name of the weights in the run folder.")] = "best.weights.h5",
    license_note: Annotated[str | None, typer.Option("--license", help="Terms of the weights, for the stamp.")] = None,
    precision: Annotated[
        Precision, typer.Option(help="float16 halves the file; int8 is for CPUs and needs --calibrate.")
    ] = "float32",
    calibrate: Annotated[
        Path | None, typer.Option(help="Photographs whose validation split gives the ranges of int8.")
    ] = None,
) -> None:
    """Export a trained run as one ONNX file, compared with Keras and NumPy before it is written."""
    choose_tensorflow()
    from export.pipeline import export_run

    exported = export_run(
        run,
        out or run / "model.onnx",
        weights=weights,
        license_note=license_note,
        precision=precision,
        calibrate=calibrate,
    )
    typer.echo(report(exported))


def choose_tensorflow() -> None:
    """Make Keras run on TensorFlow, on the CPU: what is verified there is the same on every machine.

    Raises:
        BackendError: Keras is imported already, on another backend.
    """
    if "keras" in sys.modules:
        import keras

        if keras.backend.backend() != "tensorflow":
            raise BackendError(f"Keras runs on {keras.backend.backend()} already: export in a process of its own")
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def report(exported: "Exported") -> str:
    """Return what was written and how far it is from its references, as text."""
    table = Table(box=None, pad_edge=False)
    for column in ("output", "compared with"):
        table.add_column(column)
    for column in ("largest difference", "allowed"):
        table.add_column(column, justify="right")
    for row in exported.differences:
        table.add_row(row.output, row.reference, f"{row.largest:.1e}", f"{row.tolerance:.0e}")
    plain = Console(width=100, color_system=None)
    with plain.capture() as captured:
        plain.print(table)
    facts = (
        f"written     {exported.path}",
        f"run         {exported.stamp.run_id} (recipe {exported.stamp.recipe})",
        f"precision   {exported.stamp.precision}",
        f"size        {exported.size_bytes / 2**20:.1f} MiB, {exported.nodes} nodes",
        f"parameters  {exported.stamp.parameters:,}",
        f"sha256      {exported.sha256}",
    )
    return captured.get() + "\n" + "\n".join(facts)


def main() -> None:
    """Run the command line; a known error is one line on stderr and an exit status."""
    try:
        app()
    except (ExportError, TrainingError, SignatureError, OSError) as error:
        console.print(f"[red]{type(error).__name__}:[/red] {error}")
        statuses: dict[type[Exception], int] = {ToleranceError: DIFFERENT, PrecisionError: WRONG_COMMAND}
        sys.exit(statuses.get(type(error), FAILED))


if __name__ == "__main__":
    main()
