"""The small network that judges, pixel by pixel, what belongs to a region: a U-Net, run with NumPy.

It looks at features of each pixel of the grid and, at half that size, at what the colorization network saw there: the
directions of its posterior's logits in which things differ most from what surrounds them, and how far each pixel is
like the marks along them.

References:
    Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015.
    Fisher, "The Use of Multiple Measurements in Taxonomic Problems", Annals of Eugenics 7(2), 1936 (the directions).
"""

from functools import lru_cache
from importlib import resources
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32

MODEL_FILE: Final = "region_model.npz"
MOST: Final = 5.0
"""Directions are cut off here, deviations: another network's posterior may lie elsewhere."""
LEVELS: Final = 4
"""Grids that the network works on, each half the size of the one before."""
BLOCK_PX: Final = 2 ** (LEVELS - 1)


def directions_of(logits: Float[np.ndarray, "n m Q"]) -> Float32[np.ndarray, "n m D"]:
    """Return logits along the directions in which things differ from what surrounds them: deviation 1, at most 5.

    Args:
        logits: over the ab bins, shape (n, m, Q).

    Returns:
        float32, shape (n, m, 24).
    """
    model = load_model()
    flat = np.asarray(logits, np.float32).reshape(-1, logits.shape[-1])
    flat = flat - flat.mean(axis=-1, keepdims=True)
    seen = np.clip(flat @ model["directions"] + model["offset"], -MOST, MOST)
    return seen.reshape(*logits.shape[:2], -1)


def judge(
    near: Float32[np.ndarray, "h w F"], seen: Float32[np.ndarray, "half_h half_w S"]
) -> Float32[np.ndarray, "h w"]:
    """Return how far each pixel belongs to a region.

    Args:
        near: features of each pixel.
        seen: at half the size, rounded up: directions and likeness.

    Returns:
        Shares in [0, 1], shape (h, w).
    """
    model = load_model()
    height, width = near.shape[:2]
    rows, columns = -height % BLOCK_PX, -width % BLOCK_PX
    near = np.pad((near - model["mean"]) / model["deviation"], ((0, rows), (0, columns), (0, 0)), mode="edge")
    half = (near.shape[0] // 2, near.shape[1] // 2)
    seen = np.pad(seen, ((0, half[0] - seen.shape[0]), (0, half[1] - seen.shape[1]), (0, 0)), mode="edge")

    values = _convolve(_convolve(near, "enter"), "down0")
    kept = [values]
    for level in range(1, LEVELS):
        values = _halve(values)
        if level == 1:
            values = np.concatenate([values, seen], axis=-1)
        values = _convolve(_convolve(values, f"down{level}"), f"again{level}")
        kept.append(values)
    for level in reversed(range(LEVELS - 1)):
        values = _convolve(values, f"narrow{level}").repeat(2, axis=0).repeat(2, axis=1)
        values = _convolve(np.concatenate([values, kept[level]], axis=-1), f"up{level}")
    logit = (values @ model["leave_kernel"][0, 0] + model["leave_bias"])[:height, :width, 0]
    return 1 / (1 + np.exp(-np.clip(logit, -30, 30)))


@lru_cache(maxsize=1)
def load_model() -> dict[str, Float32[np.ndarray, "..."]]:
    """Return the network's arrays by name: kernels have shape (1, 1, C, D) or (3, 3, C, D), float32."""
    with resources.as_file(resources.files("chroma") / "data" / MODEL_FILE) as path, np.load(path) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def _convolve(values: Float32[np.ndarray, "h w C"], name: str) -> Float32[np.ndarray, "h w D"]:
    """Convolve with kernels of 1 x 1 or 3 x 3, zeros around, and cut at zero."""
    kernel, bias = load_model()[f"{name}_kernel"], load_model()[f"{name}_bias"]
    height, width = values.shape[:2]
    if kernel.shape[0] == 3:
        padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
        # (h, w, C, 3, 3) -> (h, w, 3, 3, C), as kernels lie
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
        values = windows.reshape(height, width, -1)
    return np.maximum(values @ kernel.reshape(-1, kernel.shape[-1]) + bias, 0)


def _halve(values: Float32[np.ndarray, "h w C"]) -> Float32[np.ndarray, "half_h half_w C"]:
    return 0.25 * (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2])


def at_half(values: Float32[np.ndarray, "n m S"], shape: tuple[int, int]) -> Float32[np.ndarray, "half_h half_w S"]:
    """Resize bilinearly to half of a grid's size, rounded up.

    Args:
        values: shape (n, m, S).
        shape: height and width of the grid, px.
    """
    size = ((shape[1] + 1) // 2, (shape[0] + 1) // 2)
    return cv2.resize(np.ascontiguousarray(values), size, interpolation=cv2.INTER_LINEAR).reshape(*size[::-1], -1)
