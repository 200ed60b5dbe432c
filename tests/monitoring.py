"""Reads what docker/prometheus and docker/grafana ask of the service: rules, panels, and the series that they name."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "docker" / "prometheus"
GRAFANA = ROOT / "docker" / "grafana"
RULE_FILES = (PROMETHEUS / "limits.yml", PROMETHEUS / "alerts.yml")
RULE_TESTS = ROOT / "tests" / "prometheus" / "alerts.test.yml"

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[0-9][0-9.]*[a-z]*|[$A-Za-z_:][\w:]*|[=!<>]=|=~|!~|\S')
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "offset", "bool", "sum", "count", "max", "min", "avg", "quantile"}
_WINDOW = re.compile(r"\[(\d+)([smh])\]")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@cache
def load(path: Path) -> Any:
    """Return what a YAML file holds; not to be changed."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """Return every rule, in order."""
    return [rule for path in RULE_FILES for group in load(path)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def records() -> dict[str, set[str]]:
    """Return the labels of the series that recording rules make, by the name of the series."""
    found: dict[str, set[str]] = {}
    for rule in rules():
        if "record" in rule:
            grouped = re.search(r"by \(([^)]*)\)", rule["expr"])
            labels = {label.strip() for label in grouped.group(1).split(",")} if grouped else set()
            # `histogram_quantile` uses up the bounds of the buckets.
            labels -= {"le"} if "histogram_quantile" in rule["expr"] else set()
            found.setdefault(rule["record"], set()).update(labels, rule.get("labels", {}))
    return found


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    made: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "photochrom.json").read_text(encoding="utf-8"))
    return made


def queries() -> dict[str, str]:
    """Return every query of the dashboard by where it stands: title of the panel and letter of the query."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    }
    marks = dashboard()["annotations"]["list"]
    return found | {f"annotation {mark['name']}": mark["expr"] for mark in marks if "expr" in mark}


def substitute(query: str, variables: Mapping[str, str]) -> str:
    """Return a query of the dashboard as Grafana would send it."""
    for name, value in variables.items():
        query = query.replace(f"${name}", value)
    assert "$" not in query, f"there is no such variable: {query}"
    return query


@dataclass
class Named:
    """What a PromQL expression names.

    Attributes:
        series: name of a series and what its labels must match, as (label, operator, value); in order.
        labels: that series are grouped by or matched on.
    """

    series: list[tuple[str, list[tuple[str, str, str]]]] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)


def names_of(expression: str) -> Named:
    """Return what an expression names. Not a parser of PromQL, but enough for what is written here."""
    found = Named()
    tokens = _TOKEN.findall(re.sub(r"\[[^\]]*\]|#.*", "", expression))
    place = 0
    while place < len(tokens):
        token, after = tokens[place], tokens[place + 1] if place + 1 < len(tokens) else ""
        place += 1
        if not re.match(r"[A-Za-z_:]", token) or token in _WORDS:
            continue
        if token in _GROUPING:
            place, inside = _until(tokens, place + 1, ")")
            found.labels.update(word for word in inside if word != ",")
        elif after == "{":
            place, inside = _until(tokens, place + 1, "}")
            found.series.append((token, [(*inside[n : n + 2], inside[n + 2][1:-1]) for n in range(0, len(inside), 4)]))
        elif after != "(":
            found.series.append((token, []))
    return found


def _until(tokens: list[str], place: int, end: str) -> tuple[int, list[str]]:
    stop = tokens.index(end, place)
    return stop + 1, tokens[place:stop]


def windows(expression: str) -> Iterator[int]:
    """Yield how far back the ranges of an expression, and of the series it is made from, look; seconds."""
    for number, unit in _WINDOW.findall(expression):
        yield int(number) * _SECONDS[unit]
    by_record = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    for name, _ in names_of(expression).series:
        if name in by_record:
            yield from windows(by_record[name])


def seconds(duration: str) -> int:
    """Return a duration such as `5m` in seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]
