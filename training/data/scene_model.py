"""Any scene classifier in an ONNX file: photograph -> class probabilities.

It takes one float picture with three channels, (1, 3, H, W) or (1, H, W, 3), RGB, normalized by a mean and a standard
deviation of values in [0, 1], and gives one value a class: logits or probabilities.
"""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from training import DataError

MEAN: Final = (0.485, 0.456, 0.406)

STD: Final = (0.229, 0.224, 0.225)
"""Of ImageNet, RGB in [0, 1]: what nearly all published classifiers were trained with."""

SIDE_PX: Final = 224
"""Input of a model that takes any size."""

DTYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def load_names(path: Path) -> tuple[str, ...]:
    """Read class names, one a line.

    Raises:
        DataError: the file cannot be read, or a name is empty or occurs twice.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").rstrip().split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if "" in names or len(set(names)) != len(names):
        raise DataError(f"{path}: one class name a line, none empty and none twice")
    return names


class SceneModel:
    """A scene classifier, run on one CPU thread; each worker process has its own.

    Attributes:
        names: of the classes, in the order of the output.
    """

    def __init__(
        self,
        path: Path,
        names: tuple[str, ...],
        *,
        mean: tuple[float, float, float] = MEAN,
        std: tuple[float, float, float] = STD,
    ) -> None:
        """Load a model and find out what it takes and gives.

        Args:
            path: the ONNX file.
            names: of the classes.
            mean: taken from the values, RGB in [0, 1].
            std: what the values are divided by then.

        Raises:
            DataError: not a model, or not one that takes a picture and gives a value for each name.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # The library's errors have no common ancestor of their own.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"{path} is no model that ONNX Runtime loads: {reason}") from error
        self.names = names
        if min(std) <= 0:
            raise DataError("the standard deviation of the scene model must be positive")
        self._mean, self._std = np.float32(mean), np.float32(std)
        self._input, self._channels_first, self._height, self._width = _find_input(path, self._session.get_inputs())
        self._dtype = DTYPES[self._input.type]
        sizes = [self._run(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), index).size for index in self._outputs()]
        fits = [index for index, size in zip(self._outputs(), sizes, strict=True) if size == len(names)]
        if not fits:
            raise DataError(f"{path} gives {', '.join(map(str, sizes))} values, and there are {len(names)} class names")
        self._output = fits[0]

    def _outputs(self) -> range:
        return range(len(self._session.get_outputs()))

    def __call__(self, rgb_u8: np.ndarray) -> list[tuple[str, float]]:
        """Return the probability of each class.

        Args:
            rgb_u8: the photograph, uint8, (H, W, 3).

        Returns:
            Names and probabilities in [0, 1] that sum to 1, in the order of the names.

        Raises:
            DataError: the model gives values that are no numbers.
        """
        values = self._run(rgb_u8, self._output).astype(np.float64).ravel()
        if not np.isfinite(values).all():
            raise DataError("the scene model gives values that are no numbers")
        if values.min() < 0 or abs(values.sum() - 1) > 1e-3:
            values = np.exp(values - values.max())
        shares = values / values.sum()
        return list(zip(self.names, shares.tolist(), strict=True))

    def _run(self, rgb_u8: np.ndarray, output: int) -> np.ndarray:
        # The largest part of the picture with the input's proportions, from the middle.
        height, width = rgb_u8.shape[:2]
        factor = min(height / self._height, width / self._width)
        rows, columns = max(round(self._height * factor), 1), max(round(self._width * factor), 1)
        top, left = (height - rows) // 2, (width - columns) // 2
        middle = rgb_u8[top : top + rows, left : left + columns]
        filter_ = cv2.INTER_AREA if factor >= 1 else cv2.INTER_LINEAR
        resized = cv2.resize(np.ascontiguousarray(middle), (self._width, self._height), interpolation=filter_)
        scaled = (resized.astype(np.float32) / 255 - self._mean) / self._std
        batch = (scaled.transpose(2, 0, 1) if self._channels_first else scaled)[None].astype(self._dtype)
        return np.asarray(self._session.run([self._session.get_outputs()[output].name], {self._input.name: batch})[0])


def _find_input(path: Path, inputs: list[Any]) -> tuple[Any, bool, int, int]:
    """Return the input, whether its channels come first, and height and width of the picture, px."""
    taken = inputs[0] if len(inputs) == 1 else None
    shape = taken.shape if taken else []
    layouts = [first for first, axis in ((True, 1), (False, 3)) if len(shape) == 4 and shape[axis] == 3]
    if not taken or not layouts or taken.type not in DTYPES or (isinstance(shape[0], int) and shape[0] != 1):
        told = "; ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
        raise DataError(f"{path} takes {told}: a scene model takes one float picture, (1, 3, H, W) or (1, H, W, 3)")
    height, width = (side if isinstance(side, int) else SIDE_PX for side in (shape[2:] if layouts[0] else shape[1:3]))
    return taken, layouts[0], height, width
