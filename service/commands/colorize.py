"""``photochrom colorize``: photographs and films, here, by a service, or on a cluster."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.places import MOST_JOBS_THERE, Order, Place, RayCluster, RemoteService, ThisMachine
from service.commands.planning import plan_work
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
    ToneOption,
    app,
    check_query,
    misuse,
    prepare_codecs,
    read_settings,
)
from service.logs import printable

if TYPE_CHECKING:
    from types import FrameType

    from service.archive.film_file import FilmOptions
    from service.archive.looks import Looks
    from service.archive.report import Report

OutOption = Annotated[Path, typer.Option(help="Folder for the answers; names are kept.")]
OverwriteOption = Annotated[bool, typer.Option(help="Color again what is there already.")]
FormatOption = Annotated[str, typer.Option("--format", help="png, jpeg, webp or tiff.")]
LookOption = Annotated[str, typer.Option(help="natural, warm or vivid.")]
VividnessOption = Annotated[
    float | None, typer.Option(help="0 calm, 1 vivid; default: that of the look.", show_default=False)
]
TemperatureOption = Annotated[float | None, typer.Option(help="Overrides what vividness implies.")]
SaturationOption = Annotated[float, typer.Option(help="Factor on chroma.")]
HintsOption = Annotated[
    str, typer.Option(help="Points whose color is known, in photographs: 'x,y,RRGGBB;x,y,a:b'; x, y from 0 to 1.")
]
RegionsOption = Annotated[
    str,
    typer.Option(help="Things whose color is known, in photographs: 'RRGGBB@strength/x,y,radius/~x,y,radius;...'."),
]
ReferenceOption = Annotated[
    Path | None, typer.Option(help="A color photograph whose palette photographs follow.", show_default=False)
]
LooksOption = Annotated[
    Path | None,
    typer.Option(help="Colors that were chosen on the page, a looks.json: how single photographs are to be colored."),
]
VariantsOption = Annotated[
    int, typer.Option(help="Plausible versions of each photograph: name.png, name-v2.png, ...; at most 8.")
]
StrengthOption = Annotated[float, typer.Option(help="How far the reference counts, 0 to 1.")]
CrfOption = Annotated[int, typer.Option(help="Quality of films: 0 lossless, 51 worst.", min=0, max=51)]
EveryOption = Annotated[
    int,
    typer.Option(
        help="In films, let the network look at each so many-th frame at least; 0: where there is something new.",
        min=0,
        max=25,
    ),
]
FilmDepthOption = Annotated[int, typer.Option(help="Bits of films: 8, or 10, which fewer players show.")]
FilmPresetOption = Annotated[
    str, typer.Option(help="How long films' encoder tries: faster, fast, medium or slow, which makes them smaller.")
]
DeinterlaceOption = Annotated[bool, typer.Option(help="Make whole frames of films that are interlaced.")]
PagesOption = Annotated[bool, typer.Option("--pages", help="Color all pages of TIFFs: name-1.png, name-2.png, ...")]
DepthOption = Annotated[
    int | None, typer.Option(help="8 or 16 bits a channel, of png and tiff; default: the picture's own.")
]
MetadataOption = Annotated[
    bool, typer.Option(help="Carry resolution, EXIF, XMP, IPTC, comments and .xmp files over to the answer.")
]
NoteOption = Annotated[bool, typer.Option(help="Say in the answer's XMP that its colors are computed.")]
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
def colorize(  # typer wants each option as a parameter
    inputs: FilesArgument,
    out: OutOption = Path("colorized"),
    overwrite: OverwriteOption = False,
    output_format: FormatOption = "png",
    depth: DepthOption = None,
    look: LookOption = "natural",
    mode: ModeOption = "annealed",
    vividness: VividnessOption = None,
    temperature: TemperatureOption = None,
    saturation: SaturationOption = 1.0,
    size: SizeOption = None,
    tone: ToneOption = "auto",
    enlargement: EnlargementOption = "bilinear",
    hints: HintsOption = "",
    regions: RegionsOption = "",
    reference: ReferenceOption = None,
    reference_strength: StrengthOption = 0.5,
    variants: VariantsOption = 1,
    looks: LooksOption = None,
    crf: CrfOption = 18,
    every: EveryOption = 0,
    film_depth: FilmDepthOption = 8,
    film_preset: FilmPresetOption = "faster",
    deinterlace: DeinterlaceOption = True,
    pages: PagesOption = False,
    metadata: MetadataOption = True,
    note: NoteOption = True,
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

    Films (MP4, MOV, MKV, AVI, WebM and others) become MP4s with their sound; --crf, --every, --film-depth,
    --film-preset and --deinterlace are for them.
    What is done is skipped, a bad file does not stop the others, and an interrupted call goes on when given again.
    Ends with 1 when something failed or is of a kind that is not read, with 2 when misused, with 130 after Ctrl-C.
    """
    place = _choose_place(remote, cluster, api_key, jobs, names_model=bool(model or device))
    settings = read_settings(model=model, device=device)
    query = check_query(
        format=output_format,
        look=look,
        mode=mode,
        vividness=vividness,
        temperature=temperature,
        saturation=saturation,
        size=size,
        tone=tone,
        enlargement=enlargement,
        hints=hints,
        regions=regions,
        reference_strength=reference_strength,
        variants=variants,
        depth=depth,
        metadata="keep" if metadata else "none",
        note=note,
    )
    films = _film_options(crf, every, film_depth, film_preset, deinterlace=deinterlace)
    chosen = _read_looks(looks, variants=variants, all_pages=pages)
    order = Order(query, settings, _read_reference(reference), films, jobs, quiet, all_pages=pages, looks=chosen)
    _color(order, place, inputs, out, overwrite=overwrite, as_json=as_json)


def _film_options(crf: int, every: int, depth: int, preset: str, *, deinterlace: bool) -> "FilmOptions":
    from service.archive.film_file import DEPTHS, PRESETS, FilmOptions

    if depth not in DEPTHS:
        raise misuse("--film-depth is 8 or 10")
    if preset not in PRESETS:
        raise misuse(f"--film-preset is {', '.join(PRESETS[:-1])} or {PRESETS[-1]}")
    return FilmOptions(crf=crf, every=every, depth=depth, deinterlace=deinterlace, preset=preset)


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
    work, told = plan_work(order, place, inputs, out, overwrite=overwrite)
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
    if order.looks and not code:  # Else nobody knows what the files would be that were not reached.
        _remark_unmet(order.looks, report)
    _tell(report, stopped, out, as_json=as_json)
    if code or report.failures or report.unread:
        raise typer.Exit(code or FAILED)


def _remark_unmet(looks: "Looks", report: "Report") -> None:
    """Say which looks met no file."""
    from service.archive.kinds import is_film
    from service.archive.looks import say_unmet

    failed = [outcome.source for outcome in report.failures if not is_film(outcome.source)]
    report.remark(say_unmet(looks, looks.unmet(report.looks_met, failed)))


def _tell(report: "Report", stopped: str, out: Path, *, as_json: bool) -> None:
    """Say what was not colored and why, what is left, and the counts."""
    from service.archive.report import shown

    for line in report.troubles():
        typer.echo(line, err=True)
    if stopped:
        typer.echo(f"photochrom: {printable(stopped)}; {report.left} left, the same call goes on with them", err=True)
    typer.echo(json.dumps({"summary": report.summary(stopped)}) if as_json else f"{report.counted()}; in {shown(out)}")


def _read_reference(path: Path | None) -> bytes | None:
    from service.archive.finding import read_file

    try:
        return None if path is None else read_file(path)
    except OSError as error:
        raise misuse(f"--reference {path}: {error.strerror}") from error


def _read_looks(path: Path | None, *, variants: int, all_pages: bool) -> "Looks | None":
    from service.archive.looks import LooksError, read_looks

    if all_pages and variants > 1:
        raise misuse("--pages and --variants exclude each other")
    if path is None:
        return None
    if all_pages or variants > 1:
        raise misuse("--looks says which version and which page: leave out --variants and --pages")
    try:
        return read_looks(path)
    except LooksError as error:
        raise misuse(f"--looks {error}") from error


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
