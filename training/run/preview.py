"""Preview pictures: what users would see, at each evaluation, as one PNG."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import keras
import numpy as np

from chroma.compose import compose_u8
from chroma.decoding import Knobs
from training.data.batches import Batch
from training.run.prediction import ORIGINAL_DECODES, Decoder, predict_heads
from training.whole_files import write_whole

COLUMNS: Final = ("truth", "gray", "regression", "argmax", "annealed .38", "default")
"""What is shown of a sample."""

ACROSS: Final = 3
"""So many of them stand side by side, the others below: on a page each is large enough to be judged."""

TITLE_PX: Final = 20
"""Height of a line that names them."""

PLAIN: Final = Knobs(temperature=1.0, tau=0.0, cap=1.0, gain=1.0)


def preview_grid(model: keras.Model, batch: Batch, decoder: Decoder, knobs: Knobs) -> np.ndarray:
    """Colorize a batch in several ways.

    Args:
        model: with the weights to judge.
        batch: a few validation samples.
        decoder: of the run.
        knobs: what the run decodes with by default.

    Returns:
        RGB, uint8: for each sample two lines of three of `COLUMNS`, their names above them,
        (2 * N * (TITLE_PX + S), 3 * S, 3).
    """
    heads = predict_heads(model, batch.lightness)
    # The heads as they are: no guard against red, no gain.
    bare = replace(decoder, guard=False)
    ways = [
        batch.ab[..., :2],
        np.zeros_like(batch.ab[..., :2]),
        bare.ab(heads, "regression", PLAIN),
        bare.ab(heads, "argmax", PLAIN),
        bare.ab(heads, "annealed", ORIGINAL_DECODES["annealed"]),
        decoder.ab(heads, "annealed", knobs),
    ]
    width_px = batch.lightness.shape[2]
    lines = []
    for place in range(len(batch.lightness)):
        for start in range(0, len(ways), ACROSS):
            pictures = [compose_u8(batch.lightness[place], ab[place]) for ab in ways[start : start + ACROSS]]
            lines += [_titles(COLUMNS[start : start + ACROSS], width_px), np.concatenate(pictures, axis=1)]
    return np.concatenate(lines, axis=0)


def write_png(path: Path, rgb_u8: np.ndarray) -> None:
    """Write RGB, uint8, (H, W, 3), as a PNG, whole or not at all.

    Raises:
        RunFolderError: the disk refuses.
    """
    write_whole(path, cv2.imencode(".png", np.ascontiguousarray(rgb_u8[..., ::-1]))[1].tobytes())


def _titles(names: Sequence[str], width_px: int) -> np.ndarray:
    """Return the line of names over columns of a width."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    line = np.full((TITLE_PX, width_px * len(names), 3), 255, np.uint8)
    for place, name in enumerate(names):
        widest = cv2.getTextSize(name, font, 1.0, 1)[0][0]
        scale = min(0.42, (width_px - 4) / widest)
        cv2.putText(line, name, (place * width_px + 2, TITLE_PX - 6), font, scale, (30, 30, 30), 1, cv2.LINE_AA)
    return line
