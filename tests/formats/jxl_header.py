"""Headers of JPEG XL, bit by bit (ISO/IEC 18181-1:2024, annexes D and E): no library writes all that they can say."""

from collections.abc import Callable

import imagecodecs
import numpy as np


class _Bits:
    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        self.bits += [value >> place & 1 for place in range(count)]

    def enumeration(self, value: int) -> None:
        if value < 2:
            self.put(value, 2)
        elif value < 18:
            self.put(2, 2)
            self.put(value - 2, 4)
        else:
            self.put(3, 2)
            self.put(value - 18, 6)

    def packed(self) -> bytes:
        padded = [*self.bits, *[0] * (-len(self.bits) % 8)]
        return np.packbits(np.array(padded, np.uint8), bitorder="little").tobytes()


Color = Callable[[_Bits], None]


def color(
    *, space: int = 0, white: int = 1, primaries: int = 1, curve: int = 13, gamma: int = 0, icc: int = 0
) -> Color:
    """Return what writes a color space; gamma in ten millionths."""

    def write(bits: _Bits) -> None:
        bits.put(0, 1)
        bits.put(icc, 1)
        bits.enumeration(space)
        bits.enumeration(white)
        if space != 1:
            bits.enumeration(primaries)
        bits.put(gamma > 0, 1)
        if gamma:
            bits.put(gamma, 24)
        else:
            bits.enumeration(curve)
        bits.enumeration(0)

    return write


def _all_srgb(bits: _Bits) -> None:
    bits.put(1, 1)


def header(
    width: int,
    height: int,
    *,
    orientation: int = 1,
    animated: bool = False,
    floats: bool = False,
    color: Color = _all_srgb,
) -> bytes:
    """Return the header of a picture of 8-bit RGB whose sides are multiples of 8."""
    bits = _Bits()
    bits.put(1, 1)
    bits.put(height // 8 - 1, 5)
    ratios = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
    ratio = next((at for at, (wide, high) in enumerate(ratios, 1) if width * high == height * wide), 0)
    bits.put(ratio, 3)
    if not ratio:
        bits.put(width // 8 - 1, 5)
    bits.put(0, 1)
    has_extras = orientation != 1 or animated
    bits.put(has_extras, 1)
    if has_extras:
        bits.put(orientation - 1, 3)
        bits.put(0, 2)
        bits.put(animated, 1)
        bits.put(0, 9 if animated else 0)  # 100 ticks a second, no end, no timecodes
    bits.put(floats, 1)
    bits.put(0, 2 + 4 * floats)
    bits.put(1, 1)
    bits.put(0, 3)
    color(bits)
    if has_extras:
        bits.put(1, 1)
    bits.put(0, 2)
    bits.put(1, 1)
    return b"\xff\x0a" + bits.packed()


def with_header(pixels: np.ndarray, **said: object) -> bytes:
    """Return a lossless JPEG XL of 8-bit RGB whose header says something else of the same levels."""
    height, width = pixels.shape[:2]
    whole = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=False, numthreads=1))
    plain = header(width, height)
    assert whole.startswith(plain)
    return header(width, height, **said) + whole[len(plain) :]  # type: ignore[arg-type]
