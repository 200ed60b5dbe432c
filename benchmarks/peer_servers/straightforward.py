"""A photograph in, a PNG out, as one writes it first around the model file: what every peer hosts.

No module of Photochrom is imported: this is what somebody has who was given the ONNX file alone. The steps are the
service's (L of the photograph, the network at its own size, its colors enlarged, the photograph's own L), with OpenCV's
functions for each.
"""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

MODEL = Path(__file__).parents[2] / "service" / "model" / "default.onnx"
SIZE_MULTIPLE = 32
VIVIDNESS = 0.5


class Network:
    """The model, loaded.

    Attributes:
        size: of its input, px: square root of the area.
    """

    def __init__(self, threads: int = 0) -> None:
        """Load it.

        Args:
            threads: of one inference; 0 leaves it to ONNX Runtime.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        model = os.environ.get("PEER_MODEL", str(MODEL))
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        stamp = json.loads(self._session.get_modelmeta().custom_metadata_map["photochrom"])
        self.size: int = stamp["size"]
        vividness, *knobs = np.array(stamp["vividness_curve"], np.float32).T
        self._knobs = {
            name: np.array([np.interp(VIVIDNESS, vividness, values)], np.float32)
            for name, values in zip(("temperature", "tau", "cap", "gain"), knobs, strict=True)
        }

    def colorize(self, bgr: np.ndarray) -> np.ndarray:
        """Return a photograph in color; uint8, shape (H, W, 3), both in OpenCV's order of channels."""
        lab = cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        height, width = lab.shape[:2]
        ratio = (height / width) ** 0.5
        rows, columns = (
            max(round(side / SIZE_MULTIPLE), 1) * SIZE_MULTIPLE for side in (self.size * ratio, self.size / ratio)
        )
        small = cv2.resize(lab[..., 0], (columns, rows), interpolation=cv2.INTER_AREA)
        ab = self._session.run(["ab_decoded"], {"lightness": small[None, ..., None], **self._knobs})[0][0]
        lab[..., 1:] = cv2.resize(ab, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR) * 255), 0, 255).astype(np.uint8)


def decode(data: bytes) -> np.ndarray:
    """Return a file's pixels; uint8, shape (H, W, 3), in OpenCV's order of channels.

    Raises:
        ValueError: the bytes are no picture.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("not a picture")
    return bgr


def encode(bgr: np.ndarray) -> bytes:
    """Return pixels as a PNG, with OpenCV's default settings."""
    return cv2.imencode(".png", bgr)[1].tobytes()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def threads() -> int:
    """Return how many threads each of several workers may use: one under load, every core where there is one client."""
    return int(os.environ.get("PEER_THREADS", "1"))


def port() -> int:
    """Return where to listen."""
    return int(os.environ["PEER_PORT"])
