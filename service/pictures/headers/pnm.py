"""The header of a PNM: PBM, PGM, PPM (plain and raw) and PAM.

References:
    Netpbm: pbm(5), pgm(5), ppm(5), pam(5), pfm(5).
"""

import re
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenPicture, SeveralFrames, UnsupportedPicture
from service.pictures.header import Header

PREAMBLE_BYTES: Final = 1 << 16
"""How much of a file its header, comments included, may take."""

HIGHEST_MAXVAL: Final = 65_535

KINDS: Final = {
    b"P1": (1, False),
    b"P2": (1, False),
    b"P3": (3, False),
    b"P4": (1, True),
    b"P5": (1, True),
    b"P6": (3, True),
}
"""By the magic number: channels, and whether the levels are raw bytes; else they are decimal digits."""

BILEVEL: Final = (b"P1", b"P4")

TUPLES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""By the channels of a PAM: its mode."""

TUPLE_TYPES: Final = {
    "BLACKANDWHITE": 1,
    "GRAYSCALE": 1,
    "RGB": 3,
    "BLACKANDWHITE_ALPHA": 2,
    "GRAYSCALE_ALPHA": 2,
    "RGB_ALPHA": 4,
    "": 0,
}
"""Channels by the tuple type of a PAM; without one its channels decide."""

FLOATS: Final = (b"Pf", b"PF")

_NUMBER: Final = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([0-9]{1,9})")

_DIGITS: Final = re.compile("[0-9]{1,9}")

_NEXT_PICTURE: Final = re.compile(rb"\s{0,4096}P[1-7]\s")


@dataclass(frozen=True)
class Layout:
    """How the levels lie in the file.

    Attributes:
        width: px.
        height: px.
        channels: 1 to 4.
        maxval: level of white.
        is_raw: bytes, else decimal digits.
        is_bilevel: one bit a pixel, of which 1 is black.
        start: place of the first level.
    """

    width: int
    height: int
    channels: int
    maxval: int
    is_raw: bool
    is_bilevel: bool
    start: int

    @property
    def raw_bytes(self) -> int:
        """Bytes of the levels, where they are raw."""
        if self.is_bilevel:
            return (self.width + 7) // 8 * self.height
        return self.width * self.height * self.channels * (2 if self.maxval > 255 else 1)


def read(data: bytes) -> Header:
    """Read a PNM's header.

    Raises:
        BrokenPicture: damaged.
        SeveralFrames: more than one picture.
        UnsupportedPicture: floating-point levels, or more channels than a picture has.
    """
    layout = read_layout(data)
    is_deep = layout.maxval > 255
    if layout.is_raw and _NEXT_PICTURE.match(data, layout.start + layout.raw_bytes):
        raise SeveralFrames("Files of several pictures are not taken: send one picture.", limit=1)
    mode = "1" if layout.is_bilevel else TUPLES[layout.channels]
    return Header(
        format="PPM",
        width=layout.width,
        height=layout.height,
        mode="I;16" if is_deep and mode == "L" else mode,
        orientation=1,
        wide=is_deep and layout.channels > 1,
        icc_profile=None,
        bits=16 if is_deep else 8,
    )


def read_layout(data: bytes) -> Layout:
    """Return how the levels lie in the file.

    Raises:
        BrokenPicture: damaged.
        UnsupportedPicture: floating-point levels, or more channels than a picture has.
    """
    magic = data[:2]
    if magic in FLOATS:
        raise UnsupportedPicture(
            "The picture is a PFM, whose levels are floating-point numbers: save it as PGM or PPM."
        )
    if magic == b"P7":
        return _read_pam(data)
    channels, is_raw = KINDS[magic]
    is_bilevel = magic in BILEVEL
    numbers, place = [], 2
    for _ in range(2 if is_bilevel else 3):
        found = _NUMBER.match(data[:PREAMBLE_BYTES], place)
        if found is None:
            raise BrokenPicture("The header of the PNM cannot be read.")
        numbers.append(int(found[1]))
        place = found.end()
    width, height, maxval = (*numbers, 1)[:3]
    # One white space, and the levels.
    return _checked(Layout(width, height, channels, maxval, is_raw, is_bilevel, place + 1))


def _read_pam(data: bytes) -> Layout:
    front, end, _ = data[:PREAMBLE_BYTES].partition(b"\nENDHDR\n")
    if not end:
        raise BrokenPicture("The header of the PAM cannot be read.")
    fields: dict[str, str] = {}
    for line in front.decode("latin-1").splitlines()[1:]:
        name, _, value = line.strip().partition(" ")
        if name and not name.startswith("#"):
            fields.setdefault(name, value.strip())
    try:
        width, height, depth, maxval = (_number(fields[name]) for name in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL"))
    except (KeyError, ValueError) as error:
        raise BrokenPicture("The header of the PAM cannot be read.") from error
    kind = fields.get("TUPLTYPE", "")
    if TUPLE_TYPES.get(kind, -1) not in (0, depth) or depth not in TUPLES:
        raise UnsupportedPicture(f"PAMs of {depth} channels and the tuple type {kind[:40]!r} are not read here.")
    return _checked(Layout(width, height, depth, maxval, True, False, len(front) + len(end)))


def _number(text: str) -> int:
    """Return a number as PNM has it: digits alone, and not many.

    Raises:
        ValueError: it is something else.
    """
    if not _DIGITS.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _checked(layout: Layout) -> Layout:
    if not layout.width or not layout.height or not 1 <= layout.maxval <= HIGHEST_MAXVAL:
        raise BrokenPicture("The header of the PNM makes no sense.")
    return layout
