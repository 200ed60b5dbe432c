"""``photochrom colorize``: photographs and films, here, by a service, or on a cluster."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from service.errors import RequestError, StartupError
from service.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

    from service.archive.here import Here
    from service.archive.report import Report
    from service.archive.run import Work
    from service.client.requests import Options
    from service.engine.options import ColorizeQuery
    from service.engine.session import Session
from service.commands.shared import (
    FAILED,
    INTERRUPTED,
    TERMINATED,
    DeviceOption,
    EnlargementOption,
    FilesArgument,
    JsonOption,
    ModelOption,
    ModeOption,
    QuietOption,
    SizeOption,
    app,
    check_query,
    load_session,
    misuse,
    prepare_codecs,
    read_settings,
    stop,
)

MOST_JOBS_THERE = 64
"""Pictures at once that a single service is sent; a cluster takes as many as it has processors."""

PATIENCE_THERE_S = 300.0
"""How long a service that is busy or restarts is waited for over one picture: the pauses together, seconds."""

TRIES_THERE = 10_000
"""More than fit into that time: it alone decides."""


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
        raise misuse("--remote and --cluster exclude each other")
    if remote is None and cluster is None and jobs is not None:
        raise misuse("--jobs needs --remote or --cluster: here one picture at a time takes all cores")
    if remote is not None and jobs is not None and jobs > MOST_JOBS_THERE:
        raise misuse(f"--jobs: a service is sent at most {MOST_JOBS_THERE} pictures at once")
    if remote is not None and (model or device):
        raise misuse("--model and --device are for coloring here, not with --remote")
    settings = read_settings(model=model, device=device)
    query = check_query(
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

    from service.archive.finding import PlanError, is_done, plan_outputs
    from service.archive.report import Report, shown
    from service.archive.run import Outcome, Stopped, Work, color_here, explain_folder

    prepare_codecs()
    if query.format == "json":
        raise misuse("--format is png, jpeg or webp")
    answer_format = query.picture_format() or "png"
    unlisted: list[Outcome] = []

    def on_unlisted(folder: Path, place: Path, error: OSError) -> None:
        problem, reason = explain_folder(error)
        unlisted.append(Outcome(folder, out / place, "failed", problem=problem, reason=reason))

    try:
        suffix = ".jpg" if answer_format == "jpeg" else f".{answer_format}"
        plan = plan_outputs(inputs, out, suffix=suffix, on_unlisted=on_unlisted)
    except PlanError as error:
        raise misuse(error) from error
    plan = _without_films(
        plan, inputs, "--remote" if remote is not None else "--cluster" if cluster is not None else ""
    )
    if not plan and not unlisted:
        raise misuse("there is no picture in what was named")
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
                session = load_session(settings)
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


def _without_films(plan: dict[Path, Path], named: list[Path], away: str) -> dict[Path, Path]:
    """Leave the films out where they cannot be colored: refused when named, else said.

    Args:
        plan: target by source.
        named: what was asked for by name.
        away: the option by which work is done elsewhere; empty: here.
    """
    from service.archive.film_file import NoFilmSupport, require_support
    from service.archive.finding import is_film
    from service.archive.report import shown

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
        raise misuse(f"{shown(asked[0])}: {why}")
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
    from service.archive.film import color_film
    from service.archive.film_file import FilmOptions

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
        raise misuse(f"--reference {path}: {error.strerror}") from error


def _colorist(session: "Session", settings: Settings, query: "ColorizeQuery", reference: bytes | None) -> "Here":
    from service.archive.here import Here

    options, output_format = query.to_options(), query.picture_format() or "png"
    try:
        return Here(session, options, output_format, max_megapixels=settings.max_megapixels, reference=reference)
    except RequestError as error:
        raise misuse(f"--reference: {error.detail}") from error


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
    from service.archive.run import Stopped, color_there
    from service.archive.there import There
    from service.client import AsyncClient
    from service.client.errors import ClientError

    try:
        # One question first tells whether the service is there and takes the key.
        first = AsyncClient(url, api_key=api_key, retries=2)
        # Nobody waits for one answer of many: be patient with a service that is busy.
        client = AsyncClient(url, api_key=api_key, retries=TRIES_THERE, max_wait_s=PATIENCE_THERE_S, resend=False)
    except ValueError as error:
        raise misuse(error) from error
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
    from service.archive.cluster import Order, color_on_cluster
    from service.engine.session import shipped_model
    from service.pictures.decode import decode
    from service.pictures.probe import probe

    if reference is not None:
        try:
            decode(reference, probe(reference, max_megapixels=settings.max_megapixels))
        except RequestError as error:
            raise misuse(f"--reference: {error.detail}") from error
    model = settings.model or shipped_model()
    order = Order(query, settings.device, model, settings.max_megapixels, reference)

    def say(text: str) -> None:
        if not quiet:
            typer.echo(f"photochrom: {text}", err=True)

    try:
        with report:
            color_on_cluster(address, order, work, report, jobs=jobs, say=say)
    except StartupError as error:
        raise stop(error) from error


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
