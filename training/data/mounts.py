"""A photograph on its mount: paper round it, with what people stamped and wrote there.

Scans of albums show the paper as well. It has no color that its L could tell of, so gray is what the network learns of
it, and not to take it for sky or skin. Every draw comes from the sample's own generator.
"""

from typing import Final

import cv2
import numpy as np

PAPERS: Final = ((215, 255), (180, 240), (95, 190), (15, 70))
"""Tone of white, cream, gray and black paper, sRGB, 8 bits; one is as frequent as another."""

NO_BORDER: Final = 0.2
"""How often a side shows no paper: the scan was cropped there."""

WIDEST: Final = (0.22, 0.22, 0.18, 0.32)
"""Border left, right, above and below the photograph, at most, as a share of the side."""

NARROWEST: Final = 0.03

LIGHT: Final = 80
"""Paper of a lighter tone takes dark ink, other paper light ink."""

MOST_STAIN: Final = 8.0
"""Largest deviation of the paper's tone over a wide area, 8-bit steps."""

MOST_GRAIN: Final = 3.0
"""Standard deviation of its texture at most, 8-bit steps."""

FRAMED: Final = 0.4
"""How often a line runs round the photograph."""

OVAL: Final = 0.12
"""How often the photograph is cut to an oval."""

MOST_WORDS: Final = 3

LETTERS: Final = "ABCDEFGHIKLMNOPRSTUVWZabcdefghiklmnoprstuvwz0123456789&.,"


def mount(square_u8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a photograph on paper.

    Args:
        square_u8: the photograph, sRGB, uint8, (S, S, 3).
        rng: source of chance.

    Returns:
        The photograph, reduced, with gray paper round it, uint8, (S, S, 3). The paper's three channels are equal.
    """
    side = square_u8.shape[0]
    left, right, above, below = (
        0 if rng.random() < NO_BORDER else round(side * rng.uniform(NARROWEST, widest)) for widest in WIDEST
    )
    height, width = max(side - above - below, 1), max(side - left - right, 1)
    tone = rng.uniform(*PAPERS[int(rng.integers(len(PAPERS)))])
    paper = _paper(side, tone, rng)
    ink = int(tone * rng.uniform(0.2, 0.7) if tone > LIGHT else rng.uniform(120, 230))
    _write(paper, (left, above, left + width, above + height), ink, rng)
    picture = np.repeat(paper[..., None], 3, axis=-1)
    reduced = cv2.resize(square_u8, (width, height), interpolation=cv2.INTER_AREA)
    place = picture[above : above + height, left : left + width]
    if rng.random() < OVAL:
        shown = np.zeros((height, width), np.uint8)
        cv2.ellipse(shown, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
        place[shown == 1] = reduced[shown == 1]
    else:
        place[:] = reduced
    return picture


def _paper(side: int, tone: float, rng: np.random.Generator) -> np.ndarray:
    """Paper with stains and texture, uint8, (S, S)."""
    stain = cv2.resize(rng.uniform(-1, 1, (4, 4)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, rng.uniform(0, MOST_GRAIN), (side, side))
    return np.clip(np.rint(tone + stain * rng.uniform(0, MOST_STAIN) + grain), 0, 255).astype(np.uint8)


def _write(paper: np.ndarray, photo: tuple[int, int, int, int], ink: int, rng: np.random.Generator) -> None:
    """Draw a line round the photograph, words and stamps; what falls on the photograph is covered by it later."""
    side = paper.shape[0]
    left, top, right, bottom = photo
    if rng.random() < FRAMED:
        away = int(rng.integers(1, max(side // 24, 2) + 1))
        cv2.rectangle(paper, (left - away, top - away), (right + away - 1, bottom + away - 1), ink, 1)
    for _ in range(int(rng.integers(MOST_WORDS + 1))):
        word = "".join(rng.choice(list(LETTERS), int(rng.integers(3, 11))))
        # Mostly below the photograph, as photographers signed.
        lowest = bottom if rng.random() < 0.7 and bottom < side else 0
        at = (int(rng.integers(-side // 8, side)), int(rng.integers(lowest, side)))
        font = int(rng.choice([cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX]))
        cv2.putText(paper, word, at, font, rng.uniform(0.2, 0.9) * side / 160, ink, 1, cv2.LINE_AA)
        if rng.random() < 0.4:
            axes = (int(rng.integers(side // 16, side // 6 + 1)), int(rng.integers(side // 20, side // 9 + 1)))
            cv2.ellipse(paper, at, axes, rng.uniform(-20, 20), 0, 360, ink, 1, cv2.LINE_AA)
