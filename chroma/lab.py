"""sRGB <-> CIE Lab (D65, 2 degree observer) in float32.

OpenCV's own conversion of float RGB interpolates a coarse table and is off by up to 0.4 Lab units, so the formulas
stand here. They agree with colour-science and scikit-image to 0.03.

References:
    IEC 61966-2-1:1999 (sRGB transfer function and primaries).
    CIE 15:2004, section 8.2.1 (L*a*b*).
"""

from functools import cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, Num, Shaped, UInt8, UInt16

RGB_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB -> CIE XYZ with Y = 1 for white (Lindbloom, from the primaries of IEC 61966-2-1)."""
WHITE: Final = RGB_TO_XYZ.sum(axis=1)
"""XYZ of the D65 white: what (1, 1, 1) maps to, so that grays have a = b = 0 exactly."""
_TO_F_INPUT: Final = (RGB_TO_XYZ / WHITE[:, None]).astype(np.float32)
_FROM_F_OUTPUT: Final = np.linalg.inv(RGB_TO_XYZ / WHITE[:, None]).astype(np.float32)
EPSILON: Final = 216 / 24389
"""Where Lab's cube root meets its linear part, as a share of white (CIE 15:2004)."""
KAPPA: Final = 24389 / 27
"""Slope of the linear part: L = KAPPA * Y below EPSILON (CIE 15:2004)."""
L_STEPS: Final = 65535
"""Steps from black to white in which L is stored as codes of 16 bits: 0.0015 each."""
_SRGB_JOINT: Final = np.float32(0.0031308)
_LIGHT_STEPS: Final = 65535
"""Steps of linear light that `lab_to_rgb_u8` tells apart."""
_SRGB_EXPONENT: Final = np.float32(1 / 2.4)
# By the very operations of `_encode_in_place`, so that black comes out as 0.
_CURVE_AT_JOINT: Final = np.power(np.full(64, _SRGB_JOINT), _SRGB_EXPONENT)[0] * np.float32(1.055)


def decode_srgb(rgb: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return linear light in [0, 1] for sRGB-encoded values in [0, 1]; float32, same shape."""
    encoded = rgb.astype(np.float32, copy=False)
    return np.where(encoded <= 0.04045, encoded / np.float32(12.92), ((encoded + 0.055) / 1.055) ** np.float32(2.4))


def encode_srgb(linear: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return sRGB-encoded values for linear light; what is below 0 counts as 0; float32, same shape."""
    return _encode_in_place(np.array(linear, np.float32))


def _encode_in_place(
    light: Float[np.ndarray, "*shape"], line: Float[np.ndarray, "*shape"] | None = None
) -> Float[np.ndarray, "*shape"]:
    """Encode light, and return it; `line` is memory to compute in."""
    # The curve above the joint, held there, plus the line below it: no branch, so all of it runs on vectors.
    line = np.clip(light, 0, _SRGB_JOINT, out=line)
    np.maximum(light, _SRGB_JOINT, out=light)
    np.power(light, _SRGB_EXPONENT, out=light)
    light *= np.float32(1.055)
    light -= _CURVE_AT_JOINT
    line *= np.float32(12.92)
    light += line
    return light


@cache
def _linear_of_u8() -> Float[np.ndarray, "256"]:
    return decode_srgb(np.arange(256, dtype=np.float32) / 255)


def decode_srgb_u8(rgb_u8: UInt8[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Return linear light in [0, 1] for 8-bit sRGB (..., 3), float32; as `decode_srgb`, faster."""
    return _look_up(rgb_u8, _linear_of_u8())


def _look_up(codes: UInt8[np.ndarray, "*shape"], table: Float[np.ndarray, "256"]) -> Float[np.ndarray, "*shape"]:
    """Return the table's value of each code, several times faster than NumPy does."""
    if not codes.size:
        return table[codes]
    return cv2.LUT(np.ascontiguousarray(codes).reshape(len(codes) if codes.ndim else 1, -1), table).reshape(codes.shape)


def _f(share: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Lab's compressive function of X/Xn, Y/Yn or Z/Zn."""
    f = np.asarray(np.cbrt(share))
    line = share * np.float32(KAPPA / 116)
    line += np.float32(16 / 116)
    np.copyto(f, line, where=share <= EPSILON)
    return f


def _invert_in_place(
    f: Float[np.ndarray, "*shape"], cube: Float[np.ndarray, "*shape"], square: Float[np.ndarray, "*shape"]
) -> None:
    """Undo `_f`; the line is the cube's tangent, so the cube held at the joint plus the line below needs no branch.

    `cube` and `square` are memory to compute in.
    """
    dtype = f.dtype.type
    np.maximum(f, dtype(6 / 29), out=cube)
    f -= cube
    f *= dtype(116 / KAPPA)
    np.multiply(cube, cube, out=square)
    cube *= square
    f += cube


def _linear_to_lab(linear: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    # Few temporaries, and rows of pixels instead of planes of them: training does this to every photograph.
    f = _f(linear.reshape(-1, 3) @ _TO_F_INPUT.T)
    lab = np.empty_like(f)
    np.multiply(f[:, 1], 116, out=lab[:, 0])
    lab[:, 0] -= 16
    np.subtract(f[:, 0], f[:, 1], out=lab[:, 1])
    lab[:, 1] *= 500
    np.subtract(f[:, 1], f[:, 2], out=lab[:, 2])
    lab[:, 2] *= 200
    return lab.reshape(linear.shape)


def luminance_to_lightness(luminance: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return CIE L in [0, 100] of luminance in [0, 1], relative to white; float32, same shape."""
    return 116 * _f(luminance) - 16


def rgb_to_lab(rgb: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Convert sRGB to Lab.

    Args:
        rgb: sRGB in [0, 1], float, shape (..., 3).

    Returns:
        L in [0, 100] and ab in Lab units, float32, shape (..., 3).

    References:
        IEC 61966-2-1:1999; CIE 15:2004.
    """
    return _linear_to_lab(decode_srgb(rgb))


def rgb_u8_to_lab(rgb_u8: UInt8[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Convert 8-bit sRGB (..., 3) to Lab, float32 (..., 3); the same values as `rgb_to_lab`, faster."""
    return _linear_to_lab(decode_srgb_u8(rgb_u8))


def rgb_to_lightness(rgb: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 1"]:
    """Return CIE L in [0, 100], float32 (..., 1), of sRGB in [0, 1], float (..., 3). Never luma."""
    return luminance_to_lightness(decode_srgb(rgb) @ _TO_F_INPUT[1, :, None])


def rgb_u8_to_lightness(rgb_u8: UInt8[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 1"]:
    """Return CIE L in [0, 100], float32 (..., 1), of 8-bit sRGB (..., 3)."""
    return luminance_to_lightness(decode_srgb_u8(rgb_u8) @ _TO_F_INPUT[1, :, None])


def rgb_to_lightness_u16(
    rgb: Shaped[np.ndarray, "H W 3"], out: UInt16[np.ndarray, "H W"] | None = None
) -> UInt16[np.ndarray, "H W"]:
    """Return CIE L, rounded to a code of 16 bits, in half as many passes as that of float32 takes.

    Args:
        rgb: sRGB, uint8 or uint16, shape (H, W, 3).
        out: takes the result, where it is given.

    Returns:
        CIE L in steps of 100 / `L_STEPS`, uint16, shape (H, W).
    """
    is_deep = rgb.dtype == np.uint16
    light = decode_srgb(rgb.astype(np.float32) / np.float32(65535)) if is_deep else decode_srgb_u8(rgb)
    line = cv2.transform(light, _TO_F_INPUT[1:2])
    # The cube root held at the joint, plus the line below it, which is its tangent there: no branch.
    root = np.clip(line, np.float32(EPSILON), np.float32(np.inf))  # np.maximum has no vectors for a number.
    np.subtract(line, root, out=line)
    np.cbrt(root, out=root)
    scale = 116 * L_STEPS / 100
    codes = cv2.addWeighted(root, scale, line, scale * KAPPA / 116, -16 * L_STEPS / 100, dst=out, dtype=cv2.CV_16U)
    return np.asarray(codes, np.uint16)


def gray_to_lightness(gray: Num[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 1"]:
    """Return CIE L of sRGB-encoded gray values.

    Args:
        gray: uint8, uint16, or float in [0, 1]; shape (...).

    Returns:
        L in [0, 100], float32, shape (..., 1).

    Raises:
        TypeError: another dtype.
    """
    if gray.dtype == np.uint8:
        return _look_up(gray, _lightness_of_codes(256))[..., None]
    gray = gray[..., None]
    if gray.dtype == np.uint16:
        return _lightness_of_codes(65536)[gray]
    if not np.issubdtype(gray.dtype, np.floating):
        raise TypeError(f"gray must be uint8, uint16 or float, is {gray.dtype}")
    return luminance_to_lightness(decode_srgb(gray))


@cache
def _lightness_of_codes(count: int) -> Float[np.ndarray, "count"]:
    return luminance_to_lightness(decode_srgb(np.arange(count, dtype=np.float32) / np.float32(count - 1)))


def lab_to_linear_rgb(lab: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Convert Lab to linear-light RGB, not clipped: colors outside the sRGB gamut leave [0, 1].

    Args:
        lab: L in [0, 100] and ab in Lab units, float, shape (..., 3).

    Returns:
        Linear light, float32 (float64 for float64 input), shape (..., 3).
    """
    dtype = np.dtype(np.float64 if lab.dtype == np.float64 else np.float32)
    L, a, b = np.array(lab.reshape(-1, 3).T, dtype, order="C")
    return np.ascontiguousarray(np.moveaxis(_linear_planes(L, a, b)[0], 0, -1)).reshape(lab.shape)


def _linear_planes(
    L: Float[np.ndarray, "*shape"], a: Float[np.ndarray, "*shape"], b: Float[np.ndarray, "*shape"]
) -> tuple[Float[np.ndarray, "3 *shape"], Float[np.ndarray, "3 *shape"]]:
    """Convert planes of Lab to planes of linear light; return them, and memory of the same shape to compute in.

    Few operations, because threads get into each other's way between any two, and little memory, so that a strip of a
    picture fits a core's cache.
    """
    dtype = L.dtype.type
    f, planes, part = np.empty((3, 3, *L.shape), dtype)
    x, y, z = f
    np.add(L, dtype(16), out=y)
    y *= dtype(1 / 116)
    np.multiply(a, dtype(1 / 500), out=x)
    x += y
    np.multiply(b, dtype(-1 / 200), out=z)
    z += y
    _invert_in_place(f, planes, part)
    from_x, from_y, from_z = _FROM_F_OUTPUT.T.astype(dtype).reshape(3, 3, *[1] * L.ndim)
    np.multiply(x, from_x, out=planes)
    planes += np.multiply(y, from_y, out=part)
    planes += np.multiply(z, from_z, out=part)
    return planes, part


def lab_to_rgb(lab: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Convert Lab to sRGB clipped to [0, 1].

    Clipping moves L: run `chroma.compose.fit_gamut` first where that matters.

    Args:
        lab: L in [0, 100] and ab in Lab units, float, shape (..., 3).

    Returns:
        sRGB in [0, 1], float32, shape (..., 3).
    """
    L, a, b = np.array(lab.reshape(-1, 3).T, np.float32, order="C")
    return np.ascontiguousarray(np.moveaxis(lab_planes_to_rgb(L, a, b), 0, -1)).reshape(lab.shape)


def lab_planes_to_rgb(
    L: Float32[np.ndarray, "*shape"], a: Float32[np.ndarray, "*shape"], b: Float32[np.ndarray, "*shape"]
) -> Float32[np.ndarray, "3 *shape"]:
    """Do what `lab_to_rgb` does, for planes, twice as fast: NumPy computes with vectors where values lie side by side.

    Args:
        L: lightness in [0, 100], float32.
        a: in Lab units, float32, same shape.
        b: likewise.

    Returns:
        Red, green, blue: sRGB in [0, 1], float32, each of the same shape.
    """
    light, memory = _linear_planes(L, a, b)
    return np.minimum(_encode_in_place(light, memory), np.float32(1), out=light)


@cache
def _codes_of_light() -> UInt8[np.ndarray, "65536"]:
    return np.rint(255 * encode_srgb(np.arange(_LIGHT_STEPS + 1) / _LIGHT_STEPS)).astype(np.uint8)


def lab_to_rgb_u8(
    lab: Float32[np.ndarray, "H W 3"], rgb: UInt8[np.ndarray, "H W 3"] | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Convert Lab to 8-bit sRGB, clipped, by OpenCV alone, whose calls hold no lock; see `chroma.compose.compose_u8`.

    Args:
        lab: L in [0, 100] and ab in Lab units, float32, shape (H, W, 3).
        rgb: takes the result, where it is given.

    Returns:
        sRGB, uint8, shape (H, W, 3).
    """
    light = cv2.cvtColor(lab, cv2.COLOR_Lab2LRGB)
    # The curve from a table takes a third less time than from OpenCV's splines.
    steps = cv2.addWeighted(light, _LIGHT_STEPS, light, 0, 0, dtype=cv2.CV_16U)
    return np.asarray(cv2.LUT(steps, _codes_of_light(), rgb), np.uint8)


def split_lab(
    lab: Float[np.ndarray, "*shape 3"],
) -> tuple[Float[np.ndarray, "*shape 1"], Float[np.ndarray, "*shape 2"]]:
    """Split Lab (..., 3) into views of L (..., 1) and ab (..., 2)."""
    return lab[..., :1], lab[..., 1:]


def merge_lab(L: Float[np.ndarray, "*shape 1"], ab: Float[np.ndarray, "*shape 2"]) -> Shaped[np.ndarray, "*shape 3"]:
    """Join L (..., 1) and ab (..., 2), both in Lab units, to Lab (..., 3)."""
    return np.concatenate([L, ab], axis=-1)
