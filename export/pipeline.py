"""Run folder -> verified ONNX file, read top to bottom."""

import hashlib
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import keras
import numpy as np
from onnx import ModelProto

from chroma.signature import Stamp
from export import PrecisionError
from export.calibration import read_lightness
from export.convert import count_weights, require_tensorflow, to_onnx
from export.precision import to_float16
from export.quantization import to_int8
from export.stamp import make_stamp, write_stamp
from export.tolerances import Precision, tolerances_for
from export.verify import Difference, compare, compare_pictures, make_lightness, require_small, write_verified
from training.network.model import without_segmentation
from training.run.run_folder import BEST, open_run


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        path: the ONNX file.
        stamp: what it says of itself.
        differences: what it was compared with, and how far apart they are.
        size_bytes: of the file.
        sha256: of the file, hexadecimal.
        nodes: of the graph.
    """

    path: Path
    stamp: Stamp
    differences: tuple[Difference, ...]
    size_bytes: int
    sha256: str
    nodes: int


def export_run(
    folder: Path,
    out: Path,
    *,
    weights: str = BEST,
    license_note: str | None = None,
    created: date | None = None,
    precision: Precision = "float32",
    calibrate: Path | None = None,
) -> Exported:
    """Export a run.

    Args:
        folder: the run folder.
        out: the ONNX file to write; one that is there is replaced once the new one is verified.
        weights: file name of the weights in the run folder.
        license_note: terms of the weights; None means `export.stamp.LICENSE`.
        created: day of the export; None means today.
        precision: how the file holds the network. Another than float32 is made from float32, once that has proven to
            be what Keras computes.
        calibrate: folder of photographs whose validation split gives the ranges of int8; None for the others.

    Returns:
        What was written.

    Raises:
        PrecisionError: int8 without photographs, or photographs without int8.
        ExportError: see `export`; nothing is written.
        TrainingError: the run cannot be opened, its weights do not load, or the photographs cannot be read.
        SignatureError: the run's prior, curve or size cannot be those of a model.
        OSError: the file cannot be written.
    """
    if precision == "int8" and calibrate is None:
        raise PrecisionError("int8 needs photographs to find its ranges with: add --calibrate PHOTOS")
    if precision != "int8" and calibrate is not None:
        raise PrecisionError(f"only int8 is calibrated, not {precision}: leave --calibrate out, or ask for int8")
    require_tensorflow()
    run = open_run(folder)
    network = without_segmentation(run.load_model(weights))
    stamp = make_stamp(
        run,
        parameters=count_weights(network),
        created=created or date.today(),
        license_note=license_note,
        precision=precision,
    )
    model = to_onnx(network, run.decoder())
    others: tuple[Difference, ...] = ()
    if precision != "float32":
        patterns = [make_lightness(1, stamp.size, stamp.size)]
        pictures = patterns if calibrate is None else list(read_lightness(calibrate, stamp.size))
        model, others = _rounded(model, network, stamp, pictures)
    write_stamp(model, stamp)
    differences = write_verified(model, network, stamp, out, others=others)
    content = out.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Exported(out, stamp, differences, len(content), digest, len(model.graph.node))


def _rounded(
    float32: ModelProto, network: keras.Model, stamp: Stamp, pictures: list[np.ndarray]
) -> tuple[ModelProto, tuple[Difference, ...]]:
    """Prove a float32 model, round it to the stamp's precision, and compare the pictures that the two give."""
    plain = replace(stamp, precision="float32", tolerances=tolerances_for(stamp.parameters))
    write_stamp(float32, plain)
    content = float32.SerializeToString()
    require_small(compare(content, network, plain))
    rounded = to_int8(float32, pictures) if stamp.precision == "int8" else to_float16(float32)
    return rounded, (compare_pictures(rounded.SerializeToString(), content, stamp, pictures),)
