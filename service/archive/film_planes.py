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

from chroma.compose import Enlargement, compose
from chroma.lab import lab_planes_to_rgb
from service.archive.film_pixels import BT709, LIMITED, LUMA, Gray, Scale, gray_shares

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LUMA_STEPS: Final = 2048
"""L from 0 to 100 in so many steps: what lies between them is interpolated."""


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
    # 8 bits of RGB are enough for 8 bits of luma and color differences: the mean of four is no finer.
    rgb = compose(L, ab, enlargement=enlargement)
    luma, blue, red = cv2.split(cv2.transform(rgb.astype(np.float32), _to_codes(is_deep, 1.0)))
    luma -= cv2.remap(
        _luma_of_grays(is_deep), L[..., 0] * np.float32(LUMA_STEPS / 100), np.zeros_like(luma), cv2.INTER_LINEAR
    )
    more = cv2.resize(luma, (width, height), interpolation=cv2.INTER_LINEAR)
    frame = VideoFrame(width, height, "yuv420p10le" if is_deep else "yuv420p")
    scale, depth = (4, cv2.CV_16U) if is_deep else (1, cv2.CV_8U)
    _put(frame.planes[0], cv2.add(more, gray.look_up(_luma_table(gray.scale, is_deep)), dtype=depth), 235 * scale)
    for plane, values in zip(frame.planes[1:], (blue, red), strict=True):
        _put(plane, cv2.add(values, np.full_like(values, 128 * scale), dtype=depth), 240 * scale)
    frame.colorspace, frame.color_range = BT709, LIMITED
    return frame


def _padded(levels: np.ndarray, height: int, width: int) -> np.ndarray:
    missing = (height - levels.shape[0], width - levels.shape[1])
    return np.pad(levels, ((0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else levels


def _put(plane: Any, levels: Shaped[np.ndarray, "rows columns"], highest: int) -> None:
    stored = np.frombuffer(plane, levels.dtype).reshape(plane.height, -1)
    np.clip(levels, 16 if highest < 256 else 64, highest, out=stored[:, : levels.shape[1]])


@cache
def _to_codes(is_deep: bool, top: float) -> Float[np.ndarray, "3 4"]:
    """Return what makes luma and color differences, these around 0, of RGB up to `top`; the last column is added."""
    red, blue = LUMA[BT709]
    luma = np.array([red, 1 - red - blue, blue])
    to_blue, to_red = (([0, 0, 1] - luma) / (2 - 2 * blue), ([1, 0, 0] - luma) / (2 - 2 * red))
    scale = 4 if is_deep else 1
    rows = np.array([219 * luma, 224 * to_blue, 224 * to_red]) * scale / top
    return np.column_stack([rows, (16 * scale, 0, 0)])


@cache
def _luma_table(scale: Scale, is_deep: bool) -> Float32[np.ndarray, "levels"]:
    """Return the answer's luma for each level of a gray."""
    return (gray_shares(scale) * np.float32(219) + np.float32(16)) * np.float32(4 if is_deep else 1)


@cache
def _luma_of_grays(is_deep: bool) -> Float32[np.ndarray, "1 steps"]:
    """Return the answer's luma of grays with L from 0 to 100."""
    L = np.linspace(0, 100, LUMA_STEPS + 1, dtype=np.float32)
    share = lab_planes_to_rgb(L, np.zeros_like(L), np.zeros_like(L))[1]
    return np.asarray((share[None] * np.float32(219) + np.float32(16)) * np.float32(4 if is_deep else 1))
