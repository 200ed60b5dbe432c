"""One network in float32, float16 and int8: how large, how fast, and how far apart its pictures are.

Takes a float32 model and rounds it here, or takes files that `photochrom-export --precision` wrote. All are loaded as
the service loads them and take turns: one picture at 192 px, one at 256 px. Then each colors every photograph, squashed
to 256 x 256 as in `training.judge.protocols`, with the default vividness, and is compared with float32 and the truth.

    python benchmarks/model_variants.py [RUN | FILE...] [--pictures FOLDER] [--calibrate PHOTOS] [--rounds 20]
        [--output model_variants.json]

Without RUN or FILE it measures the shipped model on the pictures of the tests; a RUN must have been exported. Wall time
depends on what else the machine does, processor time hardly: both are reported, each as a ratio to float32.

Exit status 1 where a rounded network's pictures differ from float32's by more than 1/255 on average, float16 takes more
than 1.15 times the processor time of float32 or int8 more than 0.8 times, or a file is not smaller than the one before.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma import quality  # noqa: E402 - the project need not be installed
from chroma.compose import compose_u8  # noqa: E402
from chroma.decoding import Knobs  # noqa: E402
from chroma.framing import head_lightness, resize_lightness  # noqa: E402
from chroma.lab import rgb_u8_to_lab, rgb_u8_to_lightness  # noqa: E402
from chroma.signature import AB_LOGITS  # noqa: E402
from export import ExportError  # noqa: E402
from export.precision import to_float16, to_float32  # noqa: E402
from export.quantization import to_int8  # noqa: E402
from export.stamp import write_stamp  # noqa: E402
from export.tolerances import PICTURE_TOLERANCE, Precision, tolerances_for  # noqa: E402
from service.engine.colorizer import as_kept, decode_logits  # noqa: E402
from service.engine.kept import KEPT_OUTPUTS  # noqa: E402
from service.engine.session import Query, Session, shipped_model  # noqa: E402
from service.errors import ModelError  # noqa: E402
from training import TrainingError  # noqa: E402
from training.data.photographs import SUFFIXES  # noqa: E402
from training.data.pictures import decode_photograph  # noqa: E402
from training.data.samples import is_gray  # noqa: E402

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SIDE_PX = 256
"""Pictures are judged at this side, as in `training.judge.protocols`."""
SIZES_PX = (192, 256)
"""Inference is timed at these."""
CALIBRATION_PICTURES = 16
"""Photographs for int8, at most, where the judged ones must do."""
MOST_FLOAT16 = 1.15
MOST_INT8 = 0.8
"""Processor time over float32's."""


@dataclass(frozen=True)
class Seconds:
    """What one inference, or loading a file, takes.

    Attributes:
        wall: by the clock.
        processor: of all threads together.
    """

    wall: float
    processor: float


def read_pictures(folder: Path) -> Iterator[np.ndarray]:
    """Yield the color photographs of a folder by name, squashed; RGB uint8, (256, 256, 3)."""
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        try:
            rgb_u8 = decode_photograph(path.read_bytes())
        except TrainingError as error:
            sys.stderr.write(f"{path.name} is left out: {error}\n")
            continue
        if not is_gray(rgb_u8):
            yield cv2.resize(np.ascontiguousarray(rgb_u8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def round_here(source: Path, lightness: Callable[[int], Iterator[np.ndarray]], folder: Path) -> dict[str, Path]:
    """Make the three files of one model.

    Args:
        source: the model. Of a float16 or int8 one, "float32" is what its rounded weights give: better take float32.
        lightness: gives pictures for int8 at an inference size, px.
        folder: where to write.

    Returns:
        File by precision.
    """
    stamp = Session(source, device="cpu").stamp
    plain = to_float32(onnx.load(source))
    models = {"float32": plain, "float16": to_float16(plain), "int8": to_int8(plain, lightness(stamp.size))}
    files = {}
    for precision, variant in models.items():
        write_stamp(
            variant, replace(stamp, precision=precision, tolerances=tolerances_for(stamp.parameters, precision))
        )
        files[precision] = folder / f"{precision}.onnx"
        onnx.save(variant, files[precision])
    return files


def infer(session: Session, L: np.ndarray, size: int, knobs: Knobs) -> np.ndarray:
    """Return the ab of one picture, (size/4, size/4, 2)."""
    query = Query(resize_lightness(L, (size, size)), KEPT_OUTPUTS)
    heads = as_kept(session.run([query])[0])
    return decode_logits(heads[AB_LOGITS], head_lightness(query.lightness), knobs, session.stamp)


def time_inference(
    sessions: dict[str, Session], L: np.ndarray, size: int, knobs: Knobs, rounds: int
) -> dict[str, list[Seconds]]:
    """Let the sessions take turns; the first round only warms up."""
    times: dict[str, list[Seconds]] = {name: [] for name in sessions}
    for turn in range(rounds + 1):
        for name, session in sessions.items():
            wall, processor = time.perf_counter(), time.process_time()
            infer(session, L, size, knobs)
            seconds = Seconds(time.perf_counter() - wall, time.process_time() - processor)
            if turn:
                times[name].append(seconds)
    return times


def summarize_times(times: dict[str, list[Seconds]], reference: str) -> dict[str, dict[str, object]]:
    """Return medians in ms, and the ratio to the reference of the same round: quartiles from low to high."""

    def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
        return [round(float(q), 3) for q in np.percentile(np.divide(values, others), (25, 50, 75))]

    summary: dict[str, dict[str, object]] = {}
    for name, rows in times.items():
        row: dict[str, object] = {}
        for kind in ("wall", "processor"):
            values, others = ([getattr(s, kind) for s in some] for some in (rows, times[reference]))
            row[f"{kind}_ms"] = round(1000 * statistics.median(values), 2)
            row[f"{kind}_ms_least"] = round(1000 * min(values), 2)
            row[f"{kind}_ratio_quartiles"] = ratios(values, others)
        summary[name] = row
    return summary


def judge(
    sessions: dict[str, Session], truths: Sequence[np.ndarray], knobs: Knobs, reference: str
) -> dict[str, dict[str, float]]:
    """Color every photograph with each model at its own size; compare with the truth and with the reference."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in sessions}
    errors: dict[str, dict[str, list[np.ndarray]]] = {name: {"76": [], "2000": []} for name in sessions}
    for truth in truths:
        L, truth_lab = rgb_u8_to_lightness(truth), rgb_u8_to_lab(truth)
        answers = {name: compose_u8(L, infer(s, L, s.stamp.size, knobs)) for name, s in sessions.items()}
        expected = rgb_u8_to_lab(answers[reference])
        for name, answer in answers.items():
            lab = rgb_u8_to_lab(answer)
            errors[name]["76"].append(np.sqrt(np.square(lab - expected).sum(axis=-1)))
            if name != reference:
                errors[name]["2000"].append(quality.delta_e_2000(lab, expected).astype(np.float32))
            rows[name].append(
                {
                    "mean_difference_of_255": float(np.abs(answer.astype(np.int16) - answers[reference]).mean()),
                    "psnr_db": quality.psnr(answer, truth),
                    "false_red_percent": 100 * quality.false_red_fraction(lab, truth_lab),
                    "colorfulness_ratio": quality.colorfulness(answer),
                }
            )
    true_colorfulness = float(np.mean([quality.colorfulness(truth) for truth in truths]))
    result = {}
    for name, scores in rows.items():
        result[name] = {key: float(np.mean([row[key] for row in scores])) for key in scores[0]}
        result[name]["colorfulness_ratio"] /= true_colorfulness
        result[name]["worst_picture_difference_of_255"] = max(row["mean_difference_of_255"] for row in scores)
        for kind, maps in errors[name].items():
            values = np.concatenate([m.ravel() for m in maps]) if maps else np.zeros(1)
            result[name][f"delta_e_{kind}_mean"] = float(values.mean(dtype=np.float64))
            result[name][f"delta_e_{kind}_p99"] = float(np.percentile(values, 99))
    return {name: {key: round(value, 4) for key, value in row.items()} for name, row in result.items()}


def measure(files: dict[str, Path], truths: Sequence[np.ndarray], rounds: int) -> dict[str, object]:
    """Return the result as JSON has it."""
    reference = "float32" if "float32" in files else next(iter(files))
    sessions: dict[str, Session] = {}
    loading: dict[str, list[Seconds]] = {name: [] for name in files}
    for _ in range(min(rounds, 5)):
        for name, path in files.items():
            wall, processor = time.perf_counter(), time.process_time()
            sessions[name] = Session(path, device="cpu")
            loading[name].append(Seconds(time.perf_counter() - wall, time.process_time() - processor))
    knobs = sessions[reference].stamp.vividness_curve.at(0.5)
    L = rgb_u8_to_lightness(truths[0])
    speed = {
        str(size): summarize_times(time_inference(sessions, L, size, knobs, rounds), reference) for size in SIZES_PX
    }
    pictures = judge(sessions, truths, knobs, reference)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    most = {"float16": MOST_FLOAT16, "int8": MOST_INT8}
    kept = {f"{name}: same pictures": pictures[name]["mean_difference_of_255"] <= PICTURE_TOLERANCE for name in files}
    for name in most.keys() & files.keys() - {reference}:
        ratios = [speed[str(size)][name]["processor_ratio_quartiles"] for size in SIZES_PX]
        kept[f"{name}: speed"] = all(middle <= most[name] for _, middle, _ in ratios)
    ordered = [sizes[name] for name in PRECISIONS if name in sizes]
    kept["each file smaller than the one before"] = ordered == sorted(ordered, reverse=True)
    return {
        "model": sessions[reference].stamp.run_id,
        "size_px": sessions[reference].stamp.size,
        "pictures": len(truths),
        "rounds": rounds,
        "threads": sessions[reference].threads,
        "reference": reference,
        "file_bytes": sizes,
        "load": summarize_times(loading, reference),
        "inference": speed,
        "compared": pictures,
        "kept": dict(sorted(kept.items())),
        "versions": {
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
        },
    }


def given_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Return several files by the precision in their stamps, float32 first."""
    found: dict[str, Path] = {}
    runs = set()
    for path in paths:
        stamp = Session(path, device="cpu").stamp
        runs.add(stamp.run_id)
        if stamp.precision in found or len(runs) > 1:
            raise SystemExit(f"{path} is {stamp.precision} of {stamp.run_id}: name one file a precision, of one run")
        found[stamp.precision] = path
    return {name: found[name] for name in PRECISIONS if name in found}


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "models", type=Path, nargs="*", help="a run folder, or ONNX files; the shipped model by default"
    )
    parser.add_argument("--pictures", type=Path, default=ROOT / "tests" / "data", help="folder of color photographs")
    parser.add_argument("--calibrate", type=Path, help="photographs for int8 (validation split); default: --pictures")
    parser.add_argument("--rounds", type=int, default=20, help="how often each contender runs")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    models = [path / "model.onnx" if path.is_dir() else path for path in options.models] or [shipped_model()]
    if missing := [path for path in models if not path.is_file()]:
        raise SystemExit(f"no such file: {missing[0]}. photochrom-export makes it of a run")
    truths = list(read_pictures(options.pictures))
    if not truths:
        raise SystemExit(f"no color photographs in {options.pictures}")

    def lightness(size: int) -> Iterator[np.ndarray]:
        if options.calibrate:
            from export.calibration import read_lightness  # Imports Keras.

            yield from read_lightness(options.calibrate, size)
            return
        for rgb_u8 in truths[:: -(-len(truths) // CALIBRATION_PICTURES)]:
            yield resize_lightness(rgb_u8_to_lightness(rgb_u8), (size, size))[None]

    try:
        with tempfile.TemporaryDirectory() as temporary:
            files = given_files(models) if len(models) > 1 else round_here(models[0], lightness, Path(temporary))
            result = measure(files, truths, options.rounds)
    except (ExportError, TrainingError, ModelError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
