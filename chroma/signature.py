"""What the parts agree on: names, shapes, dtypes and units of the model, and the stamp inside the ONNX file.

Heads and knobs travel by name, never by position: ONNX lists outputs alphabetically, and TensorFlow lowercases an
argument called ``L``.

Inputs, all float32:
    lightness    (batch, height, width, 1)      CIE L, [0, 100]; height and width multiples of 32
    temperature  (batch,)                       annealing temperature, >= 1e-3
    tau          (batch,)                       strength of the prior correction, [0, 1]
    cap          (batch,)                       largest over smallest prior weight, >= 1
    gain         (batch,)                       factor on chroma, >= 0
Outputs, all float32:
    ab           (batch, height/4, width/4, 2)    regression head, Lab units
    ab_decoded   (batch, height/4, width/4, 2)    `chroma.decoding.decode` of ab_logits, Lab units
    ab_logits    (batch, height/4, width/4, 313)  logits over the ab bins
    scene_logits (batch, scenes)                  logits over the scenes of the stamp
    spread       (batch, height/4, width/4, 1)    RMS distance of the posterior from its mean, Lab units

Errors:
    SignatureError: the stamp is missing, broken, or not ours.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, get_origin

from chroma.bins import BINS_SHA256, Q
from chroma.decoding import VividnessCurve

SIGNATURE_VERSION: Final = 1
STAMP_KEY: Final = "photochrom"
"""Key of the stamp in the ONNX file's metadata."""

SIZE_MULTIPLE: Final = 32
"""The network halves its input five times, so height and width are multiples of this."""
HEAD_STRIDE: Final = 4
"""The color heads have a quarter of the input's height and width."""

LIGHTNESS: Final = "lightness"
TEMPERATURE: Final = "temperature"
TAU: Final = "tau"
CAP: Final = "cap"
GAIN: Final = "gain"
KNOB_NAMES: Final = (TEMPERATURE, TAU, CAP, GAIN)
INPUT_NAMES: Final = (LIGHTNESS, *KNOB_NAMES)

AB: Final = "ab"
AB_DECODED: Final = "ab_decoded"
AB_LOGITS: Final = "ab_logits"
SCENE_LOGITS: Final = "scene_logits"
SPREAD: Final = "spread"
OUTPUT_NAMES: Final = (AB, AB_DECODED, AB_LOGITS, SCENE_LOGITS, SPREAD)
HEADS: Final = (AB_LOGITS, AB, SCENE_LOGITS)
"""Where the network ends and the decode begins."""
SEGMENTATION_LOGITS: Final = "segmentation_logits"
"""A head that some networks have in training, (batch, height/4, width/4, classes); export drops it."""


class SignatureError(ValueError):
    """The model file does not say what it is, or says it is something else."""


@dataclass(frozen=True)
class Stamp:
    """What a model file says of itself; export writes it, the service compares it at start-up.

    Attributes:
        run_id: the training run the weights come from.
        recipe: name of the recipe of that run.
        created: day of the export, ISO 8601.
        prior: how often each ab bin occurs in the run's training data, raw; length 313, sum 1.
        vividness_curve: what the vividness knob means for this model.
        scenes: names of the scene classes, in the order of ``scene_logits``.
        size: default inference size, px (square root of the network input's area).
        license: terms of the weights.
        parameters: number of weights.
        scores: measured scores by name, free form.
        tolerances: what the export was compared to, by output: largest allowed absolute difference.
        precision: how the file holds the network: ``float32``; ``float16`` for weights stored in 16 bits and computed
            with in 32; ``int8`` for convolutions in 8 bits. Files without it are float32.
        signature_version: version of this module's contract.
        bins_sha256: hash of the bin centers, see `chroma.bins`.
    """

    run_id: str
    recipe: str
    created: str
    prior: tuple[float, ...]
    vividness_curve: VividnessCurve
    scenes: tuple[str, ...]
    size: int
    license: str
    parameters: int
    scores: dict[str, Any] = field(default_factory=dict)
    tolerances: dict[str, float] = field(default_factory=dict)
    precision: str = "float32"
    signature_version: int = SIGNATURE_VERSION
    bins_sha256: str = BINS_SHA256

    def __post_init__(self) -> None:
        """Refuse a stamp that cannot be of a model of this signature.

        Raises:
            SignatureError: a value of another type, another signature version, other bins, a size that the network
                cannot take, or a prior of the wrong length, sum or sign.
        """
        for each in fields(self):
            kind: Any = get_origin(each.type) or each.type
            value = getattr(self, each.name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise SignatureError(f"the stamp's {each.name} must be {kind.__name__}, is {type(value).__name__}")
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in self.tolerances.values()):
            raise SignatureError("the stamp's tolerances must be numbers")
        if self.signature_version != SIGNATURE_VERSION:
            raise SignatureError(
                f"model has signature version {self.signature_version}, this program speaks {SIGNATURE_VERSION}: "
                "export the model again, or install the matching release"
            )
        if self.bins_sha256 != BINS_SHA256:
            raise SignatureError(f"model was trained on other ab bins (sha256 {self.bins_sha256[:12]}...)")
        if len(self.prior) != Q or not 0.999 < sum(self.prior) < 1.001 or min(self.prior) < 0:
            raise SignatureError(f"the stamp's prior must hold {Q} shares >= 0 that sum to 1")
        if self.size < SIZE_MULTIPLE or self.size % SIZE_MULTIPLE:
            raise SignatureError(f"the stamp's size must be a positive multiple of {SIZE_MULTIPLE}, is {self.size}")

    def to_json(self) -> str:
        """Return the stamp as JSON text with sorted keys."""
        told = asdict(self) | {"vividness_curve": self.vividness_curve.to_rows()}
        return json.dumps(told, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Stamp":
        """Read a stamp.

        Raises:
            SignatureError: not JSON, a field is missing or unknown, or `__post_init__` refuses it.
        """
        try:
            told = json.loads(text)
            told["vividness_curve"] = VividnessCurve.from_rows(told["vividness_curve"])
            told["prior"] = tuple(float(share) for share in told["prior"])
            told["scenes"] = tuple(str(name) for name in told["scenes"])
            return cls(**told)
        except SignatureError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise SignatureError(f"the model's stamp cannot be read: {error}") from error
