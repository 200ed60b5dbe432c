"""Photographs on mounts, drawn: paper round a photograph, with what people stamped and wrote on it.

Paper has no color that a gray picture could tell of, so its true answer is gray, whatever its tone: white, cream (whose
own gray goes in) or gray.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np

from benchmarks.quality.sets import to_gray

COUNT: Final = 12
PAPERS: Final = {"white": (244, 244, 244), "cream": (240, 226, 194), "gray": (168, 168, 168)}
"""sRGB, 8 bits."""
GRAIN: Final = 1.5
"""Standard deviation of the paper's texture, 8-bit steps."""
INK: Final = 0.45
"""Light that ink leaves, as a share of the paper's 8-bit value."""


def mounts(photographs: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield 12 mounts: name, gray picture, uint8, (H, W), and where paper is, (H, W).

    Papers take turns; so do widths of the border, and where stamp and writing are.

    Args:
        photographs: sRGB, uint8, (h, w, 3); they take turns, too.

    Raises:
        ValueError: there are none.
    """
    if not photographs:
        raise ValueError("no photographs to mount")
    for index in range(COUNT):
        name, color = list(PAPERS.items())[index % len(PAPERS)]
        paper = int(to_gray(np.array([[color]], np.uint8))[0, 0])
        yield f"{name} {index + 1}", *_mount(to_gray(photographs[index % len(photographs)]), paper, index)


def _mount(photo: np.ndarray, paper: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    side, top, bottom = 28 + 12 * (index % 4), 24 + 10 * (index % 3), 64 + 8 * (index % 4)
    H, W = photo.shape[0] + top + bottom, photo.shape[1] + 2 * side
    ink, below = round(INK * paper), H - bottom
    picture = np.full((H, W), paper, np.uint8)
    cv2.rectangle(picture, (side - 6, top - 6), (W - side + 5, below + 5), ink, 1)
    cv2.putText(picture, "Atelier", (side, below + 28), cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, 0.8, ink, 1, cv2.LINE_AA)
    cv2.putText(picture, f"No. {1871 + index}", (side, H - 8), cv2.FONT_HERSHEY_PLAIN, 0.9, ink, 1, cv2.LINE_AA)
    stamp = (W - side - 40, below + bottom // 2) if index % 2 else (W // 2 + 20, below + bottom // 2 - 4)
    cv2.ellipse(picture, stamp, (34, 20), 12, 0, 360, ink, 2, cv2.LINE_AA)
    cv2.putText(picture, "STUDIO", (stamp[0] - 25, stamp[1] + 4), cv2.FONT_HERSHEY_PLAIN, 0.8, ink, 1, cv2.LINE_AA)
    grained = picture + np.random.default_rng(index).normal(0, GRAIN, picture.shape)
    picture = np.clip(np.rint(grained), 0, 255).astype(np.uint8)
    is_paper = np.ones((H, W), bool)
    is_paper[top:below, side : W - side] = False
    picture[~is_paper] = photo.ravel()
    return picture, is_paper
