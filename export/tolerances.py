"""How far the exported model may be from what it was made from: the one place that says it."""

from typing import Final, Literal

from chroma import signature
from export import PrecisionError

Precision = Literal["float32", "float16", "int8"]
"""How a file holds the network, see `export.precision` and `export.quantization`."""

TOLERANCES: Final = {
    signature.AB: 1e-3,
    signature.AB_DECODED: 1e-3,
    signature.AB_LOGITS: 1e-4,
    signature.SCENE_LOGITS: 1e-4,
    signature.SPREAD: 1e-2,
}
"""Largest allowed absolute difference by output; Lab units, and nats for logits.

The eye sees a difference of about 1 Lab unit, and 8-bit pictures cannot hold less than about 0.3. The spread is the
square root of a difference of large squares, so float32 knows it less well where it is near 0. docs/export.md
says what is measured.
"""

WIDE_PARAMETERS: Final = 20_000_000
"""A network with more weights than this is wide: only those of the original systems are."""
WIDE_TOLERANCES: Final = TOLERANCES | {signature.AB: 3e-2, signature.AB_LOGITS: 5e-4}
"""Of wide networks. Each of their values is a sum of up to 18,000 products, a layer after a layer; ONNX Runtime and
TensorFlow add in another order. Full-size networks with random weights differ by 2.3e-4 in the logits and 1.7e-2 Lab
units in the regression, where it saturates; no eye sees that either."""

ROUNDED: Final[dict[str, dict[str, float]]] = {
    "float32": {},
    "float16": {signature.AB: 0.5, signature.AB_LOGITS: 0.2, signature.SCENE_LOGITS: 0.2},
    "int8": {signature.AB: 10.0, signature.AB_LOGITS: 3.0, signature.SCENE_LOGITS: 3.0},
}
"""What rounding the network costs its heads, at the worst of the thousands of values compared: five to ten times what
is measured on test pictures that no camera takes. A network that is broken rather than rounded is further off. The
decode is float32 in every file, and its tolerances stay."""
PICTURE_TOLERANCE: Final = 1.0
"""Mean absolute difference between the pictures that a rounded network and the network in float32 give, of 255."""


def tolerances_for(parameters: int, precision: str = "float32") -> dict[str, float]:
    """Return the largest allowed absolute difference by output.

    Args:
        parameters: number of weights of the network.
        precision: of the file.

    Raises:
        PrecisionError: there is no such precision.
    """
    if precision not in ROUNDED:
        raise PrecisionError(f"no precision {precision}: there are {', '.join(ROUNDED)}")
    return (WIDE_TOLERANCES if parameters > WIDE_PARAMETERS else TOLERANCES) | ROUNDED[precision]
