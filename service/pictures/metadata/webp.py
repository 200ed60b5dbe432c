"""What WebP holds beside its pixels: chunks around them, announced in front.

References:
    RFC 9649, section 2.7.
"""

import struct
from collections.abc import Iterator
from typing import Final

from service.pictures.metadata import exif
from service.pictures.metadata.belongings import MOST_BYTES, Metadata

MOST_CHUNKS: Final = 10_000

HAS_PROFILE, HAS_ALPHA, HAS_EXIF, HAS_XMP = 0x20, 0x10, 0x08, 0x04

LOSSLESS_ALPHA: Final = 1 << 28
"""Of the 32 bits behind the signature of a lossless picture."""


def chunks(data: bytes | memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each chunk, as far as they are whole."""
    place = 12
    for _ in range(MOST_CHUNKS):
        if place + 8 > len(data):
            return
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        start = place + 8
        if start + length > len(data):
            return
        yield bytes(data[place : place + 4]), start, start + length
        place = start + length + length % 2


def read(data: bytes | memoryview, most: int = MOST_BYTES) -> Metadata:
    """Return what a WebP says, in so many bytes at most."""
    found: dict[bytes, bytes] = {}
    for kind, start, end in chunks(data):
        if kind in (b"EXIF", b"XMP ") and end - start <= most // 2:
            found.setdefault(kind, bytes(data[start:end]))
    block = found.get(b"EXIF", b"").removeprefix(exif.PREFIX)
    return Metadata(block, found.get(b"XMP ", b"").rstrip(b"\0"), dpi=exif.resolution_in(block))


def write(data: bytes, metadata: Metadata, profile: bytes, size: tuple[int, int]) -> bytes:
    """Return a WebP with chunks.

    Args:
        data: a WebP without metadata.
        metadata: made true of it.
        profile: its color profile.
        size: width and height, px.
    """
    if data[12:16] == b"VP8X":
        flags, rest = data[20], data[30:]
    else:
        is_clear = data[12:16] == b"VP8L" and int.from_bytes(data[21:25], "little") & LOSSLESS_ALPHA
        flags, rest = HAS_ALPHA if is_clear else 0, data[12:]
    flags |= HAS_PROFILE | bool(metadata.exif) * HAS_EXIF | bool(metadata.xmp) * HAS_XMP
    sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
    content = b"".join(
        [
            b"WEBP",
            _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + sides),
            _chunk(b"ICCP", profile),
            rest,
            _chunk(b"EXIF", metadata.exif),
            _chunk(b"XMP ", metadata.xmp),
        ]
    )
    return b"RIFF" + struct.pack("<L", len(content)) + content


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<L", len(content)) + content + bytes(len(content) % 2) if content else b""
