"""The command line: ``photochrom serve | colorize | doctor``.

What is heavy is imported inside the commands, so that ``--help`` is instant and OpenCV's own limits, which it reads
when it is imported, can be set first.
"""

import asyncio
import math
import os
import platform
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from service.errors import RequestError, StartupError
from service.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from service.colorizer import Options
    from service.session import Session

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""What is taken from a folder; a file that is named is taken whatever its suffix."""

app = typer.Typer(
    name="photochrom",
    help="Turn black-and-white photographs into color ones.",
    no_args_is_help=True,
    add_completion=False,
)


def main() -> None:
    """Run the command line."""
    app()


def _settings(**given: Any) -> Settings:
    """Read the settings; what was given on the command line wins. Also sets what libraries read when imported."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            typer.echo(f"{ENV_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}", err=True)
        raise typer.Exit(2) from error
    # A second wall behind the header probe: OpenCV itself then refuses to allocate more.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(int(settings.max_megapixels * 1e6)))
    return settings


def _stop(error: StartupError) -> typer.Exit:
    typer.echo(f"photochrom: {error}", err=True)
    return typer.Exit(1)


ModelOption = Annotated[Path | None, typer.Option(help="The ONNX model; default: the one that comes along.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Start the HTTP service; every PHOTOCHROM_ variable counts, and the options here win over them."""
    settings = _settings(host=host, port=port, model=model, device=device)

    import uvicorn

    from service.app import create_app, program_version
    from service.auth import ApiKeys
    from service.connection import Connection
    from service.pipeline import Pipeline
    from service.telemetry import Metrics, configure_logging

    configure_logging(level=settings.log_level, log_format=settings.log_format)
    try:
        # Before the model, which takes seconds: a key file that is not there is said at once.
        ApiKeys.of(settings)
        pipeline = Pipeline(settings, Metrics(), version=program_version())
    except StartupError as error:
        raise _stop(error) from error

    class Server(uvicorn.Server):
        """Says `not ready` before it stops, so that whoever sends pictures here can go elsewhere first."""

        async def serve(self, sockets: "list[socket.socket] | None" = None) -> None:
            """Serve until told to stop."""
            self.loop = asyncio.get_running_loop()
            await super().serve(sockets)

        def handle_exit(self, sig: int, frame: "FrameType | None") -> None:
            is_first = not pipeline.draining
            pipeline.draining = True
            if is_first and sig == signal.SIGTERM and settings.drain_notice_s > 0:
                stop = partial(super().handle_exit, sig, frame)
                self.loop.call_soon_threadsafe(self.loop.call_later, settings.drain_notice_s, stop)
            else:
                super().handle_exit(sig, frame)

    server = Server(
        uvicorn.Config(
            create_app(settings, pipeline=pipeline),
            host=settings.host,
            port=settings.port,
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.drain_s),
        )
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is a normal end; uvicorn has drained by then.
        server.run()
    if not server.started:
        raise typer.Exit(1)


@app.command()
def colorize(
    inputs: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.", metavar="FILE-OR-FOLDER...")],
    out: Annotated[Path, typer.Option(help="Folder for the answers; names are kept.")] = Path("colorized"),
    overwrite: Annotated[bool, typer.Option(help="Color again what is there already.")] = False,
    output_format: Annotated[str, typer.Option("--format", help="png, jpeg or webp.")] = "png",
    mode: Annotated[str, typer.Option(help="annealed, regression, fused or argmax.")] = "annealed",
    vividness: Annotated[float, typer.Option(help="0 calm, 1 vivid.")] = 0.5,
    temperature: Annotated[float | None, typer.Option(help="Overrides what vividness implies.")] = None,
    saturation: Annotated[float, typer.Option(help="Factor on chroma.")] = 1.0,
    size: Annotated[int | None, typer.Option(help="Inference size, px; default: the model's own.")] = None,
    enlargement: Annotated[str, typer.Option(help="bilinear or guided.")] = "bilinear",
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Color files without a server. Goes on after a bad file; ends with 1 when there was one, with 2 when misused."""
    settings = _settings(model=model, device=device)

    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from service import images
    from service.schemas import ColorizeQuery
    from service.session import Session, shipped_model

    try:
        query = ColorizeQuery.model_validate(
            {
                "format": output_format,
                "mode": mode,
                "vividness": vividness,
                "temperature": temperature,
                "saturation": saturation,
                "size": size,
                "enlargement": enlargement,
            }
        )
    except ValidationError as error:
        for problem in error.errors():
            typer.echo(f"--{problem['loc'][0]}: {problem['msg']}", err=True)
        raise typer.Exit(2) from error
    images.prepare_codecs()
    plan = plan_outputs(inputs, out, suffix=".jpg" if query.format == "jpeg" else f".{query.format}")
    if not plan:
        typer.echo("photochrom: there is no picture in what was named", err=True)
        raise typer.Exit(2)
    todo = {source: target for source, target in plan.items() if overwrite or not target.exists()}
    console = Console(stderr=True)
    failed: dict[Path, str] = {}
    if todo:
        try:
            session = Session(settings.model or shipped_model(), device=settings.device, threads=settings.threads)
        except StartupError as error:
            raise _stop(error) from error
        columns = (TextColumn("{task.description}"), *Progress.get_default_columns()[1:2], MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            task = progress.add_task("coloring", total=len(todo))
            for source, target in todo.items():
                try:
                    _colorize_file(source, target, session, query.to_options(), query.format, settings.max_megapixels)
                except RequestError as error:
                    failed[source] = error.detail
                except OSError as error:
                    failed[source] = error.strerror or str(error)
                progress.advance(task)
    for source, reason in failed.items():
        typer.echo(f"failed: {source}: {reason}", err=True)
    skipped = len(plan) - len(todo)
    typer.echo(f"{len(todo) - len(failed)} colored, {skipped} already there, {len(failed)} failed; in {out}")
    if failed:
        raise typer.Exit(1)


def plan_outputs(inputs: list[Path], out: Path, *, suffix: str) -> dict[Path, Path]:
    """Return where each picture's answer goes, by picture.

    A file `a.jpg` gives `out/a.png`, a file `f/b/c.jpg` of a folder `f` gives `out/b/c.png`. Where two would give the
    same name, both keep their old suffix inside: `a.jpg.png`, `a.tif.png`.

    Args:
        inputs: files, and folders that are searched for pictures.
        out: folder of the answers; what already lies in it is never taken as a picture.
        suffix: of the answers, with the dot.

    Returns:
        Target by source, in order.
    """
    relative = dict(_find(inputs, out.resolve()))
    stems = Counter(place.with_suffix("") for place in relative.values())
    return {
        source: out / (place.with_suffix(suffix) if stems[place.with_suffix("")] == 1 else f"{place}{suffix}")
        for source, place in relative.items()
    }


def _find(inputs: list[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each picture, and its path inside the folder that was named."""
    for given in inputs:
        if not given.is_dir():
            yield given, Path(given.name)
            continue
        for path in sorted(given.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file() and out not in path.resolve().parents:
                yield path, path.relative_to(given)


def _colorize_file(
    source: Path, target: Path, session: "Session", options: "Options", output_format: Any, max_megapixels: float
) -> None:
    from service import images
    from service.colorizer import colorize as colorize_picture

    data = source.read_bytes()
    picture = images.decode(data, images.probe(data, max_megapixels=max_megapixels))
    is_deep = output_format == "png"
    colored = colorize_picture(picture, options, session, deep=is_deep, workers=session.threads)
    encoded = images.encode(colored.rgb, images.to_depth(picture.alpha, deep=is_deep), output_format)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Under another name first: a half-written file must not count as done the next time.
    unfinished = target.with_name(f".{target.name}.part")
    unfinished.write_bytes(encoded)
    unfinished.replace(target)


@app.command()
def doctor(model: ModelOption = None, device: DeviceOption = None) -> None:
    """Show versions, device, model and limits, and say what is wrong with them; ends with 1 when something is."""
    settings = _settings(model=model, device=device)

    from importlib.metadata import version

    import onnxruntime
    from rich.console import Console
    from rich.table import Table

    from service.app import program_version
    from service.auth import ApiKeys
    from service.session import Session, missing_cuda_libraries, shipped_model, usable_cores

    rows: dict[str, object] = {
        "photochrom": program_version(),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "onnxruntime": onnxruntime.__version__,
        **{name: version(name) for name in ("numpy", "opencv-python-headless", "pillow", "fastapi", "uvicorn")},
        "providers installed": ", ".join(onnxruntime.get_available_providers()),
        "CUDA libraries missing": ", ".join(missing_cuda_libraries()) or "none",
        "cores": f"{usable_cores()} usable of {os.cpu_count()}",
    }
    problem: StartupError | None = None
    try:
        rows["API keys"] = len(ApiKeys.of(settings)) or "none: everyone who reaches the port may color pictures"
        session = Session(settings.model or shipped_model(), device=settings.device, threads=settings.threads)
        session.warm_up()
        rows |= {
            "model": session.path,
            "model sha256": session.digest,
            "model run": f"{session.stamp.run_id} ({session.stamp.recipe}, {session.stamp.created})",
            "model license": session.stamp.license,
            "provider in use": session.provider,
        }
    except StartupError as error:
        problem = error
    for name, value in settings.model_dump().items():
        rows[f"{ENV_PREFIX}{name.upper()}"] = "" if value is None else value
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if problem:
        raise _stop(problem) from problem
