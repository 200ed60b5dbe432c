"""The modes: four ways to read ab off the model's outputs, the same in training and in the service."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Float

from chroma.decoding import argmax_ab, fuse
from chroma.signature import AB, AB_DECODED, AB_LOGITS, SPREAD

Mode = Literal["annealed", "regression", "fused", "argmax"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
MODE_OUTPUTS: Final[dict[Mode, tuple[str, ...]]] = {
    "annealed": (AB_DECODED,),
    "regression": (AB,),
    "fused": (AB_DECODED, AB, SPREAD),
    "argmax": (AB_LOGITS,),
}
"""The outputs that each mode reads, by their names in `chroma.signature`; fetching no more keeps 5 MB of logits a
picture inside the graph."""


def outputs_to_ab(
    outputs: Mapping[str, np.ndarray], mode: Mode, *, centers: Float[np.ndarray, "Q 2"], gain: float
) -> Float[np.ndarray, "*shape 2"]:
    """Read ab off the outputs of the model.

    Args:
        outputs: by name, at least the `MODE_OUTPUTS` of the mode; shapes (..., 2), (..., Q) and (..., 1), float32.
            `ab_decoded` has the gain already, since `chroma.decoding.decode` guards reds after it.
        mode: `annealed` takes the decoded posterior, `regression` the regression head, `fused` mixes the two by the
            posterior's spread, `argmax` takes the most probable bin.
        centers: bin centers in Lab units, shape (Q, 2).
        gain: factor on the chroma of the other heads, >= 0, see `chroma.decoding.VividnessCurve.relative_gain`.

    Returns:
        ab in Lab units, float32, shape (..., 2).
    """
    factor = np.float32(gain)
    if mode == "annealed":
        return outputs[AB_DECODED]
    if mode == "regression":
        return outputs[AB] * factor
    if mode == "fused":
        return fuse(outputs[AB_DECODED], outputs[AB] * factor, outputs[SPREAD])
    return argmax_ab(outputs[AB_LOGITS], centers) * factor
