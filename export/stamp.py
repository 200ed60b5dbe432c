"""Run -> stamp, and the stamp's way into and out of the ONNX file: the model says what it is."""

from datetime import date
from typing import TYPE_CHECKING, Final

from onnx import ModelProto

from chroma.signature import STAMP_KEY, SignatureError, Stamp
from export.tolerances import Precision, tolerances_for

if TYPE_CHECKING:
    from training.run.run_folder import Run

LICENSE: Final = (
    "Weights: Apache-2.0, without warranty. Learned from photographs that belong to their owners and stay under the "
    "terms of the data sets they come from; see the model card."
)
"""Terms of the weights, where the caller names no other."""
LICENSE_PRETRAINED: Final = " The encoder started from EfficientNet-Lite2's ImageNet weights (Apache-2.0)."


def make_stamp(
    run: "Run",
    *,
    parameters: int,
    created: date,
    license_note: str | None = None,
    precision: Precision = "float32",
) -> Stamp:
    """Write down what a model made from a run is.

    Args:
        run: an opened run folder; its scores are those of the last `photochrom-train evaluate`, or none.
        parameters: number of the network's weights.
        created: day of the export.
        license_note: terms of the weights; None means `LICENSE`.
        precision: of the file; the scores are those of the run, in float32, all the same.

    Returns:
        The stamp.

    Raises:
        SignatureError: the run's prior, curve or size cannot be those of a model.
    """
    terms = LICENSE + (LICENSE_PRETRAINED if run.recipe.model.pretrained else "")
    return Stamp(
        run_id=run.run_id,
        recipe=run.recipe.name,
        created=created.isoformat(),
        prior=tuple(float(share) for share in run.prior),
        vividness_curve=run.curve,
        scenes=run.scenes,
        size=run.recipe.size,
        license=terms if license_note is None else license_note,
        parameters=parameters,
        scores=run.evaluation(),
        tolerances=tolerances_for(parameters, precision),
        precision=precision,
    )


def write_stamp(model: ModelProto, stamp: Stamp) -> None:
    """Put a stamp into a model's metadata, in place of an older one."""
    others = [entry for entry in model.metadata_props if entry.key != STAMP_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=STAMP_KEY, value=stamp.to_json())


def read_stamp(metadata: dict[str, str]) -> Stamp:
    """Read the stamp from a model's metadata.

    Args:
        metadata: `custom_metadata_map` of an ONNX Runtime session.

    Returns:
        The stamp.

    Raises:
        SignatureError: there is none, or it is broken or not ours.
    """
    if STAMP_KEY not in metadata:
        raise SignatureError("the model has no stamp")
    return Stamp.from_json(metadata[STAMP_KEY])
