"""Pictures of the running service: how good they are, how noisy, and which promises they keep.

Each color photograph is squashed to 256 x 256, reduced to an 8-bit gray PNG of the same L, and posted to
`POST /colorize` with several queries; the answers are scored against the photograph as `photochrom-train evaluate`
scores a run. What differs: the gray has 8 bits, as a user's has, and `mode=regression` takes the gain of vividness 0.5.

    python benchmarks/served_quality.py --pictures TEST
    python benchmarks/served_quality.py --pictures TEST --url http://127.0.0.1:8000 --trained-on gpu

Without `--url` it starts the service itself, without `--pictures` it takes the three test pictures: too few to judge.
The table goes to standard error. Exit status 1 if a promise is not kept, 2 if it cannot be measured.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma.compose import compose_u8  # noqa: E402 - the project need not be installed
from chroma.lab import rgb_u8_to_lightness  # noqa: E402
from training import DataError  # noqa: E402
from training.data import is_gray  # noqa: E402
from training.judging import Tally, Truth, TruthSums  # noqa: E402
from training.photographs import SUFFIXES  # noqa: E402
from training.pictures import decode_photograph  # noqa: E402

SIDE_PX: Final = 256
"""As `training.protocols.SIDE_PX`, whose module needs the network's libraries."""
PATIENCE_S: Final = 60
LEAST_PICTURES: Final = 20
"""Means of fewer say nothing of a promise."""
GRAY: Final = "do nothing (gray)"
CALM: Final = "calm"
DEFAULT: Final = "default"
VIVID: Final = "vivid"
QUERIES: Final = {
    CALM: "vividness=0",
    DEFAULT: "vividness=0.5",
    VIVID: "vividness=1",
    "fused": "mode=fused",
    "regression": "mode=regression",
}
"""What is asked of the service, by row."""
BELOW_GRAY: Final = "below_gray"
"""Share of the photographs whose PSNR is below that of gray, percent."""
COLUMNS: Final = {
    "psnr": ("PSNR dB", ".2f"),
    "colorfulness_ratio": ("CFr", ".3f"),
    "false_red": ("FRF %", ".3f"),
    "dark_false_red": ("DFR %", ".3f"),
    "tvq": ("TVq", ".3f"),
    "speckle": ("SPK %", ".3f"),
    BELOW_GRAY: ("below gray %", ".1f"),
    "worst_false_red": ("worst FRF %", ".1f"),
    "worst_gain_db": ("worst dB", "+.1f"),
}
"""Heading and form of each score; docs/evaluation.md defines them."""


@dataclass(frozen=True)
class Bar:
    """A promise.

    Attributes:
        row: of which mode.
        score: what is measured.
        least: the score must reach it.
        most: the score must not pass it.
    """

    row: str
    score: str
    least: float = -float("inf")
    most: float = float("inf")

    @property
    def name(self) -> str:
        """Return the promise in words."""
        limits = [f">= {self.least:g}"] * (self.least > -float("inf")) + [f"<= {self.most:g}"] * (
            self.most < float("inf")
        )
        return f"{self.row}: {self.score} {' and '.join(limits)}"


BARS_CPU: Final = (
    Bar(CALM, "psnr", least=23.0),
    Bar(CALM, "false_red", most=0.2),
    Bar(CALM, BELOW_GRAY, most=20.0),
    Bar(DEFAULT, "colorfulness_ratio", least=0.68),
    Bar(DEFAULT, "psnr", least=22.2),
    Bar(DEFAULT, "false_red", most=0.25),
    Bar(DEFAULT, "dark_false_red", most=0.1),
    Bar(DEFAULT, "tvq", least=0.6, most=0.9),
    Bar(DEFAULT, "speckle", most=0.1),
    Bar(VIVID, "colorfulness_ratio", least=0.82),
    Bar(VIVID, "psnr", least=21.4),
    Bar(VIVID, "false_red", most=0.5),
)
"""What a model that was trained on a CPU promises on the 104 evaluation photographs; gray has 21.2 dB there."""
BARS_GPU: Final = (
    Bar(CALM, "psnr", least=23.3),
    Bar(CALM, BELOW_GRAY, most=20.0),
    Bar(DEFAULT, "colorfulness_ratio", least=0.75),
    Bar(DEFAULT, "psnr", least=22.4),
    Bar(DEFAULT, "false_red", most=0.3),
    Bar(VIVID, "colorfulness_ratio", least=0.87),
    Bar(VIVID, "psnr", least=21.5),
    Bar(VIVID, "false_red", most=0.5),
)
"""What one that was trained on a GPU promises there."""
BARS: Final = {"cpu": BARS_CPU, "gpu": BARS_GPU}


def squash(rgb_u8: np.ndarray) -> np.ndarray:
    """Resize RGB, uint8, (H, W, 3), to the square that is judged."""
    return cv2.resize(np.ascontiguousarray(rgb_u8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def to_gray(rgb_u8: np.ndarray) -> np.ndarray:
    """Return the gray picture of the same L, 8 bits: uint8, (H, W), from RGB, uint8, (H, W, 3)."""
    return compose_u8(rgb_u8_to_lightness(rgb_u8), np.zeros((1, 1, 2), np.float32))[..., 0]


def photographs(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and squashed RGB, uint8, of every color photograph of a folder, by name."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        try:
            rgb_u8 = decode_photograph(path.read_bytes())
        except (DataError, OSError) as error:
            sys.stderr.write(f"{path.name} is left out: {error}\n")
            continue
        if is_gray(rgb_u8):
            sys.stderr.write(f"{path.name} is left out: it has no color to score against\n")
        else:
            yield path.name, squash(rgb_u8)


@contextmanager
def service(model: Path | None) -> Iterator[str]:
    """Run the service on a free port, with a model or the shipped one; its address."""
    given = {"PHOTOCHROM_PORT": "0", "PHOTOCHROM_LOG_FORMAT": "text", "PHOTOCHROM_DEVICE": "cpu"}
    if model is not None:
        given["PHOTOCHROM_MODEL"] = str(model.resolve())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")} | given
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "service", "serve"]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(20 * PATIENCE_S):
        said = log.read_text(errors="replace")
        if found := re.search(r"http://127\.0\.0\.1:\d+", said):
            return found.group()
        if process.poll() is not None:
            raise RuntimeError(f"the service did not start: {said.strip()}")
        time.sleep(0.05)
    raise RuntimeError(f"the service did not start in {PATIENCE_S} s")


def colorize(url: str, query: str, png: bytes) -> tuple[bytes, str]:
    """Post a picture; return the answer's bytes and the run that its model comes from."""
    request = urllib.request.Request(f"{url}/colorize?{query}", data=png, headers={"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.read(), answer.headers.get("X-Photochrom-Model", "")


class Scores:
    """Sums over photographs, row by row."""

    def __init__(self) -> None:
        """Begin with none."""
        self.names: list[str] = []
        self.tallies = {name: Tally(full=False) for name in (GRAY, *QUERIES)}
        self._truths = TruthSums()
        self._alike = np.ones(1 << 16)  # no rebalancing: that score is for training

    def add(self, name: str, rgb_u8: np.ndarray, answers: dict[str, np.ndarray]) -> None:
        """Score a photograph's answers, sRGB, uint8, (H, W, 3), by row."""
        truth = Truth.of(rgb_u8, self._alike)
        for row, answer in answers.items():
            self.tallies[row].add(answer, truth)
        self._truths.add(truth)
        self.names.append(name)

    def gains(self, row: str) -> np.ndarray:
        """Return the PSNR of each photograph over that of gray, dB."""
        ours, gray = ([score["psnr"] for score in self.tallies[name].scores] for name in (row, GRAY))
        return np.subtract(ours, gray)

    def rows(self) -> dict[str, dict[str, float | str]]:
        """Return the table: means by row, and which photograph is the worst."""
        table: dict[str, dict[str, float | str]] = {}
        for row, tally in self.tallies.items():
            result, gains = tally.result(self._truths), self.gains(row)
            extra = {
                BELOW_GRAY: round(100 * float(np.mean(gains < 0)), 2),
                "worst_gain_db": round(float(gains.min()), 2),
            }
            kept = {name: value for name, value in (result | extra).items() if name in COLUMNS}
            table[row] = {**kept, "worst": self.names[int(gains.argmin())]}
        return table


def judge(rows: dict[str, dict[str, Any]], trained_on: str) -> dict[str, bool]:
    """Return which promises are kept; every mode has to be above gray as well."""
    kept = {bar.name: bar.least <= rows[bar.row][bar.score] <= bar.most for bar in BARS[trained_on]}
    for row in QUERIES:
        kept[f"{row}: psnr above gray"] = rows[row]["psnr"] > rows[GRAY]["psnr"]
    return kept


def measure(url: str, folder: Path, rounds: int, trained_on: str) -> dict[str, Any]:
    """Post every photograph with every query, and score the answers.

    Raises:
        RuntimeError: no photographs, or an answer that is no picture of the same size.
    """
    scores, run, times_s, same = Scores(), "", [], True
    for name, rgb_u8 in photographs(folder):
        gray = to_gray(rgb_u8)
        png, answers = cv2.imencode(".png", gray)[1].tobytes(), {GRAY: np.repeat(gray[..., None], 3, axis=2)}
        for row, query in QUERIES.items():
            heard = set()
            for _ in range(rounds):
                started = time.perf_counter()
                data, run = colorize(url, query, png)
                times_s.append(time.perf_counter() - started)
                heard.add(data)
            same &= len(heard) == 1
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if bgr is None or bgr.shape != rgb_u8.shape:
                raise RuntimeError(f"{name}: the answer to {query} is no picture of {SIDE_PX} x {SIDE_PX} px")
            answers[row] = np.ascontiguousarray(bgr[..., ::-1])
        scores.add(name, rgb_u8, answers)
    if not scores.names:
        raise RuntimeError(f"no color photographs in {folder}")
    rows = scores.rows()
    is_judged = len(scores.names) >= LEAST_PICTURES
    return {
        "model": run,
        "pictures": len(scores.names),
        "side_px": SIDE_PX,
        "rounds": rounds,
        "median_ms": round(1000 * statistics.median(times_s), 1),
        "queries": QUERIES,
        "rows": rows,
        "trained_on": trained_on,
        "judged": is_judged,
        "kept": {"the same answer each time": same} | (judge(rows, trained_on) if is_judged else {}),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result for people: the scores and what was promised."""
    lines = [
        f"{result['pictures']} photographs of {SIDE_PX} x {SIDE_PX} px, model {result['model']}, "
        f"{result['median_ms']} ms each",
        "",
        "| | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " | worst |",
        "| --- |" + " ---: |" * len(COLUMNS) + " --- |",
    ]
    for row, scores in result["rows"].items():
        cells = [format(scores[name], form) for name, (_, form) in COLUMNS.items()]
        lines.append(f"| {row} | {' | '.join(cells)} | {scores['worst']} |")
    lines.append("")
    if not result["judged"]:
        lines.append(f"The bars are for {LEAST_PICTURES} photographs or more: not judged.")
    lines += [f"{'kept  ' if is_kept else 'BROKEN'}  {name}" for name, is_kept in result["kept"].items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a running service; left out, one is started")
    parser.add_argument("--model", type=Path, help="ONNX file of the service that is started; default the shipped one")
    parser.add_argument("--pictures", type=Path, default=ROOT / "tests" / "data", help="folder of color photographs")
    parser.add_argument("--trained-on", choices=tuple(BARS), default="cpu", help="whose bars the model is held to")
    parser.add_argument("--rounds", type=int, default=1, help="how often each picture is posted")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    if not options.pictures.is_dir():
        parser.error(f"no such folder: {options.pictures}")
    try:
        if options.url:
            result = measure(options.url.rstrip("/"), options.pictures, options.rounds, options.trained_on)
        else:
            with service(options.model) as url:
                result = measure(url, options.pictures, options.rounds, options.trained_on)
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    sys.stderr.write(table(result))
    if options.output:
        options.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
