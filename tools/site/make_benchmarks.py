"""Makes docs/benchmarks.md and its plots from what `make bench` measured: benchmarks/results/*.json.

    make bench                          # or: make bench BENCH="growth startup"
    python tools/site/make_benchmarks.py      # writes docs/benchmarks.md and docs/images/benchmarks/*.svg anew

Every number on the page comes out of one of these files, or is computed from some of them here; what was not measured
is not on the page. Needs Matplotlib: the environment of `make test`, or of training.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

ROOT = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "benchmarks" / "results"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
IMAGES: Final = ROOT / "docs" / "images" / "benchmarks"

INK: Final = "#7d7a75"
"""Color of the lettering: readable on a white page and on a dark one, since the plots have no ground of their own."""
OURS: Final = "#d2603a"
OTHERS: Final = ("#4f8fc0", "#8d9a3e", "#a878b8", "#3fa08c", "#b58a3c")
STYLE: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "photochrom",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
AUTOMATIC: Final = "automatic precision"
"""As `benchmarks/whole_requests.py` calls the service as it comes."""

Record = Mapping[str, Any]
Lines = Iterator[str]


class Results:
    """What was measured, by program."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.records = records
        self.plots: dict[str, Figure] = {}

    def get(self, name: str) -> Mapping[str, Any] | None:
        """Return what a program found; None where it has not run, failed, or could measure nothing."""
        found = self.records.get(name, {}).get("result")
        return None if found is None or isinstance(found.get("skipped"), str) else found

    def plot(self, name: str, figure: Figure, alt: str) -> str:
        """Keep a plot; return the Markdown that shows it."""
        self.plots[name] = figure
        return f"![{alt}](images/benchmarks/{name}.svg)"


def read_results(folder: Path) -> Results:
    """Read all that was measured.

    Args:
        folder: of the JSON files.

    Returns:
        The results, by program.
    """
    return Results({path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))})


def number(value: float) -> str:
    """Return a number with three significant digits, and no more behind the point than make sense."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def ranged(found: Mapping[str, Any], scale: float = 1.0) -> str:
    """Return a median and, behind it, the extremes."""
    low, high = found["spread"]
    return f"{number(found['median'] * scale)} ({number(low * scale)} to {number(high * scale)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Lines:
    """Yield the lines of a table; all columns but the first are numbers."""
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def new_plot(*, width: float = 6.4, height: float = 3.4) -> tuple[Figure, Axes]:
    """Return an empty plot, inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.grid(visible=True, which="major", color=INK, alpha=0.2, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def plain_ticks(axes: Axes, ticks: Sequence[float] | None = None) -> None:
    """Write the numbers of logarithmic axes out; name the places on the horizontal one."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    if ticks is not None:
        axes.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])


def bars(names: Sequence[str], values: Sequence[float], label: str, *, ours: Callable[[str], bool]) -> Figure:
    """Draw one bar a name, the first on top, each with its number."""
    figure, axes = new_plot(height=0.5 + 0.42 * len(names))
    colors = [OURS if ours(name) else OTHERS[0] for name in names]
    places = range(len(names))
    axes.barh(places, values, color=colors, height=0.62)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.15 * max(values))
    axes.set_xlabel(label)
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {number(value)}", va="center", color=INK)
    return figure


# ------------------------------------------------------------------------------------------------------------- sections


def overview(results: Results) -> Lines:
    """What was run, where, and what came of it."""
    machines: dict[str, list[str]] = {}
    for name, record in results.records.items():
        machines.setdefault(_machine_line(record), []).append(name)
    for line, names in machines.items():
        yield f"- {line}" + (f": {', '.join(f'`{name}`' for name in names)}" if len(machines) > 1 else "")
    yield ""
    verdicts = {name: _verdict(results, name) for name in results.records}
    commits = {record["versions"].get("commit") for record in results.records.values()} - {None}
    begun = sorted(record["begun"][:16].replace("T", " ") for record in results.records.values())
    loads = [record["load_before"] for record in results.records.values()]
    yield (
        f"Begun {begun[0]} to {begun[-1]} UTC, load before {min(loads):.1f} to {max(loads):.1f}"
        + (f", commit {', '.join(f'`{commit}`' for commit in sorted(commits))}" if commits else "")
        + "."
        + "".join(
            f" Promises {verdict}: {', '.join(f'`{name}`' for name in verdicts if verdicts[name] == verdict)}."
            for verdict in ("kept", "not judged")
            if verdict in verdicts.values()
        )
    )
    yield ""
    rows = [(f"`{name}`", verdict) for name, verdict in verdicts.items() if verdict not in ("kept", "not judged")]
    if rows:
        yield from table(("program", "promise"), rows)


def _verdict(results: Results, name: str) -> str:
    """Return what became of a program's promise."""
    record = results.records[name]
    if results.get(name) is None:
        reason = (record["result"] or {}).get("skipped")
        return f"skipped: {reason}" if reason else "**failed**"
    return {True: "kept", False: "**not kept**", None: "not judged"}[record["kept"]]


def _machine_line(record: Record) -> str:
    machine, versions = record["machine"], record["versions"]
    named = {
        "NumPy": "numpy",
        "OpenCV": "opencv-python-headless",
        "ONNX Runtime": "onnxruntime",
        "TensorFlow": "tensorflow-cpu",
        "isal": "isal",
    }
    with_versions = [f"Python {versions['python']}"]
    with_versions += [f"{title} {versions[name]}" for title, name in named.items() if name in versions]
    gpu = f", {', '.join(machine['gpu'])}" if "gpu" in machine else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['instruction_sets']) or 'no vector units'}), "
        f"{machine['memory_gb']:g} GB{gpu}, {machine['system']}; {', '.join(with_versions)}"
    )


def fast_path(results: Results) -> Lines:
    """A 12-megapixel JPEG to a PNG, against OpenCV."""
    found = results.get("fast_path")
    if found is None:
        return
    yield from (f"## A {found['megapixels']:g}-megapixel JPEG to a full-size PNG", "")
    yield ("Against the straightforward OpenCV program with the same network (`imdecode`, float Lab, `imencode`).")
    yield ""
    rows, stages = [], {}
    for cores, kinds in found["by_cores"].items():
        for kind, row in kinds.items():
            low, high = row["ratio_spread"]
            name = f"{kind}, {cores} core{'s' if cores != '1' else ''}"
            rows.append(
                (
                    name,
                    number(row["ours_ms"]),
                    number(row["straightforward_ms"]),
                    f"**{row['ratio']:.2f}** ({low:.2f} to {high:.2f})",
                )
            )
            stages[name] = row["stages_ms"]
    yield from table(("", "ours, ms", "OpenCV, ms", "ratio"), rows)
    figure, axes = new_plot(height=0.9 + 0.42 * len(stages))
    names = list(stages)
    left = [0.0] * len(names)
    for stage, shade in zip(stages[names[0]], (OURS, *OTHERS), strict=False):
        values = [stages[name][stage] for name in names]
        axes.barh(names, values, left=left, color=shade, height=0.62, label=stage)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("milliseconds, ours")
    figure.legend(loc="outside upper center", ncols=5)
    yield from (results.plot("stages", figure, "Where the time of a picture goes"), "")


def growth(results: Results) -> Lines:
    """Time and memory by size."""
    found = results.get("growth")
    if found is None:
        return
    sizes = found["sizes"]
    yield from ("## From 0.25 to 50 megapixels", "")
    yield (
        f"A color JPEG to a full-size PNG, against the same OpenCV program; {found['threads']} threads, "
        f"{found['rounds']} rounds. Memory is the most above what the process holds idle ({ranged(found['idle_mb'])} "
        "MB)."
    )
    yield ""
    rows = [
        (
            f"{row['megapixels']:g}",
            ranged(row["ours"]["ms"]),
            number(row["straightforward"]["ms"]["median"]),
            ranged(row["ratio"]),
            number(row["ours"]["peak_mb"]),
            number(row["straightforward"]["peak_mb"]),
        )
        for row in sizes
    ]
    head = ("megapixels", "ours, ms", "OpenCV, ms", "ratio", "ours, MB at most", "OpenCV, MB at most")
    yield from table(head, rows)
    megapixels = [row["megapixels"] for row in sizes]
    contenders = (("ours", OURS, "ours"), ("straightforward", OTHERS[0], "OpenCV program"))
    for name, label, pick in (
        ("growth-time", "milliseconds", lambda row, who: row[who]["ms"]["median"]),
        ("growth-memory", "MB above idle, at most", lambda row, who: row[who]["peak_mb"]),
    ):
        figure, axes = new_plot()
        for who, shade, title in contenders:
            axes.plot(megapixels, [pick(row, who) for row in sizes], marker="o", color=shade, label=title)
        axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel=label)
        plain_ticks(axes, megapixels)
        axes.legend()
        yield from (results.plot(name, figure, f"{label}, by megapixels"), "")
    if found["exponents"]:
        exponents = found["exponents"]
        yield (
            "Between 4 megapixels and the largest the time grows with an exponent of "
            f"**{ranged(exponents['ours'])}**, the OpenCV program's with {ranged(exponents['straightforward'])}; 1 is "
            "linear, and the network does not grow at all. `benchmarks/results/growth.json` has each part."
        )
        yield ""
    yield from _codecs(results, sizes)


def _codecs(results: Results, sizes: Sequence[Mapping[str, Any]]) -> Lines:
    """PNG encoders, at every size."""
    names = list(dict.fromkeys(name for row in sizes for name in row["parts"] if name.startswith("PNG")))
    figure, axes = new_plot()
    for name, shade in zip(names, (OURS, "#e6a58d", *OTHERS), strict=False):
        here = [row for row in sizes if name in row["parts"]]
        speeds = [row["megapixels"] / row["parts"][name]["ms"]["median"] * 1000 for row in here]
        axes.plot(
            [row["megapixels"] for row in here], speeds, marker="o", color=shade, label=name.removeprefix("PNG, ")
        )
    axes.set(xscale="log", xlabel="megapixels", ylabel="megapixels a second")
    axes.set_ylim(bottom=0)
    plain_ticks(axes, [row["megapixels"] for row in sizes])
    axes.legend(ncols=2)
    yield from (results.plot("png", figure, "Speed of PNG encoders"), "")


def networks(results: Results) -> Lines:
    """Our network beside those that a user would pick."""
    found = results.get("networks")
    if found is None:
        return
    yield from ("## The network, beside those one would pick instead", "")
    yield (
        f"All in the same ONNX Runtime, {found['threads']} threads, one picture at a time, in turns, {found['rounds']} "
        f"rounds; the others see {found['size_px']} px. They are built layer by layer from their authors' source with "
        "**random weights**, on which cost does not depend. Memory is a process's most above ONNX Runtime alone."
    )
    yield ""
    for device, rows in found["devices"].items():
        cells = []
        for name, row in rows.items():
            network, low_high = found["networks"][name], row["ms_spread"]
            cells.append(
                (
                    network.get("title", name),
                    f"{network['parameters'] / 1e6:.1f}",
                    number(network["gflops"]),
                    f"{number(row['ms'])} ({number(low_high[0])} to {number(low_high[1])})",
                    number(row["times_ours"]["ratio"]),
                    number(network["memory"]["peak_mb"]),
                )
            )
        title = "ms" if device == "cpu" else f"ms, {device}"
        head = ("network", "million weights", "GFLOP", title, f"times ours at {found['size_px']} px", "MB")
        yield from table(head, cells)
        names = [f"{found['networks'][name].get('title', name)}" for name in rows]
        figure = bars(
            names,
            [row["ms"] for row in rows.values()],
            f"milliseconds a picture, {device}",
            ours=lambda name: name.startswith("photochrom"),
        )
        yield from (results.plot(f"networks-{device}", figure, f"Milliseconds of each network, {device}"), "")


def peers(results: Results) -> Lines:
    """The service beside others that host the same model."""
    found = results.get("peers")
    if found is None or not found["contenders"]:
        return
    contenders = found["contenders"]
    against = found["ours_as_a_multiple_of"]
    loads = [key for key in next(iter(contenders.values())) if key.startswith("clients_")]
    counts = [int(key.removeprefix("clients_")) for key in loads]
    columns = [*loads, *(["mixed"] if "mixed" in next(iter(contenders.values())) else [])]
    yield from ("## The service, beside others that host the same model", "")
    yield (
        f"The same ONNX file, the same {found['machine']['cores']} cores, photographs of {found['megapixels']:g} "
        f"megapixel; one server at a time, in turns, {found['rounds']} rounds; closed loop. Pictures a second; 99th "
        "percentile of the time to an answer; ours as a multiple of that throughput."
    )
    yield ""
    rows = [
        (
            name,
            *(
                f"{number(row[key]['throughput_per_s'])}; {number((row[key]['p99_ms'] or 0) / 1000)} s"
                + _multiple(against.get(name, {}).get(key))
                if row[key]["answers"]
                else "none"
                for key in columns
            ),
            number(row["peak_rss_mb"]),
        )
        for name, row in contenders.items()
    ]
    titles = [f"{count} clients" if count > 1 else "1 client" for count in counts]
    yield from table(
        ("", *titles, *(["8 clients, 0.25 to 4 megapixels"] if columns != loads else []), "MB, largest"), rows
    )
    installed = [each["mixed_as_installed"] for each in against.values() if each.get("mixed_as_installed")]
    if installed:
        least = min(installed, key=lambda found: float(found["throughput_ratio"]))
        yield from (
            f"With mixed sizes the service as installed does as much as the best of them times{_multiple(least)[1:]}.",
            "",
        )
    for name, reason in found["skipped"].items():
        yield from (f"{name} took no part: {reason}.", "")
    for plot, label, key, scale in (
        ("peers-throughput", "pictures a second", "throughput_per_s", 1.0),
        ("peers-p99", "99th percentile, seconds", "p99_ms", 1e-3),
    ):
        figure, axes = new_plot()
        rest = iter(OTHERS)
        for name, row in contenders.items():
            shade = OURS if name == "photochrom" else next(rest)
            values = [scale * (row[one][key] or float("nan")) for one in loads]
            axes.plot(counts, values, marker="o", color=shade, label=name)
        axes.set(xscale="log", yscale="log" if key == "p99_ms" else "linear", xlabel="clients", ylabel=label)
        if key != "p99_ms":
            axes.set_ylim(bottom=0)
        plain_ticks(axes, counts)
        axes.legend()
        yield from (results.plot(plot, figure, f"{label}, by clients"), "")


def _multiple(found: Mapping[str, Any] | None) -> str:
    """Return our throughput as a multiple of another's, with the extremes; empty where there is none."""
    if not found:
        return ""
    low, high = found["throughput_ratio_spread"]
    return f"; {number(found['throughput_ratio'])} ({number(low)} to {number(high)})"


def training(results: Results) -> Lines:
    """Steps and input of training, and the targets."""
    step, pipeline = results.get("training_step"), results.get("input_pipeline")
    if step is None and pipeline is None:
        return
    yield from ("## Training", "")
    if step is not None:
        measured, targets = step["step"], step["targets"]
        sides = ", ".join(str(side) for side in sorted(set(step["input_px"])))
        yield (
            f"Steps of the recipe `{step['recipe']}` on this CPU, {step['batch_size']} synthetic photographs each, "
            f"{sides} px, {step['workers']} worker processes, {measured['steps']} steps: "
            f"**{ranged(measured['images_per_s'])} images/s**, of which the model waits "
            f"**{100 * measured['waiting_share_of_all']:.2f} %** of the time."
        )
        yield ""
        ms, size = targets["ms"], targets["bytes_a_picture"]
        side = targets["grid_px"]
        yield (
            f"The color targets of one picture, {side[0]} x {side[1]}: dense as the original makes them with "
            f"scikit-learn, {ranged(ms['dense'])} ms and {number(size['dense'] / 1e3)} kB; sparse as ours, "
            f"{ranged(ms['sparse'])} ms, **{ranged(targets['times_faster'])} times** faster and "
            f"**{number(targets['times_smaller'])} times** smaller."
        )
        yield ""
    if pipeline is not None:
        rows = [(name, number(value)) for name, value in pipeline["images_per_s"].items()]
        small, large = pipeline["photographs"]
        yield (
            f"The input alone, JPEG to augmented samples of 128 px: two workers do "
            f"**{number(pipeline['ratio_two_workers_to_one'])} times** as much as one (the machine allows "
            f"{number(pipeline['ratio_the_machine_allows'])}), and a set of {large:,} photographs costs "
            f"{number(pipeline['ratio_small_set_to_large'])} times as much as one of {small:,}."
        )
        yield ""
        yield from table(("", "images a second"), rows)


def whole_requests(results: Results) -> Lines:
    """Requests over HTTP, in the precision that is taken up by itself."""
    found = results.get("whole_requests")
    if found is None:
        return
    yield from ("## Whole requests over HTTP", "")
    yield (
        f"Color JPEGs of several proportions to PNGs, {found['rounds']} rounds; automatic precision took "
        f"{found.get('precision', 'float32')}. Ratios are that one's."
    )
    yield ""
    if requests := found.get("requests"):
        names = [name for name in next(iter(requests["ms"].values())) if name not in (AUTOMATIC, "float32")]
        rows = [
            (
                f"{size} MP, ms",
                number(by[AUTOMATIC]["median"]),
                *(f"{number(by[name]['median'])}; **{ranged(requests['ratio'][size][name])}**" for name in names),
            )
            for size, by in requests["ms"].items()
        ]
        rates, ratios = requests["requests_per_s"], requests["throughput_ratio"]
        rows.append(
            (
                "several callers, pictures a second",
                number(rates[AUTOMATIC]["median"]),
                *(
                    f"{number(rates[name]['median'])}; **{ranged(ratios[name])}**" if name in rates else ""
                    for name in names
                ),
            )
        )
        yield from table(("", AUTOMATIC, *names), rows)
    if large := found.get("large"):
        rows = [
            (f"{title}, {name}", *(number(by[name][field]["median"]) for field in ("first_s", "whole_s", "peak_mb")))
            for title, by in large["pictures"].items()
            for name in by
            if name != "float32"
        ]
        yield ""
        yield from table(("", "first byte, s", "all, s", "MB above idle"), rows)
    if ready := found.get("ready"):
        yield ""
        rows = ((name, row) for name, row in ready["seconds"].items() if name != "float32")
        yield f"Seconds to ready: {'; '.join(f'{name} {ranged(row)}' for name, row in rows)}."
    yield ""


def precision(results: Results) -> Lines:
    """The network in fewer bits."""
    found = results.get("precision")
    if found is None:
        return
    yield from ("## The network in fewer bits", "")
    rows = []
    for name, runtime in found["runtimes"].items():
        low, ratio, high = found["times"]["mixed proportions"][name]["processor_ratio_quartiles"]
        far = found["compared"][name]
        rows.append(
            (
                f"{name}, {runtime}",
                f"{number(ratio)} ({number(low)} to {number(high)})",
                number(far["delta_e_mean"]),
                f"{far['psnr_db']:.2f}",
            )
        )
    yield from table(("", "processor time of float32 (quartiles)", "mean dE2000 to float32", "PSNR, dB"), rows)
    yield ""


def startup(results: Results) -> Lines:
    """Start and size of the service."""
    found = results.get("startup")
    if found is None:
        return
    yield from ("## Start and size", "")
    times = "; ".join(
        f"{name if name in ('Python alone', 'ready', 'first picture') else f'`{name}`'} {_ms(row)}"
        for name, row in found["times"].items()
    )
    yield f"Milliseconds, each a fresh process, files in the system's cache, {found['rounds']} rounds: {times}."
    yield ""
    installed = found["installed"]
    largest = installed["largest_mb"]
    yield (
        f"The service's environment, {installed['packages']} locked packages and the project with its model: "
        f"**{number(installed['mb'])} MB** on disk."
    )
    yield ""
    figure = bars(list(largest), list(largest.values()), "MB on disk", ours=lambda name: name.startswith("photochrom"))
    yield from (results.plot("installed", figure, "What the service's environment takes on disk"), "")


def _ms(row: Mapping[str, Any]) -> str:
    low, high = row["spread_ms"]
    return f"{row['median_ms']:,} ({low:,} to {high:,})"


SECTIONS: Final = (whole_requests, fast_path, growth, precision, peers, networks, training, startup)


def render(results: Results) -> str:
    """Return the page; its plots are kept in `results`."""
    lines = [
        "# Benchmarks",
        "",
        "What a photograph costs, beside what else one could use. `make bench` runs [these "
        "programs](../benchmarks/README.md) and keeps what each measured in `benchmarks/results/`, from which `python "
        "tools/site/make_benchmarks.py` makes this page. Contenders take turns in one run, so that a ratio, the median "
        "of the rounds' ratios, holds where milliseconds do not; in brackets are the rounds' extremes. What is not "
        "here was not measured.",
        "",
    ]
    if results.records:
        lines += overview(results)
    else:
        lines += ["Nothing has been measured yet.", ""]
    for section in SECTIONS:
        lines += section(results)
    return "\n".join(lines).rstrip("\n") + "\n"


def to_svg(figure: Figure) -> str:
    """Return a plot as SVG; the same figures give the same file."""
    out = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def make(folder: Path) -> tuple[str, dict[str, str]]:
    """Make everything.

    Args:
        folder: of the JSON files.

    Returns:
        The page, and its plots as SVG, by name.
    """
    with mpl.rc_context(STYLE):
        results = read_results(folder)
        page = render(results)
        return page, {name: to_svg(figure) for name, figure in results.plots.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--images", type=Path, default=IMAGES)
    options = parser.parse_args(arguments)
    page, plots = make(options.results)
    options.page.write_text(page, encoding="utf-8")
    options.images.mkdir(parents=True, exist_ok=True)
    for old in options.images.glob("*.svg"):
        old.unlink()
    for name, svg in plots.items():
        (options.images / f"{name}.svg").write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
