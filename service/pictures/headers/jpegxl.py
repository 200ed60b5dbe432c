"""The header of a JPEG XL, as a codestream or in its container.

References:
    ISO/IEC 18181-1:2024, annexes D and E; ISO/IEC 18181-2:2024, section 9.
"""

from typing import Final

from service.errors import BrokenPicture, SeveralFrames, UnsupportedPicture
from service.pictures.header import MULTIPLIED, Header
from service.pictures.headers.boxes import boxes
from service.pictures.signals import BT_709, PRIMARIES, Primaries, Signal, from_code_points, of_gamma

CODESTREAM: Final = b"\xff\x0a"

CONTAINER: Final = b"\0\0\0\x0cJXL \r\n\x87\n"

HEADER_BYTES: Final = 1 << 12
"""How much of a codestream is looked at; names of channels included."""

MOST_EXTRA_CHANNELS: Final = 16

HIGHEST_BITS: Final = 16

RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Of width to height, by their number from 1 on."""

ALPHA: Final = 0

SPOT: Final = 2

COLOR_FILTER: Final = 5

RGB, GRAY, XYB = 0, 1, 2

CUSTOM: Final = 2
"""Of white points and primaries."""

WHITES: Final = {1: BT_709[6:], 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
"""By their number: D65, E, DCI."""

COLORS: Final = {1: BT_709[:6], 9: PRIMARIES[9][:6], 11: PRIMARIES[12][:6]}
"""By their number: sRGB, BT.2100, P3."""

MADE_OF_JPEG: Final = "made of a jpeg"
"""The kind of one that can be turned back into the JPEG it was made of, which holds the profile."""

WITH_PROFILE: Final = "with a profile"
"""How the kind of one begins that has a profile which only a decoder can unpack."""

GAMMA_SCALE: Final = 1e7


def read(data: bytes) -> Header:
    """Read a JPEG XL's header.

    Raises:
        BrokenPicture: damaged.
        CostlyPicture: it holds more boxes than any writer makes.
        SeveralFrames: it is animated.
        UnsupportedPicture: pixels of a kind that is not read.
    """
    codestream, holds_jpeg = _codestream(data)
    bits = _Bits(codestream[len(CODESTREAM) :])
    width, height = _size(bits)
    return _metadata(bits, width, height, holds_jpeg)


def _codestream(data: bytes) -> tuple[bytes, bool]:
    """Return the beginning of the codestream, and whether the file can be turned back into a JPEG."""
    if data.startswith(CODESTREAM):
        return data[:HEADER_BYTES], False
    found, holds_jpeg = b"", False
    for box in boxes(data):
        if box.kind == b"jbrd":
            holds_jpeg = True
        elif box.kind == b"jxlc" and not found:
            found = data[box.start : min(box.end, box.start + HEADER_BYTES)]
        elif box.kind == b"jxlp" and len(found) < HEADER_BYTES:
            found += data[box.start + 4 : min(box.end, box.start + HEADER_BYTES)]
    if not found.startswith(CODESTREAM):
        raise BrokenPicture("The JPEG XL ends before any pixels.")
    return found[:HEADER_BYTES], holds_jpeg


class _Bits:
    """Reads numbers bit by bit, the lowest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next number of so many bits.

        Raises:
            BrokenPicture: there are none left.
        """
        if count > self._left:
            raise BrokenPicture("The JPEG XL ends before any pixels.")
        value = self._number & (1 << count) - 1
        self._number >>= count
        self._left -= count
        return value

    def flag(self) -> bool:
        """Return the next bit."""
        return self.take(1) == 1

    def choice(self, *ways: tuple[int, int]) -> int:
        """Return a number that is written in one of four ways: what is added, and how many bits follow."""
        added, count = ways[self.take(2)]
        return added + self.take(count)

    def enumeration(self) -> int:
        """Return a number of a list."""
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))


def _size(bits: _Bits) -> tuple[int, int]:
    is_small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.take(5)) if is_small else bits.choice((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    above, below = RATIOS[ratio - 1]
    return height * above // below, height


def _metadata(bits: _Bits, width: int, height: int, holds_jpeg: bool) -> Header:
    orientation, depth, alpha, space = 1, 8, "", RGB
    signal: Signal | None = None
    has_profile = False
    if not bits.flag():  # all as usual
        if bits.flag():
            orientation = 1 + bits.take(3)
            _skip_extras(bits)
        depth = _depth(bits)
        bits.take(1)  # whether 16 bits are enough to compute in
        alpha = _extra_channels(bits)
        bits.take(1)  # whether it is in XYB: the decoder turns it into the space that is named here
        space, signal, has_profile = _color(bits)
    if space not in (RGB, GRAY):
        raise UnsupportedPicture("JPEG XL files of an unknown color space are not read here: save it as PNG.")
    is_gray = space == GRAY
    mode = ("LA" if is_gray else "RGBA") if alpha else "RGB" if not is_gray else "I;16" if depth > 8 else "L"
    return Header(
        format="JPEGXL",
        width=width,
        height=height,
        mode=mode,
        orientation=orientation,
        wide=depth > 8 and mode != "I;16",
        icc_profile=None,
        bits=depth,
        signal=signal,
        kind=_kind(alpha, has_profile, holds_jpeg),
    )


def _kind(alpha: str, has_profile: bool, holds_jpeg: bool) -> str:
    if has_profile:
        return MADE_OF_JPEG if holds_jpeg else f"{WITH_PROFILE} {alpha}".strip()
    return alpha if alpha == MULTIPLIED else ""


def _skip_extras(bits: _Bits) -> None:
    """Read over an intrinsic size and a preview; refuse animations."""
    if bits.flag():
        _size(bits)
    if bits.flag():
        is_small = bits.flag()

        def side() -> int:
            return (
                bits.choice((16, 0), (32, 0), (1, 5), (33, 9))
                if is_small
                else bits.choice((1, 6), (65, 8), (321, 10), (1345, 12))
            )

        side()
        if not bits.take(3):
            side()
    if bits.flag():
        raise SeveralFrames("Animations are not taken: send one picture.", limit=1)


def _depth(bits: _Bits) -> int:
    if bits.flag():
        raise UnsupportedPicture("JPEG XL files of floating-point levels are not read here: save it with 16 bits.")
    depth = bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    if depth > HIGHEST_BITS:
        raise UnsupportedPicture(f"JPEG XL files of {depth} bits a channel are not read here: save it with 16.")
    return depth


def _extra_channels(bits: _Bits) -> str:
    """Return the kind of opacity: empty for none, `alpha`, or `multiplied`."""
    count = bits.choice((0, 0), (1, 0), (2, 4), (1, 12))
    if count > MOST_EXTRA_CHANNELS:
        raise UnsupportedPicture(f"JPEG XL files of {count} extra channels are not read here.")
    found = ""
    for _ in range(count):
        kind, is_multiplied = ALPHA, False
        if not bits.flag():  # opacity of 8 bits
            kind = bits.enumeration()
            _skip_depth(bits)
            bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
            bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))
            if kind == ALPHA:
                is_multiplied = bits.flag()
            elif kind == SPOT:
                bits.take(4 * 16)
            elif kind == COLOR_FILTER:
                bits.choice((1, 0), (0, 2), (3, 4), (19, 8))
        if kind == ALPHA:
            found = found or (MULTIPLIED if is_multiplied else "alpha")
    return found


def _skip_depth(bits: _Bits) -> None:
    if bits.flag():
        bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        bits.choice((8, 0), (10, 0), (12, 0), (1, 6))


def _color(bits: _Bits) -> tuple[int, Signal | None, bool]:
    """Return the color space, what the levels mean, and whether a profile says so."""
    if bits.flag():
        return RGB, None, False
    has_profile, space = bits.flag(), bits.enumeration()
    if has_profile or space == XYB:
        return space, None, has_profile
    white, colors = 1, 1
    custom_white = custom_colors = None
    white = bits.enumeration()
    if white == CUSTOM:
        custom_white = _point(bits)
    if space != GRAY:
        colors = bits.enumeration()
        if colors == CUSTOM:
            custom_colors = (*_point(bits), *_point(bits), *_point(bits))
    primaries: tuple[float, ...] = (
        *(custom_colors or COLORS.get(colors, BT_709[:6])),
        *(custom_white or WHITES.get(white, BT_709[6:])),
    )
    return space, _curve(bits, primaries), False  # type: ignore[arg-type]


def _point(bits: _Bits) -> tuple[float, float]:
    def coordinate() -> float:
        value = bits.choice((0, 19), (1 << 19, 19), (1 << 20, 20), (1 << 21, 21))
        return (-(value + 1) // 2 if value & 1 else value // 2) / 1e6

    return coordinate(), coordinate()


def _curve(bits: _Bits, primaries: Primaries) -> Signal | None:
    if bits.flag():
        return of_gamma(bits.take(24) / GAMMA_SCALE, primaries)
    signal = from_code_points(1, bits.enumeration(), "header")
    if primaries == BT_709:
        return signal
    return Signal(signal.curve if signal else 13, None, primaries)
