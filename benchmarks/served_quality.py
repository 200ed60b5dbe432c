"""Pictures of the running service: how good they are, how noisy, and which promises they keep.

Each color photograph is squashed to 256 x 256, reduced to an 8-bit gray PNG of the same L, and posted to the service;
the answers are scored as `photochrom-train evaluate` scores a run, but that the gray has 8 bits, as a user's has.

    python benchmarks/served_quality.py --pictures TEST
    python benchmarks/served_quality.py --pictures TEST --mounts TEST --origin DATA --plates PLATES \
        --historical OLD --baseline BEFORE.onnx

Every set may be measured alone:

--pictures    color photographs; those named `kodak_*` also by themselves, in their own size.
--origin      a data folder (`labels.csv` and zip shards): its split `origin_val`, also by data set.
--plates      scenes of known color (`truth/`), and what an orthochromatic (`ortho/`) and a blue-sensitive plate
              (`blue/`) saw of them; the truth's own L is `pan`. The truth's L is put back: ab of the 8-bit answer is
              joined with it, shrunk where sRGB ends, and rounded to 8 bits again, so that color alone is scored.
              `boxes.csv` says where skin is.
--historical  photographs without a truth, in their own size: how colorful they become, how many are of one tint.
--mounts      photographs round which paper is drawn, 12 in all: how colorful the paper becomes.

With `--baseline`, a second service with that model is asked the same, and PSNR is compared at equal colorfulness: each
model's CFr and PSNR are interpolated linearly between five vividnesses, and compared at the CFr of our default.

Without `--url` it starts the service itself; without a set it takes the three test pictures, too few to judge. Tables
go to standard error. Exit status 1 if a promise is not kept, 2 if it cannot be measured.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.quality import measuring  # noqa: E402 - the project need not be installed
from benchmarks.quality.asking import Asked, service  # noqa: E402
from benchmarks.quality.bars import BARS, LEAST_PICTURES, Verdict, judge  # noqa: E402
from benchmarks.quality.measuring import QUERIES, Tables  # noqa: E402
from benchmarks.quality.report import report  # noqa: E402
from benchmarks.quality.scores import DEFAULT, GRAY  # noqa: E402
from benchmarks.quality.sets import origin_photographs  # noqa: E402
from training.judge.judging import SIDE_PX  # noqa: E402

SETS: Final = ("pictures", "origin", "plates", "historical", "mounts")


def measure(folders: Mapping[str, Path], models: Sequence[Asked], trained_on: str, every: int = 1) -> dict[str, Any]:
    """Ask the models about every set, and judge the answers of the first.

    Args:
        folders: by set.
        models: ours, and the baseline if there is one.
        trained_on: a key of `BARS`.
        every: take one photograph in so many of `origin`.

    Raises:
        OSError: no answer, or a file is missing.
        RuntimeError: a set without pictures or with broken ones, or an answer that is no picture of the same size.
    """
    ways: dict[str, Callable[[Path], list[Tables]]] = {
        "pictures": lambda folder: measuring.measure_pictures(folder, models),
        "origin": lambda folder: measuring.measure_photographs(
            "origin", origin_photographs(folder, every), models, (DEFAULT,)
        ),
        "plates": lambda folder: measuring.measure_plates(folder, models),
        "historical": lambda folder: measuring.measure_historical(folder, models),
        "mounts": lambda folder: measuring.measure_mounts(folder, models),
    }
    tables: list[Tables] = [{} for _ in models]
    seconds = {}
    for name, folder in folders.items():
        started = time.perf_counter()
        for all_tables, own in zip(tables, ways[name](folder), strict=True):
            all_tables |= own
        seconds[name] = round(time.perf_counter() - started, 1)
        sys.stderr.write(f"{name}: {seconds[name]} s\n")
    told = [{"model": asked.run, "tables": own} for asked, own in zip(models, tables, strict=True)]
    verdicts = [
        Verdict("the same answer each time", None, all(asked.is_steady for asked in models)),
        *judge(tables[0], BARS[trained_on]),
        *above_gray(tables[0]),
    ]
    return {
        **told[0],
        **({"baseline": told[1]} if len(told) > 1 else {}),
        "side_px": SIDE_PX,
        "rounds": models[0].rounds,
        "median_ms": round(1000 * statistics.median(models[0].times_s), 1),
        "seconds": seconds,
        "queries": QUERIES,
        "trained_on": trained_on,
        "promises": [{"name": verdict.name, "value": verdict.value, "kept": verdict.is_kept} for verdict in verdicts],
    }


def above_gray(tables: Tables) -> list[Verdict]:
    """Judge that every mode is better than doing nothing."""
    table = tables.get("pictures")
    if table is None or table["pictures"] < LEAST_PICTURES:
        return []
    at = {row: scores["psnr"] for row, scores in table["rows"].items()}
    return [Verdict(f"pictures, {row}: psnr above gray", at[row], at[row] > at[GRAY]) for row in QUERIES]


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a running service; left out, one is started")
    parser.add_argument("--model", type=Path, help="ONNX file of the service that is started; default the shipped one")
    parser.add_argument("--baseline", type=Path, help="ONNX file to compare with at equal colorfulness")
    parser.add_argument("--precision", default="float32", help="of the service that is started: PHOTOCHROM_PRECISION")
    for name, what in {
        "pictures": "folder of color photographs",
        "origin": "data folder, its split origin_val",
        "plates": "folder of scenes with what plates saw of them",
        "historical": "folder of old photographs",
        "mounts": "folder of color photographs to mount",
    }.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help=what)
    parser.add_argument("--every", type=int, default=1, help="take one photograph in so many of --origin")
    parser.add_argument("--trained-on", choices=tuple(BARS), default="cpu", help="whose bars the model is held to")
    parser.add_argument("--rounds", type=int, default=1, help="how often each picture is posted")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    folders = {name: getattr(options, name) for name in SETS if getattr(options, name) is not None}
    folders = folders or {"pictures": ROOT / "tests" / "data"}
    for folder in folders.values():
        if not folder.is_dir():
            parser.error(f"no such folder: {folder}")
    try:
        with ExitStack() as running:
            urls = [
                options.url.rstrip("/")
                if options.url
                else running.enter_context(service(options.model, options.precision))
            ]
            if options.baseline:
                urls.append(running.enter_context(service(options.baseline)))
            models = [Asked(url, options.rounds) for url in urls]
            result = measure(folders, models, options.trained_on, options.every)
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    sys.stderr.write(report(result))
    if options.output:
        options.output.write_text(text)
    return 1 if any(promise["kept"] is False for promise in result["promises"]) else 0


if __name__ == "__main__":
    sys.exit(main())
