"""What the commands share: the program, its exit codes, common options, settings read and errors told."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from service.errors import StartupError
from service.logs import printable
from service.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from service.engine.options import ColorizeQuery
    from service.engine.session import Session


FAILED, MISUSED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
"""Exit codes; the last two are what shells expect of a program that a signal has ended."""

# NumPy's small products gain nothing by threads, which spin and take the cores from the network. Whatever imports NumPy
# is imported after this module.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

app = typer.Typer(
    name="photochrom",
    help="Turn black-and-white photographs into color ones.",
    no_args_is_help=True,
    add_completion=False,
)


def read_settings(**given: Any) -> Settings:
    """Read the settings; what was given on the command line wins. Also sets what libraries read when imported."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            typer.echo(f"{ENV_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}", err=True)
        raise typer.Exit(MISUSED) from error
    # A second wall behind the header probe: OpenCV itself then refuses to allocate more.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(settings.max_pixels))
    return settings


def stop(error: StartupError) -> typer.Exit:
    """Say why nothing can start, and return the exit."""
    typer.echo(f"photochrom: {printable(str(error))}", err=True)
    return typer.Exit(FAILED)


def misuse(text: object) -> typer.Exit:
    """Say what was asked for wrongly, and return the exit."""
    typer.echo(f"photochrom: {printable(str(text))}", err=True)
    return typer.Exit(MISUSED)


ModelOption = Annotated[Path | None, typer.Option(help="The ONNX model; default: the one that comes along.")]

DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]

PicturesArgument = Annotated[
    list[Path],
    typer.Argument(help="Photographs, folders of them, patterns like 'scans/**/*.tif'.", metavar="PATHS..."),
]

FilesArgument = Annotated[
    list[Path],
    typer.Argument(help="Photographs, films, folders of them, patterns like 'scans/**/*.tif'.", metavar="PATHS..."),
]

ModeOption = Annotated[str, typer.Option(help="annealed, regression, fused or argmax.")]

SizeOption = Annotated[int | None, typer.Option(help="Inference size, px; default: the model's own.")]

ToneOption = Annotated[str, typer.Option(help="auto or off: whether the network sees faded tones stretched.")]

EnlargementOption = Annotated[str, typer.Option(help="bilinear or guided.")]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

QuietOption = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def prepare_codecs() -> None:
    """Bound what codecs may take, and silence their warnings."""
    from service.pictures.decode import prepare_codecs

    prepare_codecs()


def check_query(**given: object) -> "ColorizeQuery":
    """Check options as the HTTP interface does; `--format` is the option, `format` the name."""
    from service.engine.options import ColorizeQuery

    try:
        return ColorizeQuery.model_validate(given)
    except ValidationError as error:
        for problem in error.errors():
            typer.echo(f"--{problem['loc'][0]}: {problem['msg']}", err=True)
        raise typer.Exit(MISUSED) from error


def load_session(settings: Settings) -> "Session":
    """Load the model, or end with the reason."""
    from service.engine.precision import open_session
    from service.engine.session import shipped_model

    try:
        return open_session(
            settings.model or shipped_model(),
            device=settings.device,
            threads=settings.threads,
            precision=settings.precision,
        )
    except StartupError as error:
        raise stop(error) from error
