"""What PNG holds beside its pixels: chunks, in front of the pixels or behind them.

References:
    PNG third edition (W3C, 2025), section 11.3. ImageMagick and exiv2: "Raw profile type" texts.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from service.pictures.metadata import exif, iptc
from service.pictures.metadata.belongings import INCHES_A_METER, MOST_BYTES, Metadata, Text, dpi_of, inches
from service.pictures.metadata.jpeg import XMP_PREFIX

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

XMP_KEYWORD: Final = "XML:com.adobe.xmp"

RAW_PROFILE: Final = "Raw profile type "

MOST_CHUNKS: Final = 1 << 16

TELLING: Final = frozenset({b"pHYs", b"eXIf", b"iTXt", b"tEXt", b"zTXt"})
"""The chunks that are taken..."""

MOST_TAKEN: Final = 1_000
"""...and how many of them."""

MOST_CHUNK_BYTES: Final = 8_000_000
"""Of a chunk that is written: libpng takes a file with a longer one for damaged."""

MOST_UNPACKED_BYTES: Final = 1 << 20
"""Of a text that is written deflated: Pillow opens no file in which a longer one is."""

METER: Final = 1

Chunk = tuple[bytes, bytes]
"""Type and content."""


def chunks(data: bytes | memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each chunk, as far as they are whole."""
    place, end = len(SIGNATURE), len(data)
    for _ in range(MOST_CHUNKS):
        if place + 12 > end:
            return
        length, kind = int.from_bytes(data[place : place + 4], "big"), bytes(data[place + 4 : place + 8])
        start = place + 8
        if start + length > end:
            return
        yield kind, start, start + length
        place = start + length + 4


class _Reader:
    """Gathers what the chunks of one file say."""

    def __init__(self, most: int) -> None:
        self.exif, self.xmp, self.iptc = b"", b"", b""
        self.raw: dict[str, bytes] = {}
        self.texts: list[Text] = []
        self.dpi: tuple[float, float] | None = None
        self.left = most

    def take(self, kind: bytes, content: bytes) -> None:
        """Take one chunk."""
        if kind == b"pHYs" and len(content) == 9:
            across, down, unit = struct.unpack(">LLB", content)
            self.dpi = dpi_of(inches(across), inches(down)) if unit == METER else None
        elif kind == b"eXIf":
            self.exif = self.exif or content.removeprefix(exif.PREFIX)
        else:
            self._take_text(kind, content)

    def _take_text(self, kind: bytes, content: bytes) -> None:
        key, _, body = content.partition(b"\0")
        keyword, encoding = key.decode("latin-1"), "latin-1"
        if kind == b"iTXt":
            is_packed, _, rest = body[:1] == b"\1", body[1:2], body[2:]
            body, encoding = rest.split(b"\0", 2)[-1] if rest.count(b"\0") >= 2 else b"", "utf-8"
        else:
            is_packed, body = kind == b"zTXt", body[1:] if kind == b"zTXt" else body
        text = self._unpack(body) if is_packed else body
        if keyword == XMP_KEYWORD:
            self.xmp = self.xmp or text
        elif keyword.startswith(RAW_PROFILE):
            self.raw.setdefault(keyword.removeprefix(RAW_PROFILE).lower(), _from_hexadecimal(text))
        elif text:
            self.texts.append(Text(keyword, text.decode(encoding, "replace")))

    def _unpack(self, packed: bytes) -> bytes:
        text = zlib.decompressobj().decompress(packed, self.left) if self.left > 0 else b""
        self.left -= len(text)
        return text

    def result(self) -> Metadata:
        """Return all of it; what has a chunk of its own comes before what is a text in hexadecimal digits."""
        found_exif, xmp, datasets = self.exif, self.xmp, b""
        for name in ("exif", "app1"):
            raw = self.raw.get(name, b"")
            if raw.startswith(XMP_PREFIX):
                xmp = xmp or raw.removeprefix(XMP_PREFIX)
            else:
                found_exif = found_exif or raw.removeprefix(exif.PREFIX)
        for name in ("iptc", "8bim"):
            raw = self.raw.get(name, b"").removeprefix(iptc.RESOURCES_PREFIX)
            datasets = datasets or iptc.trimmed(raw) or iptc.from_resources(raw)
        xmp = xmp or self.raw.get("xmp", b"")
        dpi = self.dpi or exif.resolution_in(found_exif)
        return Metadata(found_exif, xmp.rstrip(b"\0"), (), datasets, tuple(self.texts), dpi)


def read(data: bytes | memoryview, most: int = MOST_BYTES) -> Metadata:
    """Return what a PNG says, in so many bytes at most."""
    reader, size, taken = _Reader(most), 0, 0
    for kind, start, end in chunks(data):
        if kind in TELLING and taken < MOST_TAKEN and size + end - start <= most:
            size += end - start
            taken += 1
            try:
                reader.take(kind, bytes(data[start:end]))
            except (ValueError, zlib.error):
                continue  # A broken text costs none of the others.
    return reader.result()


def _from_hexadecimal(text: bytes) -> bytes:
    """Return a profile that is written as a line of its name, one of its length, and digits."""
    _, _, rest = text.strip().partition(b"\n")
    _, _, digits = rest.strip().partition(b"\n")
    return bytes.fromhex(digits.decode("ascii", "replace"))


def _to_hexadecimal(name: str, data: bytes) -> bytes:
    digits = data.hex()
    lines = "\n".join(digits[place : place + 72] for place in range(0, len(digits), 72))
    return f"\n{name}\n{len(data):8}\n{lines}\n".encode()


def write(metadata: Metadata, profile: bytes) -> list[Chunk]:
    """Return the chunks that go in front of the pixels.

    Args:
        metadata: made true of the answer.
        profile: its color profile. Not the chunk sRGB, which says the same in 13 bytes: programs that hand profiles on
            from file to file hand on this one.
    """
    found: list[Chunk] = [(b"iCCP", b"sRGB\0\0" + zlib.compress(profile, 9))]
    if metadata.dpi:
        across, down = (round(value * INCHES_A_METER) for value in metadata.dpi)
        found.append((b"pHYs", struct.pack(">LLB", across, down, METER)))
    if short := exif.shorten(metadata.exif, MOST_CHUNK_BYTES):
        found.append((b"eXIf", short))
    if metadata.xmp:
        found.append((b"iTXt", XMP_KEYWORD.encode() + bytes(5) + metadata.xmp))
    if metadata.iptc:
        text, keyword = _to_hexadecimal("iptc", iptc.to_resources(metadata.iptc)), (RAW_PROFILE + "iptc").encode()
        is_short = len(text) <= MOST_UNPACKED_BYTES
        found.append(
            (b"zTXt", keyword + bytes(2) + zlib.compress(text, 9)) if is_short else (b"tEXt", keyword + b"\0" + text)
        )
    found += [_text_chunk(text) for text in metadata.texts]
    return [chunk for chunk in found if len(chunk[1]) <= MOST_CHUNK_BYTES]


def _text_chunk(text: Text) -> Chunk:
    keyword, said = text.keyword.encode("latin-1", "replace")[:79] or b"Comment", text.text.replace("\0", "")
    try:
        return b"tEXt", keyword + b"\0" + said.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", keyword + bytes(5) + said.encode(errors="replace")
