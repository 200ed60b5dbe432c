"""The list of recipes: what each is, what its network costs, which scores to expect."""

import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from training.recipes import COUNTED_SIDE_PX, NOT_TRAINED, load_about, recipe_names

WIDTH = 150
"""Of the table, in characters, where nothing says how wide the terminal is."""


@dataclass(frozen=True)
class Entry:
    """One recipe of the list.

    Attributes:
        name: what the command line calls it.
        what: the system, in a few words.
        parameters: of the network in training; 0 where nobody counted.
        gflops: for one picture of 256 x 256 px; 0 likewise.
        speed: measured training speed; empty where nobody measured.
        scores: measured scores; empty where nobody trained it.
    """

    name: str
    what: str
    parameters: int
    gflops: float
    speed: str
    scores: str


def catalog() -> tuple[Entry, ...]:
    """Return what the recipes say of themselves; no network is built, no framework loaded."""
    entries = []
    for name in recipe_names():
        about = load_about(name)
        entries.append(Entry(name, about.what, about.parameters, about.gflops, about.speed, about.scores))
    return tuple(entries)


def catalog_json(entries: tuple[Entry, ...]) -> str:
    """Return the list as a JSON object by name; what nobody measured is null."""
    rows = {entry.name: asdict(entry) for entry in entries}
    for row in rows.values():
        del row["name"]
        row |= {key: row[key] or None for key in ("parameters", "gflops", "speed", "scores")}
    return json.dumps(rows, indent=2, ensure_ascii=False)


def catalog_table(entries: tuple[Entry, ...], *, width: int | None = None) -> str:
    """Return the list as a table.

    Args:
        entries: from `catalog`.
        width: in characters; None for the terminal's, or enough where there is none.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("recipe", no_wrap=True)
    table.add_column("what it is", ratio=3)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column(f"GFLOPs at {COUNTED_SIDE_PX} px", justify="right")
    table.add_column("speed", ratio=1)
    table.add_column("scores", ratio=3)
    for entry in entries:
        speed, scores = entry.speed or "not measured", entry.scores or NOT_TRAINED
        parameters = f"{entry.parameters / 1e6:.2f} M" if entry.parameters else "not counted"
        gflops = f"{entry.gflops:.1f}" if entry.gflops else ""
        table.add_row(entry.name, entry.what, parameters, gflops, speed, scores)
    console = Console(width=width, color_system=None)
    if width is None and not console.is_terminal:
        console = Console(width=WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
