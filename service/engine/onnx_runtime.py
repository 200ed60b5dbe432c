"""ONNX Runtime: what computes the network where nothing faster is asked for, and what everything else is held to."""

import ctypes
import logging
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from service.errors import DeviceError, ModelError
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


class OnnxRuntime:
    """A model, loaded by ONNX Runtime on the best device allowed.

    Attributes:
        name: of the runtime, with its version.
        provider: the execution provider really in use.
    """

    name: Final = f"onnxruntime {ort.__version__}"

    def __init__(self, model: bytes, path: Path, *, device: Device, threads: int) -> None:
        """Load a model.

        Args:
            model: content of a file; all of it is computed, whatever is fetched.
            path: where it was read from, for those who read errors.
            device: `cpu`, `cuda` (or fail) or `auto`.
            threads: of one inference.

        Raises:
            ModelError: the file is broken.
            DeviceError: `cuda` was asked for and does not work.
        """
        self._session = _open(model, path, device, threads)
        self.provider: str = self._session.get_providers()[0]
        self._giving_back = ort.RunOptions()
        devices = "cpu:0" if self.provider != CUDA else "cpu:0;gpu:0"
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", devices)

    def run(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of these names."""
        outputs: list[np.ndarray] = self._session.run(names, feeds)
        return outputs

    def run_and_give_back(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> None:
        """Run once, and return to the system what memory only larger runs need."""
        self._session.run(names, feeds, self._giving_back)


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
