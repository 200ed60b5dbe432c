"""The ONNX file: load it, refuse a model that is not ours, run it by output names on the device that was asked for.

`Session` is what the rest of the service sees of ONNX Runtime.
"""

import ctypes
import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from jaxtyping import Float

from chroma.decoding import Knobs
from chroma.signature import (
    AB_DECODED,
    INPUT_NAMES,
    KNOB_NAMES,
    LIGHTNESS,
    OUTPUT_NAMES,
    SCENE_LOGITS,
    STAMP_KEY,
    SignatureError,
    Stamp,
)
from service.errors import DeviceError, ModelError
from service.machine import usable_cores
from service.settings import Device

CPU: Final = "CPUExecutionProvider"

CUDA: Final = "CUDAExecutionProvider"

CUDA_OPTIONS: Final = {"cudnn_conv_algo_search": "HEURISTIC"}
"""Pictures have many sizes; an exhaustive search would run again for each new one."""

CUDA_LIBRARIES: Final = (
    "libcuda.so.1",
    "libcudart.so.13",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libcurand.so.10",
    "libcufft.so.12",
    "libcudnn.so.9",
)
"""What the CUDA provider of ONNX Runtime 1.27 and later loads; the first comes with the driver."""

log = logging.getLogger(__name__)


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
        knobs: of the decode inside the graph.
        outputs: names of the outputs wanted.
    """

    lightness: Float[np.ndarray, "h w 1"]
    knobs: Knobs
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Tensor:
    """An input or an output of the model, as its file says.

    Attributes:
        name: of it.
        type: of its elements, in ONNX Runtime's words: `tensor(float)` and so on.
        shape: lengths; names where they vary.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]


Heads = dict[str, Float[np.ndarray, "..."]]
"""Outputs by name, of one picture: without the batch axis."""


class Session:
    """A loaded model that has proven to be one of ours.

    Attributes:
        stamp: what the file says of itself.
        digest: sha256 of the file, hexadecimal.
        provider: the execution provider really in use.
        path: where the file was read from.
        threads: of one inference.
        inputs: what it takes.
        outputs: what it gives.
    """

    def __init__(self, path: Path, *, device: Device = "auto", threads: int = 0) -> None:
        """Load a model.

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
        model = _read(path)
        self.digest = hashlib.sha256(model).hexdigest()
        self._session = _open(model, path, device, self.threads)
        self._what_is_wanted = ort.RunOptions()
        self._what_is_wanted.only_execute_path_to_fetches = True  # Else the graph decodes, too, what nobody fetches.
        self._giving_back = ort.RunOptions()
        devices = "cpu:0" if self._session.get_providers()[0] != CUDA else "cpu:0;gpu:0"
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", devices)
        self.provider: str = self._session.get_providers()[0]
        self.stamp = _read_stamp(self._session, path)
        self.inputs = tuple(Tensor(node.name, node.type, tuple(node.shape)) for node in self._session.get_inputs())
        self.outputs = tuple(Tensor(node.name, node.type, tuple(node.shape)) for node in self._session.get_outputs())

    @property
    def default_batch(self) -> int:
        """How many pictures to run at once: on a CPU more than one gains nothing."""
        return 8 if self.provider == CUDA else 1

    def run(self, queries: Sequence[Query]) -> list[Heads]:
        """Run pictures of equal size through the network.

        Args:
            queries: at least one; all with the same lightness shape and the same outputs.

        Returns:
            The wanted outputs of each picture, in order.

        Raises:
            ValueError: no pictures, or of several shapes.
        """
        if not queries:
            raise ValueError("a batch has at least one picture")
        feeds: dict[str, Any] = {LIGHTNESS: np.stack([query.lightness for query in queries])}
        for name in KNOB_NAMES:
            feeds[name] = np.array([getattr(query.knobs, name) for query in queries], np.float32)
        names = queries[0].outputs
        outputs = self._session.run(names, feeds, self._what_is_wanted)
        if feeds[LIGHTNESS].size > LARGE_FACTOR * self.stamp.size**2:
            outputs = [output.copy() for output in outputs]  # They lie in what is to be given back.
            self._give_back()
        return [{name: head[row] for name, head in zip(names, outputs, strict=True)} for row in range(len(queries))]

    def _give_back(self) -> None:
        """Return memory that only large pictures need: ONNX Runtime does it at the end of a run that asks for it."""
        feeds: dict[str, Any] = {LIGHTNESS: np.full((1, 32, 32, 1), 50, np.float32)}
        feeds |= {name: np.ones(1, np.float32) for name in KNOB_NAMES}
        self._session.run([SCENE_LOGITS], feeds, self._giving_back)

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """Run once for real at the model's own size, so that the first request is not the slow one.

        Args:
            batch_sizes: how many pictures at once, one run each.

        Raises:
            ModelError: the model runs but gives NaN, or does not run.
        """
        lightness = np.full((self.stamp.size, self.stamp.size, 1), 50, np.float32)
        query = Query(lightness, self.stamp.vividness_curve.at(0.5), (AB_DECODED, SCENE_LOGITS))
        for count in batch_sizes:
            try:
                heads = self.run([query] * count)
            except Exception as error:  # ONNX Runtime's own exceptions have no common root but Exception.
                raise ModelError(f"{self.path} loads but does not run: {error}") from error
            if not all(np.isfinite(head).all() for head in heads[0].values()):
                raise ModelError(f"{self.path} gives NaN for a plain gray picture")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}. Set PHOTOCHROM_MODEL to an exported .onnx file, "
            "or make one with photochrom-train and photochrom-export"
        ) from error


def _read_stamp(session: ort.InferenceSession, path: Path) -> Stamp:
    text = session.get_modelmeta().custom_metadata_map.get(STAMP_KEY)
    if text is None:
        raise ModelError(f"{path} has no Photochrom stamp: it was not made by photochrom-export")
    try:
        stamp = Stamp.from_json(text)
    except SignatureError as error:
        raise ModelError(f"{path} is refused: {error}") from error
    for kind, wanted, found in (
        ("input", INPUT_NAMES, session.get_inputs()),
        ("output", OUTPUT_NAMES, session.get_outputs()),
    ):
        missing = set(wanted) - {node.name for node in found}
        if missing:
            raise ModelError(f"{path} is refused: it lacks the {kind} {', '.join(sorted(missing))}")
    return stamp


def _open(model: bytes, path: Path, device: Device, threads: int) -> ort.InferenceSession:
    """Make the inference session on the best device allowed; what counts is the provider it ends up with."""
    if device != "cpu" and CUDA in ort.get_available_providers():
        if hasattr(ort, "preload_dlls"):
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # It prints what it does not find.
                ort.preload_dlls()
        session = _create(model, path, threads, [(CUDA, CUDA_OPTIONS), CPU])
        if session.get_providers()[0] == CUDA:
            return session
        problem = f"the CUDA provider does not start; missing here: {', '.join(missing_cuda_libraries()) or 'nothing'}"
        if device == "cuda":
            raise DeviceError(f"PHOTOCHROM_DEVICE=cuda, but {problem}. Install the `gpu` extra and a CUDA 13 driver")
        log.warning("FALLING BACK TO THE CPU: %s", problem)
        return session
    if device == "cuda":
        raise DeviceError(
            "PHOTOCHROM_DEVICE=cuda, but this ONNX Runtime is built without CUDA: install the `gpu` extra "
            "instead of `service`, in an environment of its own"
        )
    return _create(model, path, threads, [CPU])


def _create(model: bytes, path: Path, threads: int, providers: list[Any]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads take the cores that decoding and encoding of other pictures could use.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own exceptions have no common root but Exception.
        raise ModelError(f"{path} is not an ONNX model that can be loaded: {error}") from error


def missing_cuda_libraries() -> list[str]:
    """Return which shared libraries of CUDA and cuDNN cannot be loaded here."""
    missing = []
    for name in CUDA_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(name)
    return missing
