"""The ONNX file: load it, refuse a model that is not ours, run it by output names on the device that was asked for.

`Session` is what the rest of the service sees of the runtimes: ONNX Runtime, and whatever takes its place.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from jaxtyping import Float

from chroma.signature import (
    HEADS,
    INPUT_NAMES,
    LIGHTNESS,
    OUTPUT_NAMES,
    SCENE_LOGITS,
    STAMP_KEY,
    SignatureError,
    Stamp,
)
from service.engine.onnx_file import OnnxFile
from service.engine.onnx_runtime import CUDA, OnnxRuntime
from service.errors import ModelError
from service.machine import usable_cores
from service.settings import Device, Precision


def shipped_model() -> Path:
    """Return the path of the model that comes with the package; the file may be missing."""
    return Path(str(resources.files("service") / "model" / "default.onnx"))


LARGE_FACTOR: Final = 4
"""What is so many times the model's own size takes memory that the next ones hardly need: it is given back."""


@dataclass(frozen=True, eq=False)
class Query:
    """One picture as the network takes it.

    Attributes:
        lightness: L in [0, 100], float32, shape (h, w, 1), sides multiples of 32.
        outputs: names of the heads wanted, of `HEADS`.
    """

    lightness: Float[np.ndarray, "h w 1"]
    outputs: tuple[str, ...]


Heads = dict[str, Float[np.ndarray, "..."]]
"""Heads by name, of one picture: without the batch axis."""


class Runtime(Protocol):
    """What computes a network."""

    @property
    def name(self) -> str:
        """Name of the runtime, with its version."""

    @property
    def provider(self) -> str:
        """What of it is really in use."""

    def run(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the heads of these names."""

    def run_and_give_back(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> None:
        """Run once, and return to the system what memory only larger runs need."""


class Session:
    """A loaded model that has proven to be one of ours.

    Attributes:
        stamp: what the file says of itself.
        digest: sha256 of the file, hexadecimal.
        runtime: what computes it.
        precision: that it is computed in: float32, bfloat16 or int8.
        path: where the file was read from.
        threads: of one inference.
        inputs: what the file's graph takes.
        outputs: what it gives; of that, `HEADS` are computed here.
    """

    def __init__(self, path: Path, *, device: Device = "auto", threads: int = 0) -> None:
        """Load a model into ONNX Runtime.

        Args:
            path: the ONNX file.
            device: `cpu`, `cuda` (or fail) or `auto`.
            threads: of one inference; 0 means the usable cores.

        Raises:
            ModelError: the file is missing, broken, or not of this signature.
            DeviceError: `cuda` was asked for and does not work.
        """
        self.path = path
        self.threads = threads or usable_cores()
        model = read_model(path)
        self.digest = hashlib.sha256(model).hexdigest()
        file = OnnxFile(model, path)
        self.stamp = _read_stamp(file, path)
        self.inputs, self.outputs = file.inputs, file.outputs
        network = file.part(HEADS)
        del model, file  # Weights that are in there too: the runtime makes copies of its own.
        self.runtime: Runtime = OnnxRuntime(network, path, device=device, threads=self.threads)
        self.precision: Precision = "int8" if self.stamp.precision == "int8" else "float32"

    def on(self, runtime: Runtime, precision: Precision) -> "Session":
        """Return the same model, computed by something else.

        Args:
            runtime: that has loaded the same file.
            precision: that it computes in.
        """
        other = copy.copy(self)
        other.runtime, other.precision = runtime, precision
        return other

    @property
    def provider(self) -> str:
        """The execution provider really in use."""
        return self.runtime.provider

    @property
    def default_batch(self) -> int:
        """How many pictures to run at once: on a CPU more than one gains nothing."""
        return 8 if self.provider == CUDA else 1

    def run(self, queries: Sequence[Query]) -> list[Heads]:
        """Run pictures of equal size through the network.

        Args:
            queries: at least one; all with the same lightness shape and the same outputs.

        Returns:
            The wanted heads of each picture, in order.

        Raises:
            ValueError: no pictures, or of several shapes.
        """
        if not queries:
            raise ValueError("a batch has at least one picture")
        feeds: dict[str, np.ndarray] = {LIGHTNESS: np.stack([query.lightness for query in queries])}
        names = queries[0].outputs
        outputs = self.runtime.run(names, feeds)
        if feeds[LIGHTNESS].size > LARGE_FACTOR * self.stamp.size**2:
            outputs = [output.copy() for output in outputs]  # They lie in what is to be given back.
            self._give_back()
        return [{name: head[row] for name, head in zip(names, outputs, strict=True)} for row in range(len(queries))]

    def _give_back(self) -> None:
        """Return memory that only large pictures need, by a run of a small one."""
        feeds: dict[str, np.ndarray] = {LIGHTNESS: np.full((1, 32, 32, 1), 50, np.float32)}
        self.runtime.run_and_give_back([SCENE_LOGITS], feeds)

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """Run once for real at the model's own size, so that the first request is not the slow one.

        Args:
            batch_sizes: how many pictures at once, one run each.

        Raises:
            ModelError: the model runs but gives NaN, or does not run.
        """
        lightness = np.full((self.stamp.size, self.stamp.size, 1), 50, np.float32)
        query = Query(lightness, HEADS)
        for count in batch_sizes:
            try:
                heads = self.run([query] * count)
            except Exception as error:  # ONNX Runtime's own exceptions have no common root but Exception.
                raise ModelError(f"{self.path} loads but does not run: {error}") from error
            if not all(np.isfinite(head).all() for head in heads[0].values()):
                raise ModelError(f"{self.path} gives NaN for a plain gray picture")


def read_model(path: Path) -> bytes:
    """Return the content of a model's file.

    Raises:
        ModelError: it cannot be read; the text says what to do.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}. Set PHOTOCHROM_MODEL to an exported .onnx file, "
            "or make one with photochrom-train and photochrom-export"
        ) from error


def _read_stamp(file: OnnxFile, path: Path) -> Stamp:
    text = file.metadata.get(STAMP_KEY)
    if text is None:
        raise ModelError(f"{path} has no Photochrom stamp: it was not made by photochrom-export")
    try:
        stamp = Stamp.from_json(text)
    except SignatureError as error:
        raise ModelError(f"{path} is refused: {error}") from error
    for kind, wanted, found in (
        ("input", INPUT_NAMES, file.inputs),
        ("output", OUTPUT_NAMES, file.outputs),
    ):
        missing = set(wanted) - {tensor.name for tensor in found}
        if missing:
            raise ModelError(f"{path} is refused: it lacks the {kind} {', '.join(sorted(missing))}")
    return stamp
