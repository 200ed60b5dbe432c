"""``photochrom colorize``: photographs and films, here, by a service, or on a cluster."""

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.places import MOST_JOBS_THERE, Order, Place, RayCluster, RemoteService, ThisMachine
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
    misuse,
    prepare_codecs,
    read_settings,
)
from service.text import printable

if TYPE_CHECKING:
    from types import FrameType

    from service.archive.report import Report
    from service.archive.run import Outcome, Work

OutOption = Annotated[Path, typer.Option(help="Folder for the answers; names are kept.")]
OverwriteOption = Annotated[bool, typer.Option(help="Color again what is there already.")]
FormatOption = Annotated[str, typer.Option("--format", help="png, jpeg or webp.")]
VividnessOption = Annotated[float, typer.Option(help="0 calm, 1 vivid.")]
TemperatureOption = Annotated[float | None, typer.Option(help="Overrides what vividness implies.")]
SaturationOption = Annotated[float, typer.Option(help="Factor on chroma.")]
HintsOption = Annotated[
    str, typer.Option(help="Points whose color is known, in photographs: 'x,y,RRGGBB;x,y,a:b'; x, y from 0 to 1.")
]
ReferenceOption = Annotated[
    Path | None, typer.Option(help="A color photograph whose palette photographs follow.", show_default=False)
]
StrengthOption = Annotated[float, typer.Option(help="How far the reference counts, 0 to 1.")]
CrfOption = Annotated[int, typer.Option(help="Quality of films: 0 lossless, 51 worst.", min=0, max=51)]
EveryOption = Annotated[
    int, typer.Option(help="In films, let the network look at each so many-th frame.", min=1, max=25)
]
PagesOption = Annotated[bool, typer.Option("--pages", help="Color all pages of TIFFs: name-1.png, name-2.png, ...")]
MetadataOption = Annotated[bool, typer.Option(help="Carry EXIF, XMP and resolution over to the answer.")]
RemoteOption = Annotated[str | None, typer.Option(help="Address of a running service, to color there.")]
ClusterOption = Annotated[
    str | None, typer.Option(help="Address of a Ray cluster, to color there: HOST:PORT, ray://HOST:PORT, auto.")
]
KeyOption = Annotated[str | None, typer.Option(help="For --remote.", envvar="PHOTOCHROM_API_KEY", show_default=False)]
JobsOption = Annotated[
    int | None,
    typer.Option(
        help="Pictures at once, with --remote (default: 4) or --cluster (default: its processors).", min=1, max=1024
    ),
]


@app.command()
def colorize(
    inputs: FilesArgument,
    out: OutOption = Path("colorized"),
    overwrite: OverwriteOption = False,
    output_format: FormatOption = "png",
    mode: ModeOption = "annealed",
    vividness: VividnessOption = 0.5,
    temperature: TemperatureOption = None,
    saturation: SaturationOption = 1.0,
    size: SizeOption = None,
    enlargement: EnlargementOption = "bilinear",
    hints: HintsOption = "",
    reference: ReferenceOption = None,
    reference_strength: StrengthOption = 0.5,
    crf: CrfOption = 18,
    every: EveryOption = 1,
    pages: PagesOption = False,
    metadata: MetadataOption = True,
    remote: RemoteOption = None,
    cluster: ClusterOption = None,
    api_key: KeyOption = None,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Color photographs and films, here, by a service, or on a cluster.

    What is done is skipped, a bad file does not stop the others, and an interrupted call goes on when given again.
    Ends with 1 when something failed, with 2 when misused, with 130 after Ctrl-C.
    """
    place = _choose_place(remote, cluster, api_key, jobs, names_model=bool(model or device))
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
    order = Order(query, settings, _read_reference(reference), crf, every, metadata, jobs, quiet, all_pages=pages)
    _color(order, place, inputs, out, overwrite=overwrite, as_json=as_json)


def _choose_place(
    remote: str | None, cluster: str | None, api_key: str | None, jobs: int | None, *, names_model: bool
) -> Place:
    """Return where to color; options that do not go together end the command."""
    if remote is not None and cluster is not None:
        raise misuse("--remote and --cluster exclude each other")
    if remote is None and cluster is None and jobs is not None:
        raise misuse("--jobs needs --remote or --cluster: here one picture at a time takes all cores")
    if remote is not None and jobs is not None and jobs > MOST_JOBS_THERE:
        raise misuse(f"--jobs: a service is sent at most {MOST_JOBS_THERE} pictures at once")
    if remote is not None and names_model:
        raise misuse("--model and --device are for coloring here, not with --remote")
    if remote is not None:
        return RemoteService(remote, api_key)
    return ThisMachine() if cluster is None else RayCluster(cluster)


def _color(order: Order, place: Place, inputs: list[Path], out: Path, *, overwrite: bool, as_json: bool) -> None:
    """Color what is not there yet, and end the command with what came of it."""
    from service.archive.report import Report
    from service.archive.run import Stopped

    prepare_codecs()
    work, told = _plan(order, place, inputs, out, overwrite=overwrite)
    failed = sum(outcome.status == "failed" for outcome in told)
    report = Report(len(work.plan) + failed, as_json=as_json, quiet=order.quiet)
    stopped, code = "", 0
    with _interruptible() as signals:
        try:
            for outcome in told:
                report(outcome)
            if work.plan:
                place.color(order, work, report)
        except Stopped as stop:
            stopped, code = str(stop), FAILED
        except KeyboardInterrupt:
            stopped, code = "interrupted", TERMINATED if signal.SIGTERM in signals else INTERRUPTED
    _tell(report, stopped, out, as_json=as_json)
    if code or report.failures:
        raise typer.Exit(code or FAILED)


def _plan(
    order: Order, place: Place, inputs: list[Path], out: Path, *, overwrite: bool
) -> "tuple[Work, Sequence[Outcome]]":
    """Return what there is to do, and what is known without doing it: answers that are there, unreadable folders."""
    from service.archive.finding import PlanError, is_done, plan_outputs
    from service.archive.pages import are_done
    from service.archive.run import Outcome, Work, explain_folder

    if order.query.format == "json":
        raise misuse("--format is png, jpeg or webp")
    answer_format = order.query.picture_format() or "png"
    unlisted: list[Outcome] = []

    def on_unlisted(folder: Path, place: Path, error: OSError) -> None:
        problem, reason = explain_folder(error)
        unlisted.append(Outcome(folder, out / place, "failed", problem=problem, reason=reason))

    try:
        suffix = ".jpg" if answer_format == "jpeg" else f".{answer_format}"
        plan = plan_outputs(inputs, out, suffix=suffix, on_unlisted=on_unlisted)
    except PlanError as error:
        raise misuse(error) from error
    plan = _without_films(plan, inputs, place)
    if not plan and not unlisted:
        raise misuse("there is no picture in what was named")
    is_there = are_done if order.all_pages else is_done
    todo = {source: target for source, target in plan.items() if overwrite or not is_there(source, target)}
    skipped = [Outcome(source, target, "skipped") for source, target in plan.items() if source not in todo]
    return Work(todo, answer_format, order.keep_metadata, order.all_pages), [*skipped, *unlisted]


def _tell(report: "Report", stopped: str, out: Path, *, as_json: bool) -> None:
    """Say what failed, what is left, and the counts."""
    from service.archive.report import shown

    for failure in report.failures:
        typer.echo(f"failed: {shown(failure.source)}: {printable(failure.reason)}", err=True)
    if stopped:
        typer.echo(f"photochrom: {printable(stopped)}; {report.left} left, the same call goes on with them", err=True)
    if as_json:
        typer.echo(json.dumps({"summary": report.summary(stopped)}))
        return
    counts = report.counts
    left = f", {report.left} left" if report.left else ""
    typer.echo(
        f"{counts['colored']} colored, {counts['skipped']} already there, {counts['failed']} failed{left}; "
        f"in {shown(out)}"
    )


def _without_films(plan: dict[Path, Path], named: list[Path], place: Place) -> dict[Path, Path]:
    """Leave the films out where they cannot be colored: refused when named, else said.

    Args:
        plan: target by source.
        named: what was asked for by name.
        place: where it is to be done.
    """
    from service.archive.film_file import NoFilmSupport, require_support
    from service.archive.finding import is_film
    from service.archive.report import shown

    films = [source for source in plan if is_film(source)]
    why = place.refuses_films if films else ""
    if films and not why:
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


def _read_reference(path: Path | None) -> bytes | None:
    from service.archive.finding import read_file

    try:
        return None if path is None else read_file(path)
    except OSError as error:
        raise misuse(f"--reference {path}: {error.strerror}") from error


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
