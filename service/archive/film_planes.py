"""From a film's grays and the colors of the network to the planes of the answer, without RGB at full size.

The answer stores color at half the size, so color is computed there: L is halved, joined with ab and brought into sRGB.
Luma is what the film has, plus by how much the luma of the color differs from that of a gray as light, enlarged. On
photographs with the network's colors L, as a player shows it, is off by 0.13 on average (99 % within 0.6): as far as by
full-size RGB, of which color is what is halved.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, Shaped

from chroma.compose import Enlargement, compose_planes
from chroma.lab import lab_planes_to_rgb
from chroma.strips import each_strip
from service.archive.film_pixels import BT709, LIMITED, LUMA, Gray, Scale, gray_shares

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LUMA_STEPS: Final = 2048
"""L from 0 to 100 in so many steps: what lies between them is interpolated."""

STRIP_PIXELS: Final = 1 << 16
"""Pixels of a strip: its temporaries fit a core's cache."""


def to_frame(gray: Gray, ab: Float[np.ndarray, "h w 2"], *, is_deep: bool, enlargement: Enlargement) -> "VideoFrame":
    """Return a frame of `yuv420p`, or of `yuv420p10le`, BT.709 and limited range.

    Args:
        gray: of the film; a last odd row or column is repeated.
        ab: its colors, Lab units, shape (h, w, 2).
        is_deep: whether the answer has 10 bits, not 8.
        enlargement: as in `chroma.compose.compose`.
    """
    from av.video.frame import VideoFrame

    height, width = (side + side % 2 for side in gray.levels.shape)
    gray = Gray(_padded(gray.levels, height, width), gray.scale)
    L = cv2.resize(gray.lightness(), (width // 2, height // 2), interpolation=cv2.INTER_AREA)[..., None]
    scale, name, depth = (4, "yuv420p10le", cv2.CV_16U) if is_deep else (1, "yuv420p", cv2.CV_8U)
    more, blue, red = _color_codes(L, ab, enlargement, np.float32(scale))
    luma = cv2.resize(more, (width, height), interpolation=cv2.INTER_LINEAR)
    frame = VideoFrame(width, height, name)
    _put(frame.planes[0], cv2.add(luma, gray.look_up(_luma_table(gray.scale, is_deep)), dtype=depth), 235 * scale)
    for plane, values in zip(frame.planes[1:], (blue, red), strict=True):
        _put(plane, cv2.add(values, np.full_like(values, 128 * scale), dtype=depth), 240 * scale)
    frame.colorspace, frame.color_range = BT709, LIMITED
    return frame


def _color_codes(
    L: Float32[np.ndarray, "H W 1"], ab: Float[np.ndarray, "h w 2"], enlargement: Enlargement, scale: np.float32
) -> Float32[np.ndarray, "3 H W"]:
    """Return by how much luma is more than that of a gray of the same L, and the color differences around 0.

    All in codes, of which 8 bits have as many as `scale` times 256.
    """
    codes = np.empty((3, *L.shape[:2]), np.float32)
    rgb_of_rows = compose_planes(L, ab, enlargement=enlargement)
    (more_red, more_blue), more_green = map(np.float32, LUMA[BT709]), np.float32(1 - sum(LUMA[BT709]))

    def fill(top: int, bottom: int) -> None:
        red, green, blue = rgb_of_rows(top, bottom)
        luma, to_blue, to_red = codes[:, top:bottom]
        np.multiply(red, more_red, out=luma)
        green *= more_green
        luma += green
        luma += np.multiply(blue, more_blue, out=green)
        np.multiply(np.subtract(blue, luma, out=to_blue), scale * 112 / (1 - more_blue), out=to_blue)
        np.multiply(np.subtract(red, luma, out=to_red), scale * 112 / (1 - more_red), out=to_red)
        steps = L[top:bottom, :, 0] * np.float32(LUMA_STEPS / 100)
        luma -= cv2.remap(_luma_of_grays(), steps, np.zeros_like(steps), cv2.INTER_LINEAR)
        luma *= scale * 219

    each_strip(fill, L.shape[0], max(STRIP_PIXELS // L.shape[1], 1))
    return codes


def _padded(levels: np.ndarray, height: int, width: int) -> np.ndarray:
    missing = (height - levels.shape[0], width - levels.shape[1])
    return np.pad(levels, ((0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else levels


def _put(plane: Any, levels: Shaped[np.ndarray, "rows columns"], highest: int) -> None:
    stored = np.frombuffer(plane, levels.dtype).reshape(plane.height, -1)
    np.clip(levels, 16 if highest < 256 else 64, highest, out=stored[:, : levels.shape[1]])


@cache
def _luma_table(scale: Scale, is_deep: bool) -> Float32[np.ndarray, "levels"]:
    """Return the answer's luma for each level of a gray."""
    return (gray_shares(scale) * np.float32(219) + np.float32(16)) * np.float32(4 if is_deep else 1)


@cache
def _luma_of_grays() -> Float32[np.ndarray, "1 steps"]:
    """Return the luma of grays with L from 0 to 100, [0, 1]."""
    L = np.linspace(0, 100, LUMA_STEPS + 1, dtype=np.float32)
    return np.asarray(lab_planes_to_rgb(L, np.zeros_like(L), np.zeros_like(L))[1:2])
