"""The result for people: tables and promises, as text."""

from collections.abc import Mapping
from typing import Any

from benchmarks.quality.scores import COLUMNS


def report(result: Mapping[str, Any]) -> str:
    """Return every table of every model, and what became of the promises."""
    lines = [f"Model {result['model']}, {result['median_ms']} ms a question, median."]
    for name, table in result["tables"].items():
        lines += ["", *_table(f"{name}, {table['pictures']} pictures", table["rows"])]
        if name in result.get("baseline", {}).get("tables", {}):
            baseline = result["baseline"]
            lines += ["", *_table(f"{name}, baseline {baseline['model']}", baseline["tables"][name]["rows"])]
    lines.append("")
    for promise in result["promises"]:
        value = "" if promise["value"] is None else f" ({promise['value']:g})"
        word = {True: "kept      ", False: "BROKEN    ", None: "not judged"}[promise["kept"]]
        lines.append(f"{word}  {promise['name']}{value}")
    return "\n".join(lines) + "\n"


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one table, with those columns that any of its rows has."""
    columns = {name: column for name, column in COLUMNS.items() if any(name in scores for scores in rows.values())}
    lines = [f"| {title} | " + " | ".join(heading for heading, _ in columns.values()) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for row, scores in rows.items():
        cells = [format(scores[name], form) if name in scores else "" for name, (_, form) in columns.items()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines
