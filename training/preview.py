"""Preview pictures: what users would see, each epoch, as one PNG."""

from pathlib import Path

import cv2
import keras
import numpy as np

from chroma.compose import compose_u8
from training.data import Batch
from training.prediction import CURVE, Decoder, predict_heads

COLUMNS = ("gray", "argmax", "calm", "default", "vivid", "truth")
"""The grid's columns, left to right."""


def preview_grid(model: keras.Model, batch: Batch, decoder: Decoder) -> np.ndarray:
    """Colorize a batch in several ways.

    Args:
        model: with the weights to judge.
        batch: a few validation samples.
        decoder: of the run.

    Returns:
        RGB, uint8: one row a sample, `COLUMNS` side by side, (N * S, 6 * S, 3).
    """
    heads = predict_heads(model, batch.lightness)
    ways = [
        np.zeros_like(batch.ab[..., :2]),
        decoder.ab(heads, "argmax", CURVE.at(0.0)),
        *(decoder.ab(heads, "annealed", CURVE.at(vividness)) for vividness in (0.0, 0.5, 1.0)),
        batch.ab[..., :2],
    ]
    rows = [
        np.concatenate([compose_u8(batch.lightness[place], ab[place]) for ab in ways], axis=1)
        for place in range(len(batch.lightness))
    ]
    return np.concatenate(rows, axis=0)


def write_png(path: Path, rgb_u8: np.ndarray) -> None:
    """Write RGB, uint8, (H, W, 3), as a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb_u8[..., ::-1]))
    if not done:
        raise OSError(f"cannot encode {path.name}")
    path.write_bytes(data.tobytes())
