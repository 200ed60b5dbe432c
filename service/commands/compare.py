"""``photochrom compare``: a contact sheet."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.shared import (
    FAILED,
    DeviceOption,
    EnlargementOption,
    ModelOption,
    ModeOption,
    PicturesArgument,
    QuietOption,
    SizeOption,
    ToneOption,
    app,
    check_query,
    load_session,
    misuse,
    prepare_codecs,
    read_settings,
)
from service.errors import RequestError
from service.logs import printable
from service.settings import Settings

if TYPE_CHECKING:
    from service.archive.sheet import Strip
    from service.engine.options import Options
    from service.pictures.answer_formats import OutputFormat


@app.command()
def compare(
    inputs: PicturesArgument,
    out: Annotated[Path, typer.Option(help="The sheet: .png, .jpg, .webp or .tif.")] = Path("comparison.png"),
    overwrite: Annotated[bool, typer.Option(help="Replace a sheet that is there.")] = False,
    vividness: Annotated[
        list[float] | None, typer.Option(help="0 calm, 1 vivid; given several times, one column each. Default: 0.5.")
    ] = None,
    variants: Annotated[int, typer.Option(help="Plausible versions, one column each.", min=1, max=8)] = 1,
    mode: ModeOption = "annealed",
    size: SizeOption = None,
    tone: ToneOption = "auto",
    enlargement: EnlargementOption = "bilinear",
    cell: Annotated[int, typer.Option(help="Longest side of a picture on the sheet, px.", min=16, max=4096)] = 256,
    columns: Annotated[int, typer.Option(help="Photographs side by side; 0 chooses.", min=0, max=100)] = 0,
    quiet: QuietOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Draw a contact sheet: gray, colored, and the original where it has color."""
    settings = read_settings(model=model, device=device)
    levels, versions = vividness or [0.5], range(1, variants + 1)
    asked = {"mode": mode, "size": size, "tone": tone, "enlargement": enlargement}
    ways = [
        replace(check_query(vividness=level, **asked).to_options(), variants=(version,))
        for level in levels
        for version in versions
    ]
    output_format = _check_out(out, overwrite=overwrite)
    sources, failures = _find(inputs, out)
    prepare_codecs()
    strips = _color(sources, ways, settings, cell_px=cell, quiet=quiet)
    failures += len(sources) - len(strips)
    if strips:
        _write(strips, _titles(levels, versions), out, output_format, cell_px=cell, columns=columns)

    from service.archive.report import shown

    typer.echo(f"{len(strips)} compared, {failures} failed; in {shown(out)}")
    if failures:
        raise typer.Exit(FAILED)


def _titles(levels: Sequence[float], versions: Sequence[int]) -> list[str]:
    """Return what stands above the columns: what they differ by."""
    titles = []
    for level in levels:
        for version in versions:
            said = [f"vividness {level:g}"] if len(levels) > 1 else []
            said += [f"version {version}"] if len(versions) > 1 else []
            titles.append(", ".join(said) or "ours")
    return titles


def _check_out(out: Path, *, overwrite: bool) -> "OutputFormat":
    """Return the format that the sheet's name asks for; a name that cannot be ends the command."""
    from service.archive.report import shown
    from service.pictures.answer_formats import SUFFIXES

    formats: dict[str, OutputFormat] = {suffix: name for name, suffix in SUFFIXES.items()} | {
        ".jpeg": "jpeg",
        ".tiff": "tiff",
    }
    if out.suffix.lower() not in formats:
        raise misuse(f"--out ends with {', '.join(formats)}")
    if out.exists() and not overwrite:
        raise misuse(f"{shown(out)} is there already: name another --out, or give --overwrite")
    return formats[out.suffix.lower()]


def _find(inputs: list[Path], out: Path) -> tuple[list[Path], int]:
    """Return the pictures that are meant, and how many folders cannot be searched."""
    from service.archive.finding import PlanError, find_pictures
    from service.archive.report import shown
    from service.archive.run import explain_folder

    failures = 0

    def on_unlisted(folder: Path, _: Path, error: OSError) -> None:
        nonlocal failures
        failures += 1
        typer.echo(f"failed: {shown(folder)}: {printable(explain_folder(error)[1])}", err=True)

    try:
        found = find_pictures(inputs, on_unlisted=on_unlisted)
        sources = [path for path, _ in found if os.path.realpath(path) != os.path.realpath(out)]
    except PlanError as error:
        raise misuse(error) from error
    if not sources and not failures:
        raise misuse("there is no picture in what was named")
    return sources, failures


def _color(
    sources: list[Path], ways: "list[Options]", settings: Settings, *, cell_px: int, quiet: bool
) -> "list[Strip]":
    """Color each picture in each way; say which cannot be."""
    from rich.console import Console
    from rich.progress import track

    from service.archive.finding import read_file
    from service.archive.report import shown
    from service.archive.run import explain
    from service.archive.sheet import compare as compare_ways
    from service.pictures.decode import decode
    from service.pictures.probe import probe
    from service.pictures.size_limits import SizeLimits

    session, limits = load_session(settings), SizeLimits.of(settings)
    console = Console(stderr=True)
    strips: list[Strip] = []
    for source in track(
        sources, "comparing", console=console, transient=True, disable=quiet or not console.is_terminal
    ):
        try:
            data = read_file(source, limits)
            with limits.told():
                picture = decode(data, probe(data, max_megapixels=limits.max_megapixels))
            strips.append(compare_ways(picture, ways, session, name=shown(source), cell_px=cell_px))
        except Exception as error:  # Decoders and networks throw anything; the next picture may be fine.
            typer.echo(f"failed: {shown(source)}: {printable(explain(error)[1])}", err=True)
    return strips


def _write(
    strips: "list[Strip]", given: list[str], out: Path, output_format: "OutputFormat", *, cell_px: int, columns: int
) -> None:
    """Draw the sheet and write it; what does not fit or cannot be written ends the command."""
    from service.archive.report import shown
    from service.archive.sheet import SheetTooLarge, draw_sheet
    from service.archive.whole_files import write_whole
    from service.pictures.encode import encode

    has_truth = any(len(strip.cells) > 1 + len(given) for strip in strips)
    titles = ["gray", *given, *(["original"] if has_truth else [])]
    try:
        sheet = draw_sheet(strips, titles, cell_px=cell_px, columns=columns)
        write_whole(out, encode(sheet, None, output_format))
    except (SheetTooLarge, RequestError) as error:
        raise misuse(error) from error
    except OSError as error:
        typer.echo(f"photochrom: {shown(out)}: {error.strerror}", err=True)
        raise typer.Exit(FAILED) from error
