"""Writes docs/capacity.md from what benchmarks/capacity.py measured.

    make bench BENCH=capacity
    python tools/site/make_capacity.py

The measurements are the file's; the sizing is computed here, from them and from the constants below. Imports nothing of
the project.
"""

import argparse
import json
import math
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
MEASURED: Final = ROOT / "benchmarks" / "results" / "capacity.json"
PAGE: Final = ROOT / "docs" / "capacity.md"

PICTURES_A_DAY: Final = 1_000_000
PEAK: Final = 3.0
"""How much busier the busiest hour is than the day's mean; an assumption."""
BUSY: Final = 0.7
"""How busy the processors are at the peak; docker/kubernetes/base/autoscaler.yaml aims at the same."""
REPLICA_CORES: Final = 2
"""Of the manifests and of the compose file."""
GROWTH_FORMAT: Final = "png"
"""Of the answers where callers, cores and processes grow; benchmarks/capacity.py."""
DAY_S: Final = 86_400

Row = dict[str, Any]


def reached(measured: Row) -> float:
    """Return which share a replica does of what its cores would do one by one, at most 1.

    One process on the cores of a replica, with as many callers as served best, beside a picture's processor time on one
    core. The rest is time in which a core had nothing to do, and what sharing costs.
    """
    rows = [row for row in measured["growth"] if (row["processes"], row["cores_each"]) == (1, REPLICA_CORES)]
    best = max(row["pictures_per_s"] for row in rows)
    size = measured["growth_megapixels"]
    alone = next(
        row["cpu_s"] for row in measured["cost"] if (row["megapixels"], row["format"]) == (size, GROWTH_FORMAT)
    )
    return min(1.0, float(best * alone / REPLICA_CORES))


def cores_needed(cpu_s: float, share: float, pictures_a_day: float = PICTURES_A_DAY) -> float:
    """Return how many cores a load takes at its peak.

    Args:
        cpu_s: processor time of a picture, seconds.
        share: of their time that the cores of a replica turn into pictures, see `reached`.
        pictures_a_day: the load.

    Returns:
        Cores, not rounded.
    """
    return pictures_a_day / DAY_S * PEAK * cpu_s / (BUSY * share)


def replicas_needed(cores: float) -> int:
    """Return how many replicas give so many cores, and with one of them lost still bear the peak, all of them busy."""
    return max(math.ceil(cores / REPLICA_CORES), math.ceil(cores * BUSY / REPLICA_CORES) + 1)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the numbers are to the right."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---:|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def cost_table(measured: Row) -> str:
    """Return what a picture costs, by size, PNG and JPEG side by side."""
    formats = list(dict.fromkeys(row["format"] for row in measured["cost"]))
    units = ("seconds", "processor seconds", "most memory, MB")
    header = [f"{name.upper()}: {units[0]}" if unit == units[0] else unit for name in formats for unit in units]
    rows: dict[float, list[str]] = {}
    for row in measured["cost"]:
        memory = "?" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:.0f}"
        cells = (f"{row['wall_s']:.3f}", f"{row['cpu_s']:.3f}", memory)
        rows.setdefault(row["megapixels"], []).extend(cells)
    return table(["megapixels", *header], ([f"{size:g}", *cells] for size, cells in rows.items()))


def growth_table(measured: Row) -> str:
    """Return how much is done for how many callers, by how many processes with how many cores each."""
    layouts, rows = dict[str, None](), dict[int, list[str]]()
    for row in measured["growth"]:
        layouts[f"{row['processes']} x {row['cores_each']}"] = None
        cell = f"{row['pictures_per_s']:.1f} ({row['wall_s']:.3f}, {row['p95_s']:.3f})"
        rows.setdefault(row["callers"], []).append(cell)
    return table(["callers", *layouts], ([str(callers), *cells] for callers, cells in rows.items()))


def sizing_table(measured: Row) -> str:
    """Return what a million pictures a day take, by size and format."""
    rows = []
    for row in measured["cost"]:
        cores = cores_needed(row["cpu_s"], reached(measured))
        rows.append(
            (
                f"{row['megapixels']:g}",
                row["format"].upper(),
                f"{cores:.1f}",
                str(replicas_needed(cores)),
                f"{PICTURES_A_DAY * row['cpu_s'] / 3600:.0f}",
            )
        )
    header = ("megapixels", "answer", "cores", f"replicas of {REPLICA_CORES} cores", "core hours of work a day")
    return table(header, rows)


def wrapped(text: str) -> str:
    """Return Markdown with its paragraphs broken into lines."""
    blocks = text.split("\n\n")
    kept = ("|", "#", "```", "<!--")
    return "\n\n".join(
        block if block.startswith(kept) else textwrap.fill(block, 120, break_long_words=False, break_on_hyphens=False)
        for block in blocks
    )


def render(record: Row) -> str:
    """Return the page that a file of `benchmarks/results` gives."""
    machine, versions, measured = record["machine"], record["versions"], record["result"]
    mean = PICTURES_A_DAY / DAY_S
    largest = max(row["caller_cores_used"] for row in measured["growth"])
    size = measured["growth_megapixels"]
    ratio = measured["ratio_two_processes"]
    others = max(row["other_cores_used"] or 0 for row in (*measured["cost"], *measured["growth"]))
    replicas = "" if ratio is None else f"Two processes, a core each, do **{ratio:.2f} times** as much as one. "
    page = f"""<!-- Made by tools/site/make_capacity.py of benchmarks/results/capacity.json: change those, not this -->

# Capacity

Measured on {record["begun"][:10]} by `{record["program"]}` of the [benchmarks](../benchmarks/README.md):
{machine["cores"]} virtual cores, {machine["cpu"]}, {machine["memory_gb"]:.0f} GB; model {measured["model"]}, ONNX
Runtime {versions["onnxruntime"]}, Python {versions["python"]}, OpenCV {versions["opencv-python-headless"]}, NumPy
{versions["numpy"]}. Other programs took at most {others:.2f} of a core. Sent: {measured["sent"]}, with as much detail
a pixel at every size. No GPU was measured.

## A picture

One process on one core, one caller. Idle, it has {measured["idle_memory_mb"]:.0f} MB, which the memory includes.

{cost_table(measured)}

## More callers, more cores, more replicas

Pictures of {size:g} megapixel a second (seconds: median, 95 % within), answered as {GROWTH_FORMAT.upper()}, by
processes x cores of each. Two processes stand for two replicas.

{growth_table(measured)}

{replicas}The program that asks took up to {largest:.2f} of their cores. More processes were not measured.

## A million pictures a day

Computed from the above; nobody has run it at that size. {PICTURES_A_DAY:,} a day are {mean:.1f} a second. Assumed: the
busiest hour has {PEAK:g} times the mean ({PEAK * mean:.0f} a second), the processors are {BUSY:.0%} busy then, and when
one replica is lost the others still bear it.

{sizing_table(measured)}

```text
cores = pictures a day / {DAY_S} * peak {PEAK:g} * processor seconds / (busy {BUSY:g} * reached {reached(measured):.2f})
```

*Reached* is what one process with {REPLICA_CORES} cores does, at best, of what they would do one by one: measured with
{size:g} megapixel, taken to hold for every size. Memory: [rule](operating.md#sizing). On an idle machine of
your own, in three minutes:

```sh
make bench BENCH=capacity
python tools/site/make_capacity.py
```
"""
    return wrapped(page.rstrip("\n")) + "\n"


def main() -> int:
    """Write the page; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--measured", type=Path, default=MEASURED, help="what `make bench` kept")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    options = parser.parse_args()
    try:
        record = json.loads(options.measured.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot read {options.measured}: {error}. First: make bench BENCH=capacity\n")
        return 1
    options.out.write_text(render(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
