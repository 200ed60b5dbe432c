"""The header of a WebP: its canvas, its opacity, its profile, and whether it is animated.

References:
    RFC 9649, sections 2.3 to 2.7 and 3.4. VP8: RFC 6386, section 9.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenPicture, CostlyPicture, SeveralFrames
from service.pictures.header import MOST_PROFILE_BYTES, Header

HEAD_BYTES: Final = 12

CHUNK_HEAD: Final = 8
"""Bytes in front of a chunk's content: type and length."""

MOST_CHUNKS: Final = 1 << 14

HAS_ALPHA: Final = 0x10
"""Of the flags in front of a file of several chunks."""

PIXELS: Final = (b"VP8 ", b"VP8L")

LONGEST_HEAD: Final = 10
"""So many bytes of a chunk say what counts here."""

KEY_FRAME_START: Final = b"\x9d\x01\x2a"

LOSSLESS_START: Final = 0x2F

SIDE: Final = 0x3FFF
"""The 14 bits of a side."""


def read(data: bytes) -> Header:
    """Read a WebP's header.

    Raises:
        BrokenPicture: damaged, or it ends before its pixels.
        CostlyPicture: it is cut into more chunks than any writer makes.
        SeveralFrames: it is animated.
    """
    said = _Said()
    for kind, start, end in _chunks(data):
        said.take(kind, data[start : min(end, start + LONGEST_HEAD)])
        if kind == b"ICCP" and end - start <= MOST_PROFILE_BYTES:
            said.profile = said.profile or data[start:end] or None
    if said.frames > 1:
        raise SeveralFrames("Animations are not taken: send one picture.", limit=1)
    if said.size is None and not said.frames:
        raise BrokenPicture("The WebP ends before any pixels.")
    size = said.canvas or said.size
    if size is None or (said.size and size != said.size):
        raise BrokenPicture("The header of the WebP makes no sense.")
    mode = "RGBA" if said.has_alpha else "RGB"
    return Header("WEBP", *size, mode, 1, wide=False, icc_profile=said.profile)


@dataclass
class _Said:
    """What the chunks of a file say.

    Attributes:
        canvas: width and height of the picture, px, in a file of several chunks.
        size: of its pixels, where it is no animation.
        has_alpha: whether there is opacity.
        frames: of an animation.
        profile: embedded.
    """

    canvas: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    has_alpha: bool = False
    frames: int = 0
    profile: bytes | None = None

    def take(self, kind: bytes, head: bytes) -> None:
        """Take what a chunk says in its first bytes.

        Raises:
            BrokenPicture: pixels begin as none do.
        """
        if kind == b"VP8X" and self.canvas is None:
            self.has_alpha |= bool(head[:1] and head[0] & HAS_ALPHA)
            self.canvas = 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
        elif kind == b"ALPH":
            self.has_alpha = True
        elif kind == b"ANMF":
            self.frames += 1
        elif kind in PIXELS and self.size is None:
            *size, has_alpha = _pixels(kind, head)
            self.size = size[0], size[1]
            self.has_alpha |= has_alpha


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of each chunk's content; of a file that begins with its pixels nothing else counts.

    Raises:
        CostlyPicture: there are more than any writer makes.
    """
    place, end = HEAD_BYTES, min(len(data), CHUNK_HEAD + int.from_bytes(data[4:8], "little"))
    for _ in range(MOST_CHUNKS):
        if place + CHUNK_HEAD > end:
            return
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        yield kind, place + CHUNK_HEAD, place + CHUNK_HEAD + length
        if place == HEAD_BYTES and kind in PIXELS:
            return
        place += CHUNK_HEAD + length + length % 2
    raise CostlyPicture(f"The WebP is cut into more than {MOST_CHUNKS} chunks. Save it anew, and it is taken.")


def _pixels(kind: bytes, start: bytes) -> tuple[int, int, bool]:
    """Return width and height of pixels, and whether they have opacity, by how they begin."""
    if kind == b"VP8L" and len(start) >= 5 and start[0] == LOSSLESS_START:
        bits = int.from_bytes(start[1:5], "little")
        return 1 + (bits & SIDE), 1 + (bits >> 14 & SIDE), bool(bits >> 28 & 1)
    if kind == b"VP8 " and len(start) >= 10 and start[3:6] == KEY_FRAME_START:
        width, height = (int.from_bytes(start[at : at + 2], "little") & SIDE for at in (6, 8))
        if width and height:
            return width, height, False
    raise BrokenPicture("The WebP ends before any pixels.")
