"""How far the exported model may be from what it was made from: the one place that says it."""

from typing import Final

from chroma import signature

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
