"""FID, LPIPS and a classifier's verdict, from ONNX networks that the user brings: their weights do not ship.

A network takes sRGB, float32, as (N, 3, H, W) or (N, H, W, 3); which, is read off the file. Where H and W are fixed,
pictures are resized to them (area mean to shrink, bilinear to enlarge). Levels: ``FILE.onnx@SCALE`` with SCALE one of
unit [0, 1], signed [-1, 1], bytes [0, 255], imagenet (mean and deviation of ImageNet).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np

from training import DataError

SCALES: Final = ("unit", "signed", "bytes", "imagenet")

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)

IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)

NOT_COMPUTED: Final = "not computed: no weights given"

DEFAULT_SCALES: Final = MappingProxyType({"fid": "unit", "lpips": "signed", "classifier": "imagenet"})
"""What the usual exports of such networks want."""


@dataclass(frozen=True)
class Networks:
    """Files of the networks to judge with, each ``FILE.onnx`` or ``FILE.onnx@SCALE``.

    Attributes:
        fid: one picture -> one vector (of features).
        lpips: two pictures -> their distance.
        classifier: one picture -> one score a class.
    """

    fid: str | None = None
    lpips: str | None = None
    classifier: str | None = None


class Network:
    """An ONNX network that looks at pictures.

    Attributes:
        path: its file.
        scale: the levels it wants.
        sha256: of the file.
    """

    def __init__(self, address: str, *, default_scale: str, inputs: int) -> None:
        """Load ``FILE.onnx`` or ``FILE.onnx@SCALE``.

        Args:
            address: the file, and the scale where it is not the default.
            default_scale: one of `SCALES`.
            inputs: how many pictures it takes.

        Raises:
            DataError: no such file or scale, or a network of another kind.
        """
        import onnxruntime  # slow to import

        name, at, scale = address.rpartition("@")
        self.path = Path(name if at else address)
        self.scale = scale if at else default_scale
        if self.scale not in SCALES:
            raise DataError(f"{address}: the scale must be one of {', '.join(SCALES)}, is {self.scale!r}")
        try:
            data = self.path.read_bytes()
            self._session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error
        except Exception as error:  # ONNX Runtime has no error type in common
            raise DataError(f"{self.path} is no network that ONNX Runtime can run: {_first_line(error)}") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        shapes = [entry.shape for entry in self._session.get_inputs()]
        if len(shapes) != inputs or any(len(shape) != 4 or 3 not in (shape[1], shape[3]) for shape in shapes):
            raise DataError(f"{self.path} must take {inputs} input(s) (N, 3, H, W) or (N, H, W, 3), takes {shapes}")
        self._channels_first = shapes[0][1] == 3
        self._sides = tuple(shapes[0][2:4]) if self._channels_first else tuple(shapes[0][1:3])

    def __call__(self, *pictures: np.ndarray) -> np.ndarray:
        """Run the network; return its first output, flattened, float64.

        Args:
            *pictures: sRGB, uint8, (H, W, 3), one an input.

        Raises:
            DataError: the network cannot take pictures of this size.
        """
        names = [entry.name for entry in self._session.get_inputs()]
        feed = {name: self._prepare(picture) for name, picture in zip(names, pictures, strict=True)}
        try:
            output = self._session.run(None, feed)[0]
        except Exception as error:  # ONNX Runtime has no error type in common
            raise DataError(f"{self.path} cannot judge a picture: {_first_line(error)}") from error
        return np.asarray(output, np.float64).ravel()

    def describe(self) -> dict[str, Any]:
        """Return which network this is, for JSON."""
        return {"file": self.path.name, "sha256": self.sha256, "scale": self.scale}

    def _prepare(self, rgb_u8: np.ndarray) -> np.ndarray:
        height, width = rgb_u8.shape[:2]
        wanted = tuple(
            side if isinstance(side, int) else own for side, own in zip(self._sides, (height, width), strict=True)
        )
        if wanted != (height, width):
            shrinks = wanted[0] <= height and wanted[1] <= width
            filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            rgb_u8 = cv2.resize(rgb_u8, wanted[::-1], interpolation=filter_)
        levels = rgb_u8.astype(np.float32)
        if self.scale == "signed":
            levels = levels / np.float32(127.5) - 1
        elif self.scale != "bytes":
            levels = levels / np.float32(255)
        if self.scale == "imagenet":
            levels = (levels - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_DEVIATION, np.float32)
        return np.ascontiguousarray(levels.transpose(2, 0, 1) if self._channels_first else levels)[None]


@dataclass
class FeatureSums:
    """Mean and covariance of feature vectors, one vector at a time; memory does not grow with their number.

    Attributes:
        count: vectors so far.
    """

    count: int = 0
    _sum: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _products: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    _shift: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, features: np.ndarray) -> None:
        """Add a vector, (D,)."""
        if not self.count:
            # Sums of deviations from the first vector: sums of squares would cancel where features are far from 0.
            self._shift = features.astype(np.float64)
            self._sum = np.zeros(len(features))
            self._products = np.zeros((len(features), len(features)))
        deviation = features - self._shift
        self.count += 1
        self._sum += deviation
        self._products += np.outer(deviation, deviation)

    def mean(self) -> np.ndarray:
        """Return the mean, (D,)."""
        return self._shift + self._sum / self.count

    def covariance(self) -> np.ndarray:
        """Return the sample covariance (divided by count - 1), (D, D); zeros for a single vector."""
        return (self._products - np.outer(self._sum, self._sum) / self.count) / max(self.count - 1, 1)


def frechet_distance(
    mean_1: np.ndarray, covariance_1: np.ndarray, mean_2: np.ndarray, covariance_2: np.ndarray
) -> float:
    """Fréchet distance of two Gaussians: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    The trace of the root is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric: no
    complex numbers, and singular covariances (fewer pictures than features) need no special case.

    Args:
        mean_1: (D,).
        covariance_1: symmetric, (D, D).
        mean_2: (D,).
        covariance_2: symmetric, (D, D).

    Returns:
        At least 0.

    References:
        Heusel and others, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NIPS
        2017; Dowson, Landau, "The Fréchet Distance between Multivariate Normal Distributions", 1982.
    """
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = root @ covariance_2 @ root
    eigenvalues = np.maximum(np.linalg.eigvalsh((inner + inner.T) / 2), 0)
    trace = np.trace(covariance_1) + np.trace(covariance_2) - 2 * np.sqrt(eigenvalues).sum()
    return float(max(np.square(mean_1 - mean_2).sum() + trace, 0.0))


class NetworkScores:
    """What the networks say of each way, over all pictures."""

    def __init__(self, networks: Networks) -> None:
        """Load the networks.

        Raises:
            DataError: one cannot be used.
        """

        def load(kind: str, address: str | None, inputs: int = 1) -> Network | None:
            return Network(address, default_scale=DEFAULT_SCALES[kind], inputs=inputs) if address else None

        self._fid = load("fid", networks.fid)
        self._lpips = load("lpips", networks.lpips, inputs=2)
        self._classifier = load("classifier", networks.classifier)
        self._truth = FeatureSums()
        self._features: dict[str, FeatureSums] = {}
        self._distances: dict[str, list[float]] = {}
        self._ranks: dict[str, list[int]] = {}

    def add_truth(self, truth_u8: np.ndarray, label: int | None) -> None:
        """Look at a photograph itself, sRGB, uint8, (H, W, 3); `label` is its class, None where unknown."""
        if self._fid:
            self._truth.add(self._fid(truth_u8))
        self._classify("true colors", truth_u8, label)

    def add(self, way: str, rgb_u8: np.ndarray, truth_u8: np.ndarray, label: int | None) -> None:
        """Look at a way's answer, sRGB, uint8, (H, W, 3), beside its truth."""
        if self._fid:
            self._features.setdefault(way, FeatureSums()).add(self._fid(rgb_u8))
        if self._lpips:
            distance = self._lpips(rgb_u8, truth_u8)
            self._distances.setdefault(way, []).append(float(distance.mean()))
        self._classify(way, rgb_u8, label)

    def result(self) -> dict[str, Any]:
        """Return, for `fid`, `lpips` and `classifier`: which network and its figures by way, or why there are none."""
        report: dict[str, Any] = {kind: {"status": NOT_COMPUTED} for kind in DEFAULT_SCALES}
        if self._fid:
            truth = (self._truth.mean(), self._truth.covariance())
            distances = {
                way: round(frechet_distance(sums.mean(), sums.covariance(), *truth), 4)
                for way, sums in self._features.items()
            }
            facts = {"features": len(truth[0]), "pictures": self._truth.count}
            report["fid"] = {"status": "computed", **self._fid.describe(), **facts, "rows": distances}
        if self._lpips:
            means = {way: round(float(np.mean(values)), 4) for way, values in self._distances.items()}
            report["lpips"] = {"status": "computed", **self._lpips.describe(), "rows": means}
        if self._classifier:
            report["classifier"] = {"status": "not computed: no picture has a label", **self._classifier.describe()}
            if self._ranks:
                rows = {
                    way: {
                        "top1": round(100 * float(np.mean(np.less(ranks, 1))), 4),
                        "top5": round(100 * float(np.mean(np.less(ranks, 5))), 4),
                    }
                    for way, ranks in self._ranks.items()
                }
                counted = len(self._ranks["true colors"])
                report["classifier"] |= {"status": "computed", "pictures": counted, "rows": rows}
        return report

    def _classify(self, way: str, rgb_u8: np.ndarray, label: int | None) -> None:
        if self._classifier is None or label is None:
            return
        scores = self._classifier(rgb_u8)
        if not 0 <= label < len(scores):
            raise DataError(f"label {label} is none of the classifier's {len(scores)} classes")
        self._ranks.setdefault(way, []).append(int((scores > scores[label]).sum()))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
