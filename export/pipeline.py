"""Run folder -> verified ONNX file, read top to bottom."""

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from chroma.signature import Stamp
from export.convert import count_weights, require_tensorflow, to_onnx
from export.stamp import make_stamp, write_stamp
from export.verify import Difference, write_verified
from training.model import without_segmentation
from training.run import BEST, open_run


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
) -> Exported:
    """Export a run.

    Args:
        folder: the run folder.
        out: the ONNX file to write; one that is there is replaced once the new one is verified.
        weights: file name of the weights in the run folder.
        license_note: terms of the weights; None means `export.stamp.LICENSE`.
        created: day of the export; None means today.

    Returns:
        What was written.

    Raises:
        ExportError: see `export`; nothing is written.
        TrainingError: the run cannot be opened or its weights do not load.
        SignatureError: the run's prior, curve or size cannot be those of a model.
        OSError: the file cannot be written.
    """
    require_tensorflow()
    run = open_run(folder)
    network = without_segmentation(run.load_model(weights))
    model = to_onnx(network, run.decoder())
    stamp = make_stamp(
        run, parameters=count_weights(network), created=created or date.today(), license_note=license_note
    )
    write_stamp(model, stamp)
    differences = write_verified(model, network, stamp, out)
    content = out.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Exported(out, stamp, differences, len(content), digest, len(model.graph.node))
