"""``photochrom compare``: a contact sheet."""

import os
from pathlib import Path
from typing import Annotated

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
    app,
    check_query,
    load_session,
    misuse,
    prepare_codecs,
    read_settings,
)
from service.errors import RequestError


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
    settings = read_settings(model=model, device=device)
    levels = vividness or [0.5]
    queries = [check_query(mode=mode, vividness=level, size=size, enlargement=enlargement) for level in levels]

    from rich.console import Console
    from rich.progress import track

    from service.archive.finding import PlanError, find_pictures
    from service.archive.report import shown
    from service.archive.run import explain, explain_folder
    from service.archive.sheet import SheetTooLarge, Strip, draw_sheet
    from service.archive.sheet import compare as compare_ways
    from service.archive.whole_files import write_whole
    from service.pictures.decode import decode
    from service.pictures.encode import OutputFormat, encode
    from service.pictures.probe import probe

    formats: dict[str, OutputFormat] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
    if out.suffix.lower() not in formats:
        raise misuse(f"--out ends with {', '.join(formats)}")
    if out.exists() and not overwrite:
        raise misuse(f"{shown(out)} is there already: name another --out, or give --overwrite")
    failures = 0

    def on_unlisted(folder: Path, _: Path, error: OSError) -> None:
        nonlocal failures
        failures += 1
        typer.echo(f"failed: {shown(folder)}: {explain_folder(error)[1]}", err=True)

    try:
        found = find_pictures(inputs, on_unlisted=on_unlisted)
        sources = [path for path, _ in found if os.path.realpath(path) != os.path.realpath(out)]
    except PlanError as error:
        raise misuse(error) from error
    if not sources and not failures:
        raise misuse("there is no picture in what was named")
    prepare_codecs()
    session = load_session(settings)
    console = Console(stderr=True)
    ways = [query.to_options() for query in queries]
    strips: list[Strip] = []
    for source in track(
        sources, "comparing", console=console, transient=True, disable=quiet or not console.is_terminal
    ):
        try:
            data = source.read_bytes()
            picture = decode(data, probe(data, max_megapixels=settings.max_megapixels))
            strips.append(compare_ways(picture, ways, session, name=shown(source), cell_px=cell))
        except Exception as error:  # Decoders and networks throw anything; the next picture may be fine.
            failures += 1
            typer.echo(f"failed: {shown(source)}: {explain(error)[1]}", err=True)
    if strips:
        given = [f"vividness {level:g}" for level in levels] if len(levels) > 1 else ["ours"]
        titles = ["gray", *given, *(["original"] if any(len(strip.cells) > 1 + len(given) for strip in strips) else [])]
        try:
            sheet = draw_sheet(strips, titles, cell_px=cell, columns=columns)
            write_whole(out, encode(sheet, None, formats[out.suffix.lower()]))
        except (SheetTooLarge, RequestError) as error:
            raise misuse(error) from error
        except OSError as error:
            typer.echo(f"photochrom: {shown(out)}: {error.strerror}", err=True)
            raise typer.Exit(FAILED) from error
    typer.echo(f"{len(strips)} compared, {failures} failed; in {shown(out)}")
    if failures:
        raise typer.Exit(FAILED)
