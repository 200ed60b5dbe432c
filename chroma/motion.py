"""How one frame of a film became the next: where each point came from, and whether it is the same scene at all.

Both look at L alone, as small as the network sees it, and neither minds the light: exposure that pumps, a flash that
does not burn out and a fade leave the pattern of a scene as it is.

References:
    Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
"""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float

STILL_PX: Final = 0.1
"""Motion up to this is none, grid px: it is mostly grain, and every resampling blurs."""
FLAT_L: Final = 1.5
"""A frame whose L varies by less than this (standard deviation, Lab units) shows nothing: black, white, fog."""
DETAIL_SHARE: Final = 0.3
"""Detail is what is finer than this share of the shorter side of a frame."""
SAME_DETAIL: Final = 0.65
"""Likeness in detail from which on two frames show one scene. Measured on twenty photographs, with grain and pumping
light: 0.90 and more while the camera pans by 2.5 % of the width a frame, 0.40 and less over 380 cuts."""
SAME_PATTERN: Final = 0.9
"""The same for the whole pattern, which grain cannot hide: 0.91 and more while panning by 5 %, 0.69 and less over
cuts."""
CHANGED_CONTRAST: Final = 0.5
"""A point changed if its L did by more than this share of the frame's contrast (its standard deviation)..."""
CHANGED_SHARE: Final = 0.3
"""...and a scene is the same if less than this share of it changed, however strongly: someone walks in. Measured: 0.09
and less while panning, 0.47 and more over cuts."""

_SMALLEST_FLOW_PX: Final = 16  # DIS refuses smaller pictures


def backward_flow(
    before: Float[np.ndarray, "H W 1"], after: Float[np.ndarray, "H W 1"], shape: tuple[int, int]
) -> Float[np.ndarray, "h w 2"]:
    """Return where each point of a frame was in the frame before (DIS optical flow).

    Args:
        before: L in [0, 100], shape (H, W, 1).
        after: L of the next frame, shape (H, W, 1).
        shape: (h, w) of the grid that the answer is for, px; at most (H, W).

    Returns:
        Offsets (x, y) into `before`, px of the grid, float32, shape (h, w, 2); 0 where there is next to none.
    """
    h, w = shape
    H, W = after.shape[:2]
    if min(H, W) < _SMALLEST_FLOW_PX:
        return np.zeros((h, w, 2), np.float32)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = search.calc(_levels(after), _levels(before), np.zeros((H, W, 2), np.float32))
    small = cv2.resize(flow, (w, h), interpolation=cv2.INTER_AREA) * np.array([w / W, h / H], np.float32)
    small = cv2.blur(small, (3, 3), borderType=cv2.BORDER_REPLICATE)  # Grain makes neighbors disagree.
    small[np.hypot(small[..., 0], small[..., 1]) < STILL_PX] = 0
    return small


def is_same_scene(before: Float[np.ndarray, "h w 1"], after: Float[np.ndarray, "h w 1"]) -> bool:
    """Return whether two frames show one scene, whatever the light.

    Args:
        before: L, shape (h, w, 1), moved to where the next frame has it.
        after: L of the next frame, shape (h, w, 1).

    Returns:
        False as well when one of the two shows nothing.
    """
    if is_flat(before) or is_flat(after):
        return False
    if likeness(before, after) >= SAME_PATTERN or likeness(_detail(before), _detail(after)) >= SAME_DETAIL:
        return True
    changed = np.abs(after - match_light(before, after)) > CHANGED_CONTRAST * after.std()
    return bool(changed.mean() < CHANGED_SHARE)


def likeness(before: Float[np.ndarray, "h w 1"], after: Float[np.ndarray, "h w 1"]) -> float:
    """Return the correlation of two maps of shape (h, w, 1), [-1, 1]; 0 when one of them is constant."""
    first, second = (values.astype(np.float64).ravel() for values in (before, after))
    first, second = first - first.mean(), second - second.mean()
    power = float((first @ first) * (second @ second))
    return float(first @ second) / power**0.5 if power > 0 else 0.0


def is_flat(L: Float[np.ndarray, "h w 1"]) -> bool:
    """Return whether a frame, L of shape (h, w, 1), shows nothing."""
    return float(L.std()) < FLAT_L


def match_light(L: Float[np.ndarray, "h w 1"], model: Float[np.ndarray, "h w 1"]) -> Float[np.ndarray, "h w 1"]:
    """Bring a frame to the exposure of another.

    Args:
        L: of a frame, shape (h, w, 1).
        model: L of the frame whose mean and contrast are wanted, shape (h, w, 1).

    Returns:
        L with the mean of the model, and with its contrast within a factor of 2; float32, shape (h, w, 1).
    """
    contrast = np.clip(model.std() / max(float(L.std()), 1e-3), 0.5, 2)
    return np.asarray((L - L.mean()) * contrast + model.mean(), np.float32)


def _detail(L: Float[np.ndarray, "h w 1"]) -> Float[np.ndarray, "h w 1"]:
    side = max(round(DETAIL_SHARE * min(L.shape[:2])), 3)
    coarse = cv2.blur(L[..., 0], (side, side), borderType=cv2.BORDER_REPLICATE)
    return (L[..., 0] - coarse)[..., None]


def _levels(L: Float[np.ndarray, "H W 1"]) -> np.ndarray:
    return np.clip(L[..., 0] * np.float32(2.55), 0, 255).astype(np.uint8)
