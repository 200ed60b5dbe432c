"""From a film's frames to their grays: range, depth, matrix, orientation.

FFmpeg's own conversion is used for packed formats only. It takes gray that is tagged limited (16 to 235) for full, and
makes 10 bits up to two of 255 levels darker.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Shaped

from chroma.lab import gray_to_lightness, lab_planes_to_rgb
from service.pictures.lightness import lightness_of

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

BT709: Final = 1
"""Matrix, primaries and transfer of the answer, by FFmpeg's numbers."""

LIMITED: Final = 1
"""Range of levels from 16 to 235 (of 8 bits), by FFmpeg's number."""

FULL: Final = 2
"""Range of all levels, by FFmpeg's number."""

LUMA: Final = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""Shares of red and blue in luma by FFmpeg's number of the matrix: BT.709, FCC, SMPTE 240M, BT.2020 (ITU-T H.273)."""

LUMA_601: Final = (0.299, 0.114)
"""The same of BT.601, which is also meant where nothing is said, in..."""

SMALL_ROWS: Final = 720
"""...frames of fewer rows than these; others are BT.709 then, as players take it."""

NEUTRAL: Final = 2
"""Color differences up to this, of 8 bits, are noise of the encoder: they change L by less than 0.1."""

PLANAR: Final = re.compile(r"(gray|yuvj?a?\d{3}p)(\d*)(?:le|be)?")
"""Names of the pixel formats whose planes are read here, by FFmpeg."""


class Orientation(NamedTuple):
    """How a frame becomes upright: what is true is done, in this order."""

    transposed: bool = False
    """Rows become columns."""
    flipped_x: bool = False
    """Left becomes right."""
    flipped_y: bool = False
    """Top becomes bottom."""

    def upright(self, pixels: Shaped[np.ndarray, "h w"]) -> Shaped[np.ndarray, "H W"]:
        """Return pixels as they are to be seen; (height, width) in and out."""
        turned = pixels.T if self.transposed else pixels
        return np.ascontiguousarray(turned[:: -1 if self.flipped_y else 1, :: -1 if self.flipped_x else 1])


UPRIGHT: Final = Orientation()
"""Of frames that are stored as they are to be seen."""


def orientation_of(frame: "VideoFrame") -> Orientation:
    """Return what a frame's display matrix says, to the nearest of the eight orientations.

    `frame.rotation` is an angle alone: of a mirrored picture it says half a turn, or nothing.
    """
    found: Any = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return Orientation()
    # A point (x, y) goes to (a x + c y, b x + d y), in pixels from the top left.
    a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


class _Planes(NamedTuple):
    luma: Shaped[np.ndarray, "h w"]
    blue: Shaped[np.ndarray, "ch cw"] | None
    red: Shaped[np.ndarray, "ch cw"] | None
    bits: int
    is_limited: bool


class Scale(NamedTuple):
    """What the levels of a gray picture mean."""

    bits: int
    """8 to 16."""
    is_limited: bool = False
    """Whether black is 16 and white 235, of 8 bits."""
    is_lightness: bool = False
    """Whether they are L, and not gray as it is encoded in sRGB."""


LIGHTNESS: Final = Scale(16, is_lightness=True)
"""Of what had colors: its L in steps of 1/655."""


@dataclass(frozen=True, eq=False)
class Gray:
    """A frame without its colors, in its own levels: as small as it can be kept, and exact.

    Attributes:
        levels: uint8 or uint16, shape (H, W).
        scale: what they mean.
    """

    levels: Shaped[np.ndarray, "H W"]
    scale: Scale

    def lightness(self) -> Float32[np.ndarray, "H W 1"]:
        """Return L in [0, 100], float32, shape (H, W, 1)."""
        return self.look_up(_lightness_table(self.scale))[..., None]

    def look_up(self, table: Float32[np.ndarray, "levels"]) -> Float32[np.ndarray, "H W"]:
        """Return what a table has for each level, shape (H, W)."""
        if self.levels.dtype == np.uint8:
            return np.asarray(cv2.LUT(self.levels, table)).reshape(self.levels.shape)
        return table.take(self.levels, mode="clip")


def film_gray(frame: "VideoFrame", height: int, width: int) -> Gray:
    """Return the grays of a frame as it is stored.

    Args:
        frame: of any pixel format.
        height: wanted, px; a frame of another size is scaled.
        width: wanted, px.

    Returns:
        Its luma where it has no color, else its L.
    """
    if is_rgb(frame):
        gray = _gray_of_lightness(lightness_of(_read_rgb(frame)))
    else:
        planes = _read_planes(as_planes(frame))
        if _is_gray(planes):
            gray = Gray(planes.luma, Scale(planes.bits, planes.is_limited))
        else:
            gray = _gray_of_lightness(lightness_of(_to_rgb(planes, frame)))
    if gray.levels.shape == (height, width):
        return gray
    return _gray_of_lightness(cv2.resize(gray.lightness(), (width, height), interpolation=cv2.INTER_LINEAR))


def _gray_of_lightness(L: Float[np.ndarray, "*shape"]) -> Gray:
    return Gray((L.reshape(L.shape[:2]) * np.float32(65535 / 100) + np.float32(0.5)).astype(np.uint16), LIGHTNESS)


def is_rgb(frame: "VideoFrame") -> bool:
    """Return whether a frame's colors are RGB, in whatever way, or black and white."""
    return bool(frame.format.is_rgb or frame.format.has_palette or frame.format.is_bit_stream)


def as_planes(frame: "VideoFrame", *, filtered: bool = False) -> "VideoFrame":
    """Return a frame whose planes can be read: luma as it was, the range as it is tagged.

    Args:
        frame: of luma and color differences, or gray.
        filtered: whether it must also be of a format that FFmpeg's filters take as it is: they know no gray between
            8 and 16 bits, and what they convert by themselves loses its range.

    Returns:
        The same frame where nothing is to be done.
    """
    name, tagged = frame.format.name, frame.color_range
    found = PLANAR.fullmatch(name)
    if found is None:
        bits = max(component.bits for component in frame.format.components)
        planar = frame.reformat(format="yuv444p" if bits <= 8 else "yuv444p16le")
    elif filtered and found[1] == "gray" and found[2] not in ("", "16"):
        planar = frame.reformat(format=f"yuv420p{found[2]}le", src_color_range=FULL, dst_color_range=FULL)
        tagged = tagged or FULL
    elif filtered and frame.format.is_big_endian:
        planar = frame.reformat(format=f"{name[:-2]}le")
    else:
        return frame
    planar.color_range = tagged
    return planar


def _read_rgb(frame: "VideoFrame") -> Shaped[np.ndarray, "h w 3"]:
    from av.video.reformatter import Interpolation

    is_deep = max(component.bits for component in frame.format.components) > 8
    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    rgb: np.ndarray = frame.to_ndarray(format="rgb48le" if is_deep else "rgb24", interpolation=exact)
    return rgb


def _read_planes(frame: "VideoFrame") -> _Planes:
    found = PLANAR.fullmatch(frame.format.name)
    assert found is not None
    bits, is_gray = int(found[2] or 8), found[1] == "gray"
    order = ">" if frame.format.is_big_endian else "<"

    def plane(index: int) -> np.ndarray:
        stored: Any = frame.planes[index]
        rows = np.frombuffer(stored, np.uint8).reshape(-1, stored.line_size)
        levels = rows.view(f"{order}u2" if bits > 8 else "u1")[: stored.height, : stored.width]
        return np.ascontiguousarray(levels, levels.dtype.newbyteorder("="))

    # What is not said means all levels in gray, and 16 to 235 elsewhere; HEVC says what its gray is.
    is_full = "j" in found[1] or frame.color_range == FULL or (is_gray and frame.color_range != LIMITED)
    if is_gray:
        return _Planes(plane(0), None, None, bits, not is_full)
    return _Planes(plane(0), plane(1), plane(2), bits, not is_full)


def _is_gray(planes: _Planes) -> bool:
    if planes.blue is None or planes.red is None:
        return True
    middle, allowed = 1 << planes.bits - 1, NEUTRAL << planes.bits - 8
    ends = [cv2.minMaxLoc(plane)[:2] for plane in (planes.blue, planes.red)]
    return all(middle - allowed <= low and high <= middle + allowed for low, high in ends)


@cache
def _lightness_table(scale: Scale) -> Float32[np.ndarray, "levels"]:
    if scale.is_lightness:
        return np.linspace(0, 100, 1 << scale.bits, dtype=np.float32)
    return np.ascontiguousarray(gray_to_lightness(gray_shares(scale))[:, 0], np.float32)


def gray_shares(scale: Scale) -> Float32[np.ndarray, "levels"]:
    """Return for each level how much of white it is, as encoded in sRGB, [0, 1], float32."""
    if scale.is_lightness:
        L = _lightness_table(scale)
        return np.asarray(lab_planes_to_rgb(L, np.zeros_like(L), np.zeros_like(L))[1])
    codes = np.arange(1 << scale.bits, dtype=np.float32)
    if scale.is_limited:
        codes, top = codes - (16 << scale.bits - 8), 219 << scale.bits - 8
    else:
        top = (1 << scale.bits) - 1
    return np.asarray(np.clip(codes / np.float32(top), 0, 1))


def _to_rgb(planes: _Planes, frame: "VideoFrame") -> Shaped[np.ndarray, "h w 3"]:
    """Return RGB of 8 bits, or of 16 where the frame has more than 8."""
    assert planes.blue is not None
    assert planes.red is not None
    size = planes.luma.shape[::-1]
    channels: list[np.ndarray] = [planes.luma.astype(np.float32)]
    for plane in (planes.blue, planes.red):
        channels.append(cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))
    rgb: np.ndarray = cv2.transform(cv2.merge(channels), _to_rgb_matrix(planes, frame))
    top, dtype = (255, np.uint8) if planes.bits == 8 else (65535, np.uint16)
    rgb *= np.float32(top)
    rgb += np.float32(0.5)
    return np.clip(rgb, 0, top, out=rgb).astype(dtype)


def _to_rgb_matrix(planes: _Planes, frame: "VideoFrame") -> Float[np.ndarray, "3 4"]:
    """Return what makes RGB in [0, 1] of the codes of luma and color differences; the last column is added."""
    unsaid = LUMA[BT709] if planes.luma.shape[0] >= SMALL_ROWS and frame.colorspace in (0, 2, 3) else LUMA_601
    red, blue = LUMA.get(frame.colorspace, unsaid)
    scale, top = 1 << planes.bits - 8, (1 << planes.bits) - 1
    black, luma_span, color_span = (16 * scale, 219 * scale, 224 * scale) if planes.is_limited else (0, top, top)
    from_red, from_blue = 2 * (1 - red), 2 * (1 - blue)
    green = 1 - red - blue
    columns = np.array(
        [[1, 0, from_red], [1, -from_blue * blue / green, -from_red * red / green], [1, from_blue, 0]], np.float64
    ) / (luma_span, color_span, color_span)
    return np.column_stack([columns, -columns @ (black, 128 * scale, 128 * scale)])
