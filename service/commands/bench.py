"""``photochrom bench``: how long a picture takes here."""

import json
import sys
from functools import partial
from typing import Annotated

import typer

from service.commands.shared import (
    DeviceOption,
    EnlargementOption,
    JsonOption,
    ModelOption,
    ModeOption,
    QuietOption,
    SizeOption,
    app,
    check_query,
    load_session,
    misuse,
    read_settings,
)


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
    settings = read_settings(model=model, device=device)
    sizes = megapixels or [0.3, 1, 12]
    query = check_query(mode=mode, size=size, enlargement=enlargement)
    for wanted in sizes:
        if not 0.0001 <= wanted <= settings.max_megapixels:
            raise misuse(f"--megapixels: {wanted:g} is not between 0.0001 and {settings.max_megapixels:g}")

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from service.commands import measuring
    from service.machine import usable_cores
    from service.pictures.decode import prepare_codecs

    prepare_codecs()
    said = measuring.caveats(usable_cores())
    session = load_session(settings)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(sizes) * (repeats + 1))
        measured = measuring.measure(session, query.to_options(), sizes, repeats, done=partial(progress.advance, task))
    facts = {
        "model": session.stamp.run_id,
        "provider": session.provider,
        "computed_in": session.precision,
        "threads": session.threads,
    }
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
    typer.echo(
        f"model {facts['model']}, {facts['provider']}, {facts['computed_in']}, {facts['threads']} threads, "
        f"median of {repeats} runs."
    )
    for sentence in said:
        typer.echo(sentence)
