"""The command line: ``photochrom serve | colorize | compare | doctor | bench``.

Exit codes: 0 all done; 1 something failed, or nothing could start; 2 misuse; 130 and 143 ended by Ctrl-C and SIGTERM.
docs/cli.md has the rest. What is heavy is imported inside the commands, so that ``--help`` is instant and OpenCV's own
limits, which it reads when it is imported, can be set first.
"""

import asyncio
import json
import logging
import math
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from pydantic import ValidationError

from service.errors import RequestError, StartupError
from service.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from types import FrameType

    from service.batch import Here, Report, Work
    from service.client import Options
    from service.schemas import ColorizeQuery
    from service.session import Session

FAILED, MISUSED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
"""Exit codes; the last two are what shells expect of a program that a signal has ended."""
LINGER_S = 0.25
"""How long a connection that was opened just before the end is given for its request, seconds."""
MOST_JOBS_THERE = 64
"""Pictures at once that a single service is sent; a cluster takes as many as it has processors."""
PATIENCE_THERE_S = 300.0
"""How long a service that is busy or restarts is waited for over one picture: the pauses together, seconds."""
TRIES_THERE = 10_000
"""More than fit into that time: it alone decides."""

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
        raise typer.Exit(MISUSED) from error
    # A second wall behind the header probe: OpenCV itself then refuses to allocate more.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(settings.max_pixels))
    # NumPy's small products gain nothing by threads, which spin and take the cores from the network.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return settings


def _stop(error: StartupError) -> typer.Exit:
    typer.echo(f"photochrom: {error}", err=True)
    return typer.Exit(FAILED)


def _misuse(text: object) -> typer.Exit:
    typer.echo(f"photochrom: {text}", err=True)
    return typer.Exit(MISUSED)


def _listening_socket(fd: int) -> socket.socket:
    """Return the socket behind a descriptor.

    Raises:
        typer.Exit: there is none, or nobody can connect to it.
    """
    try:
        found = socket.socket(fileno=fd)
        listens = found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
    except (OSError, OverflowError, ValueError) as error:
        raise _misuse(f"--fd {fd}: {error}") from error
    if not listens:
        found.detach()  # It is somebody's, and not ours to close.
        raise _misuse(f"--fd {fd} is no TCP socket that listens")
    return found


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
EnlargementOption = Annotated[str, typer.Option(help="bilinear or guided.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    fd: Annotated[
        int | None, typer.Option(help="Listen on this socket instead, a descriptor that whoever calls has opened.")
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Start the HTTP service; every PHOTOCHROM_ variable counts, and the options here win over them."""
    settings = _settings(host=host, port=port, model=model, device=device)
    listening = None if fd is None else _listening_socket(fd)

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

        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            """Serve until told to stop."""
            self.loop = asyncio.get_running_loop()
            await super().serve(sockets)

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Open the port."""
            await super().startup(sockets)
            for each in sockets or []:  # Of which uvicorn says nothing.
                host, taken = each.getsockname()[:2]
                address = f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
                logging.getLogger("uvicorn.error").info("Uvicorn running on http://%s (Press CTRL+C to quit)", address)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Take no more connections; whoever has one only now may still say what it wants."""
            for each in self.servers:
                each.close()
            await asyncio.sleep(LINGER_S)
            await super().shutdown(sockets)

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
        server.run(None if listening is None else [listening])
    if not server.started:
        raise typer.Exit(1)


@app.command()
def colorize(
    inputs: FilesArgument,
    out: Annotated[Path, typer.Option(help="Folder for the answers; names are kept.")] = Path("colorized"),
    overwrite: Annotated[bool, typer.Option(help="Color again what is there already.")] = False,
    output_format: Annotated[str, typer.Option("--format", help="png, jpeg or webp.")] = "png",
    mode: ModeOption = "annealed",
    vividness: Annotated[float, typer.Option(help="0 calm, 1 vivid.")] = 0.5,
    temperature: Annotated[float | None, typer.Option(help="Overrides what vividness implies.")] = None,
    saturation: Annotated[float, typer.Option(help="Factor on chroma.")] = 1.0,
    size: SizeOption = None,
    enlargement: EnlargementOption = "bilinear",
    hints: Annotated[
        str, typer.Option(help="Points whose color is known, in photographs: 'x,y,RRGGBB;x,y,a:b'; x, y from 0 to 1.")
    ] = "",
    reference: Annotated[
        Path | None, typer.Option(help="A color photograph whose palette photographs follow.", show_default=False)
    ] = None,
    reference_strength: Annotated[float, typer.Option(help="How far the reference counts, 0 to 1.")] = 0.5,
    crf: Annotated[int, typer.Option(help="Quality of films: 0 lossless, 51 worst.", min=0, max=51)] = 18,
    every: Annotated[
        int, typer.Option(help="In films, let the network look at each so many-th frame.", min=1, max=25)
    ] = 1,
    metadata: Annotated[bool, typer.Option(help="Carry EXIF, XMP and resolution over to the answer.")] = True,
    remote: Annotated[str | None, typer.Option(help="Address of a running service, to color there.")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster, to color there: HOST:PORT, ray://HOST:PORT, auto.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="For --remote.", envvar="PHOTOCHROM_API_KEY", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Pictures at once, with --remote (default: 4) or --cluster (default: its processors).", min=1, max=1024
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Color photographs and films, here, by a service, or on a cluster.

    What is done is skipped, a bad file does not stop the others, and an interrupted call goes on when given again.
    Ends with 1 when something failed, with 2 when misused, with 130 after Ctrl-C.
    """
    if remote is not None and cluster is not None:
        raise _misuse("--remote and --cluster exclude each other")
    if remote is None and cluster is None and jobs is not None:
        raise _misuse("--jobs needs --remote or --cluster: here one picture at a time takes all cores")
    if remote is not None and jobs is not None and jobs > MOST_JOBS_THERE:
        raise _misuse(f"--jobs: a service is sent at most {MOST_JOBS_THERE} pictures at once")
    if remote is not None and (model or device):
        raise _misuse("--model and --device are for coloring here, not with --remote")
    settings = _settings(model=model, device=device)
    query = _query(
        format=output_format,
        mode=mode,
        vividness=vividness,
        temperature=temperature,
        saturation=saturation,
        size=size,
        enlargement=enlargement,
        hints=hints,
        reference_strength=reference_strength,
    )
    palette = _read_reference(reference)

    from service.batch import Outcome, Report, Stopped, Work, color_here, explain_folder, shown
    from service.finding import PlanError, is_done, plan_outputs

    _prepare_codecs()
    if query.format == "json":
        raise _misuse("--format is png, jpeg or webp")
    answer_format = query.picture_format() or "png"
    unlisted: list[Outcome] = []

    def on_unlisted(folder: Path, place: Path, error: OSError) -> None:
        problem, reason = explain_folder(error)
        unlisted.append(Outcome(folder, out / place, "failed", problem=problem, reason=reason))

    try:
        suffix = ".jpg" if answer_format == "jpeg" else f".{answer_format}"
        plan = plan_outputs(inputs, out, suffix=suffix, on_unlisted=on_unlisted)
    except PlanError as error:
        raise _misuse(error) from error
    plan = _without_films(
        plan, inputs, "--remote" if remote is not None else "--cluster" if cluster is not None else ""
    )
    if not plan and not unlisted:
        raise _misuse("there is no picture in what was named")
    todo = {source: target for source, target in plan.items() if overwrite or not is_done(source, target)}
    work = Work(todo, answer_format, metadata)
    report = Report(len(todo) + len(unlisted), as_json=as_json, quiet=quiet)
    stopped, code = "", 0
    with _interruptible() as signals:
        try:
            for source, target in plan.items():
                if source not in todo:
                    report(Outcome(source, target, "skipped"))
            for outcome in unlisted:
                report(outcome)
            if todo and remote is not None:
                asyncio.run(_color_there(remote, api_key, query, work, report, jobs=jobs or 4, reference=palette))
            elif todo and cluster is not None:
                _color_on_cluster(cluster, settings, query, work, report, jobs=jobs, reference=palette, quiet=quiet)
            elif todo:
                session = _load(settings)
                color = _colorist(session, settings, query, palette)
                color_film = _film_colorist(session, settings, query, report, crf, every, keep_metadata=metadata)
                with report:
                    color_here(work, color, report, color_film=color_film)
        except Stopped as stop:
            stopped, code = str(stop), FAILED
        except KeyboardInterrupt:
            stopped, code = "interrupted", TERMINATED if signal.SIGTERM in signals else INTERRUPTED
    for failure in report.failures:
        typer.echo(f"failed: {shown(failure.source)}: {failure.reason}", err=True)
    if stopped:
        typer.echo(f"photochrom: {stopped}; {report.left} left, the same call goes on with them", err=True)
    if as_json:
        typer.echo(json.dumps({"summary": report.summary(stopped)}))
    else:
        counts = report.counts
        left = f", {report.left} left" if report.left else ""
        typer.echo(
            f"{counts['colored']} colored, {counts['skipped']} already there, {counts['failed']} failed{left}; "
            f"in {shown(out)}"
        )
    if code or report.failures:
        raise typer.Exit(code or FAILED)


def _prepare_codecs() -> None:
    from service import images

    images.prepare_codecs()
    # Pillow tells the world of every odd tag; people with boxes of photographs cannot do anything about it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def _query(**given: object) -> "ColorizeQuery":
    """Check options as the HTTP interface does; `--format` is the option, `format` the name."""
    from service.schemas import ColorizeQuery

    try:
        return ColorizeQuery.model_validate(given)
    except ValidationError as error:
        for problem in error.errors():
            typer.echo(f"--{problem['loc'][0]}: {problem['msg']}", err=True)
        raise typer.Exit(MISUSED) from error


def _load(settings: Settings) -> "Session":
    from service.session import Session, shipped_model

    try:
        return Session(settings.model or shipped_model(), device=settings.device, threads=settings.threads)
    except StartupError as error:
        raise _stop(error) from error


def _without_films(plan: dict[Path, Path], named: list[Path], away: str) -> dict[Path, Path]:
    """Leave the films out where they cannot be colored: refused when named, else said.

    Args:
        plan: target by source.
        named: what was asked for by name.
        away: the option by which work is done elsewhere; empty: here.
    """
    from service.batch import shown
    from service.finding import is_film
    from service.video import NoFilmSupport, require_support

    films = [source for source in plan if is_film(source)]
    why = ""
    if films and away:
        why = f"a {'service' if away == '--remote' else 'cluster'} colors photographs only: color films without {away}"
    elif films:
        try:
            require_support()
        except NoFilmSupport as error:
            why = str(error)
    if not why:
        return plan
    by_name, left_out = set(named), set(films)  # An archive has very many.
    if asked := [source for source in films if source in by_name]:
        raise _misuse(f"{shown(asked[0])}: {why}")
    count = "1 film is" if len(films) == 1 else f"{len(films)} films are"
    typer.echo(f"photochrom: {count} left out: {why}", err=True)
    return {source: target for source, target in plan.items() if source not in left_out}


def _film_colorist(
    session: "Session",
    settings: Settings,
    query: "ColorizeQuery",
    report: "Report",
    crf: int,
    every: int,
    *,
    keep_metadata: bool,
) -> "Callable[[Path, Path], tuple[int, tuple[str, ...]]]":
    from service.video import FilmOptions, color_film

    def color(source: Path, target: Path) -> tuple[int, tuple[str, ...]]:
        with report.frames_of(source) as progress:
            done = color_film(
                source,
                target,
                session,
                query.to_options(),
                FilmOptions(crf=crf, every=every),
                max_megapixels=settings.max_megapixels,
                keep_metadata=keep_metadata,
                progress=progress,
            )
        return done.frames, done.notes

    return color


def _read_reference(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise _misuse(f"--reference {path}: {error.strerror}") from error


def _colorist(session: "Session", settings: Settings, query: "ColorizeQuery", reference: bytes | None) -> "Here":
    from service.batch import Here

    options, output_format = query.to_options(), query.picture_format() or "png"
    try:
        return Here(session, options, output_format, max_megapixels=settings.max_megapixels, reference=reference)
    except RequestError as error:
        raise _misuse(f"--reference: {error.detail}") from error


async def _color_there(
    url: str,
    api_key: str | None,
    query: "ColorizeQuery",
    work: "Work",
    report: "Report",
    *,
    jobs: int,
    reference: bytes | None,
) -> None:
    from service.batch import Stopped, There, color_there
    from service.client import AsyncClient, ClientError

    try:
        # One question first tells whether the service is there and takes the key.
        first = AsyncClient(url, api_key=api_key, retries=2)
        # Nobody waits for one answer of many: be patient with a service that is busy.
        client = AsyncClient(url, api_key=api_key, retries=TRIES_THERE, max_wait_s=PATIENCE_THERE_S, resend=False)
    except ValueError as error:
        raise _misuse(error) from error
    async with first, client:
        try:
            await first.model()
        except ClientError as error:
            raise Stopped(str(error)) from error
        # What has its default is left out, so that older services take the rest.
        options = cast("Options", query.model_dump(exclude={"format"}, exclude_defaults=True))
        with report:
            await color_there(work, There(client, options, work.output_format, reference=reference), report, jobs=jobs)


def _color_on_cluster(
    address: str,
    settings: Settings,
    query: "ColorizeQuery",
    work: "Work",
    report: "Report",
    *,
    jobs: int | None,
    reference: bytes | None,
    quiet: bool,
) -> None:
    from service import images
    from service.cluster import Order, color_on_cluster
    from service.session import shipped_model

    if reference is not None:
        try:
            images.decode(reference, images.probe(reference, max_megapixels=settings.max_megapixels))
        except RequestError as error:
            raise _misuse(f"--reference: {error.detail}") from error
    model = settings.model or shipped_model()
    order = Order(query, settings.device, model, settings.max_megapixels, reference)

    def say(text: str) -> None:
        if not quiet:
            typer.echo(f"photochrom: {text}", err=True)

    try:
        with report:
            color_on_cluster(address, order, work, report, jobs=jobs, say=say)
    except StartupError as error:
        raise _stop(error) from error


@contextmanager
def _interruptible() -> Iterator[set[int]]:
    """Let SIGTERM end the work as Ctrl-C does, which leaves no half file; yield which of them came."""
    came: set[int] = set()

    def end(number: int, _: "FrameType | None") -> None:
        came.add(number)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # As in the background of a shell's script.
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


@app.command()
def compare(
    inputs: PicturesArgument,
    out: Annotated[Path, typer.Option(help="The sheet: .png, .jpg or .webp.")] = Path("comparison.png"),
    overwrite: Annotated[bool, typer.Option(help="Replace a sheet that is there.")] = False,
    vividness: Annotated[
        list[float] | None, typer.Option(help="0 calm, 1 vivid; given several times, one column each. Default: 0.5.")
    ] = None,
    mode: ModeOption = "annealed",
    size: SizeOption = None,
    enlargement: EnlargementOption = "bilinear",
    cell: Annotated[int, typer.Option(help="Longest side of a picture on the sheet, px.", min=16, max=4096)] = 256,
    columns: Annotated[int, typer.Option(help="Photographs side by side; 0 chooses.", min=0, max=100)] = 0,
    quiet: QuietOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Draw a contact sheet: gray, colored, and the original where it has color."""
    settings = _settings(model=model, device=device)
    levels = vividness or [0.5]
    queries = [_query(mode=mode, vividness=level, size=size, enlargement=enlargement) for level in levels]

    from rich.console import Console
    from rich.progress import track

    from service import images
    from service.batch import explain, explain_folder, shown, write_whole
    from service.finding import PlanError, find_pictures
    from service.sheet import SheetTooLarge, Strip, draw_sheet
    from service.sheet import compare as compare_ways

    formats: dict[str, images.OutputFormat] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
    if out.suffix.lower() not in formats:
        raise _misuse(f"--out ends with {', '.join(formats)}")
    if out.exists() and not overwrite:
        raise _misuse(f"{shown(out)} is there already: name another --out, or give --overwrite")
    failures = 0

    def on_unlisted(folder: Path, _: Path, error: OSError) -> None:
        nonlocal failures
        failures += 1
        typer.echo(f"failed: {shown(folder)}: {explain_folder(error)[1]}", err=True)

    try:
        found = find_pictures(inputs, on_unlisted=on_unlisted)
        sources = [path for path, _ in found if os.path.realpath(path) != os.path.realpath(out)]
    except PlanError as error:
        raise _misuse(error) from error
    if not sources and not failures:
        raise _misuse("there is no picture in what was named")
    _prepare_codecs()
    session = _load(settings)
    console = Console(stderr=True)
    ways = [query.to_options() for query in queries]
    strips: list[Strip] = []
    for source in track(
        sources, "comparing", console=console, transient=True, disable=quiet or not console.is_terminal
    ):
        try:
            data = source.read_bytes()
            picture = images.decode(data, images.probe(data, max_megapixels=settings.max_megapixels))
            strips.append(compare_ways(picture, ways, session, name=shown(source), cell_px=cell))
        except Exception as error:  # Decoders and networks throw anything; the next picture may be fine.
            failures += 1
            typer.echo(f"failed: {shown(source)}: {explain(error)[1]}", err=True)
    if strips:
        given = [f"vividness {level:g}" for level in levels] if len(levels) > 1 else ["ours"]
        titles = ["gray", *given, *(["original"] if any(len(strip.cells) > 1 + len(given) for strip in strips) else [])]
        try:
            sheet = draw_sheet(strips, titles, cell_px=cell, columns=columns)
            write_whole(out, images.encode(sheet, None, formats[out.suffix.lower()]))
        except (SheetTooLarge, RequestError) as error:
            raise _misuse(error) from error
        except OSError as error:
            typer.echo(f"photochrom: {shown(out)}: {error.strerror}", err=True)
            raise typer.Exit(FAILED) from error
    typer.echo(f"{len(strips)} compared, {failures} failed; in {shown(out)}")
    if failures:
        raise typer.Exit(FAILED)


@app.command()
def doctor(as_json: JsonOption = False, model: ModelOption = None, device: DeviceOption = None) -> None:
    """Show versions, device, model and limits, say what is wrong and how to mend it; ends with 1 when something is."""
    settings = _settings(model=model, device=device)

    from rich.console import Console
    from rich.table import Table

    from service.doctor import examine

    seen = examine(settings, os.environ)
    if as_json:
        typer.echo(json.dumps(seen.to_dict()))
    else:
        table = Table(show_header=False)
        for name, value in seen.facts.items():
            table.add_row(name, str(value))
        Console(width=None if sys.stdout.isatty() else 160).print(table)
        for finding in sorted(seen.findings, key=lambda finding: finding.level):
            mend = f"; to mend it: {finding.mend}" if finding.mend else ""
            typer.echo(f"{finding.level}: {finding.what}{mend}", err=True)
        if seen.is_well:
            typer.echo("photochrom works here" + (", with warnings" if seen.findings else ""))
    if not seen.is_well:
        raise typer.Exit(FAILED)


@app.command()
def bench(
    megapixels: Annotated[
        list[float] | None, typer.Option(help="Size of the pictures; given several times, all. Default: 0.3, 1, 12.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each size.", min=1, max=1000)] = 5,
    mode: ModeOption = "annealed",
    size: SizeOption = None,
    enlargement: EnlargementOption = "bilinear",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Measure how long a picture takes on this machine, now."""
    settings = _settings(model=model, device=device)
    sizes = megapixels or [0.3, 1, 12]
    query = _query(mode=mode, size=size, enlargement=enlargement)
    for wanted in sizes:
        if not 0.0001 <= wanted <= settings.max_megapixels:
            raise _misuse(f"--megapixels: {wanted:g} is not between 0.0001 and {settings.max_megapixels:g}")

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from service import bench as measuring
    from service import images
    from service.session import usable_cores

    images.prepare_codecs()
    said = measuring.caveats(usable_cores())
    session = _load(settings)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(sizes) * (repeats + 1))
        measured = measuring.measure(session, query.to_options(), sizes, repeats, done=partial(progress.advance, task))
    facts = {"model": session.stamp.run_id, "provider": session.provider, "threads": session.threads}
    if as_json:
        found = [result.to_dict() for result in measured]
        typer.echo(json.dumps({**facts, "sizes": found, "caveats": said}))
        return
    table = Table("megapixels", "s a picture", "fastest", "slowest", "times the first", *measuring.STAGES)
    for result in measured:
        seconds = (result.median_s, min(result.seconds), max(result.seconds))
        ratio = f"{result.median_s / measured[0].median_s:.1f}"
        stages = (f"{value:.3f}" for value in result.stage_s.values())
        table.add_row(f"{result.megapixels:g}", *(f"{value:.3f}" for value in seconds), ratio, *stages)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    typer.echo(f"model {facts['model']}, {facts['provider']}, {facts['threads']} threads, median of {repeats} runs.")
    for sentence in said:
        typer.echo(sentence)
