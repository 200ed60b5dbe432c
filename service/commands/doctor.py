"""``photochrom doctor``: what is wrong here, and how to fix it."""

import json
import os
import sys

import typer

from service.commands.shared import FAILED, DeviceOption, JsonOption, ModelOption, app, read_settings


@app.command()
def doctor(as_json: JsonOption = False, model: ModelOption = None, device: DeviceOption = None) -> None:
    """Show versions, device, model and limits, say what is wrong and how to fix it; ends with 1 when something is."""
    settings = read_settings(model=model, device=device)

    from rich.console import Console
    from rich.table import Table

    from service.commands.examination import examine

    seen = examine(settings, os.environ)
    if as_json:
        typer.echo(json.dumps(seen.to_dict()))
    else:
        table = Table(show_header=False)
        for name, value in seen.facts.items():
            table.add_row(name, str(value))
        Console(width=None if sys.stdout.isatty() else 160).print(table)
        for finding in sorted(seen.findings, key=lambda finding: finding.level):
            fix = f"; to fix it: {finding.fix}" if finding.fix else ""
            typer.echo(f"{finding.level}: {finding.what}{fix}", err=True)
        if seen.is_well:
            typer.echo("photochrom works here" + (", with warnings" if seen.findings else ""))
    if not seen.is_well:
        raise typer.Exit(FAILED)
