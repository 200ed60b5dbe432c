"""The header of a JPEG: its segments up to the first scan.

References:
    ITU-T T.81 (1992), annex B. ITU-T T.872 (2012), 6.5.3: Adobe's segment. ICC.1:2022, annex B.4: profiles in segments.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

from service.errors import BrokenPicture, CostlyPicture, UnsupportedPicture
from service.pictures.header import Header

MOST_SEGMENTS: Final = 1 << 14
"""A profile has 255 at most, 100 MB of extended XMP 1600."""

MOST_BETWEEN: Final = 1 << 20
"""Bytes that may stand between segments, all together."""

PROFILE_PREFIX: Final = b"ICC_PROFILE\0"

MODES: Final = {1: "L", 3: "RGB", 4: "CMYK"}
"""By the number of components."""

LOSSLESS: Final = "lossless"

FRAMES: Final = {
    0xC0: "",
    0xC1: "",
    0xC2: "",
    0xC3: LOSSLESS,
    0xC9: "arithmetic",
    0xCA: "arithmetic",
}
"""By the marker: which frames are read. Sequential and progressive ones are the ordinary kind."""

ARITHMETIC_FRAMES: Final = frozenset({0xC9, 0xCA})

UNREAD_FRAMES: Final = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
    0xCB: "lossless JPEG with arithmetic coding",
    0xF7: "JPEG-LS",
}

BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length: TEM, the restarts, and SOI."""

EOI, SOS, APP2 = 0xD9, 0xDA, 0xE2

LOSSLESS_BITS: Final = range(2, 17)

_MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
"""Any number of 0xff may fill up the space in front of a marker; 0xff00 is none."""


def read(data: bytes) -> Header:
    """Read a JPEG's header.

    Raises:
        BrokenPicture: damaged, or it ends before its pixels.
        CostlyPicture: it is cut into more segments than any writer makes.
        UnsupportedPicture: a kind of JPEG that is not read.
    """
    profile: dict[int, bytes] = {}
    frame: tuple[int, int, int, int, int] | None = None
    for marker, start, end in _segments(data):
        if marker == SOS:
            break
        if marker in FRAMES or marker in UNREAD_FRAMES:
            frame = (marker, *_frame(data[start:end], marker))
        elif marker == APP2 and data.startswith(PROFILE_PREFIX, start) and end - start > len(PROFILE_PREFIX) + 2:
            number = data[start + len(PROFILE_PREFIX)]
            profile.setdefault(number, data[start + len(PROFILE_PREFIX) + 2 : end])
    else:
        raise BrokenPicture("The JPEG ends before any pixels.")
    if frame is None:
        raise BrokenPicture("The JPEG does not say how large it is.")
    marker, bits, height, width, components = frame
    return Header(
        format="JPEG",
        width=width,
        height=height,
        mode=_mode(components, bits),
        orientation=1,
        wide=components > 1 and bits > 8,
        icc_profile=b"".join(profile[number] for number in sorted(profile)) or None,
        bits=bits,
        kind="12-bit" if marker in (0xC0, 0xC1, 0xC2) and bits > 8 else FRAMES[marker],
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each marker with where its content starts and ends; what stands between segments is passed over."""
    place, left = 2, MOST_BETWEEN
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, place, place + left)
        if found is None:
            return
        left -= found.end() - 2 - place
        place, marker = found.end() - 2, data[found.end() - 1]
        if marker == EOI:
            return
        if marker in BARE:
            place += 2
            continue
        if place + 4 > len(data):
            return
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        yield marker, place + 4, end
        place = end
    raise CostlyPicture(f"The JPEG is cut into more than {MOST_SEGMENTS} segments. Save it anew, and it is taken.")


def _frame(content: bytes, marker: int) -> tuple[int, int, int, int]:
    """Return bits, height, width and components of a frame's header."""
    if marker in UNREAD_FRAMES:
        raise UnsupportedPicture(f"The picture is a {UNREAD_FRAMES[marker]}, which is not read here.")
    if len(content) < 6:
        raise BrokenPicture("The JPEG does not say how large it is.")
    bits, height, width, components = struct.unpack_from(">BHHB", content)
    if width and not height:
        raise UnsupportedPicture("The JPEG tells its height behind its pixels (DNL), which is not read here.")
    allowed = LOSSLESS_BITS if FRAMES[marker] == LOSSLESS else (8, 12)
    if not width or bits not in allowed or components not in (1, 2, 3, 4):
        raise BrokenPicture("The header of the JPEG makes no sense.")
    if components not in MODES:
        raise UnsupportedPicture("JPEGs of two channels are not read here.")
    return bits, height, width, components


def _mode(components: int, bits: int) -> str:
    return "I;16" if components == 1 and bits > 8 else MODES[components]
