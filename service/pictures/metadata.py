"""What a picture file says beside its pixels, carried from the question over to the answer.

Kept: EXIF (camera, dates, place, captions), XMP (captions, keywords, ratings) and the resolution. Changed, since the
answer is upright, in sRGB and in color: orientation, color space and size; the gray thumbnail is cut off. Color
profiles are not carried over: the pixels were converted. Everything else stays as it was, byte for byte, so that
captions in any encoding and makers' notes survive.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from PIL import Image, TiffImagePlugin, TiffTags

from service.pictures.encode import OutputFormat

T = TypeVar("T")

READ_FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
"""Of other formats nothing is carried over."""

EXIF_PREFIX: Final = b"Exif\0\0"

XMP_PREFIX: Final = b"http://ns.adobe.com/xap/1.0/\0"

MAX_SEGMENT: Final = 65_533
"""Longest content of a JPEG segment, bytes."""

INCHES_A_METER: Final = 39.3701

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825

COLOR_SPACE, WIDTH, HEIGHT = 0xA001, 0xA002, 0xA003

XMP_TAG: Final = 700

SRGB: Final = 1

X_RESOLUTION, Y_RESOLUTION = 0x011A, 0x011B

SHORT, LONG = 3, 4

INTEGERS: Final = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q"}
"""The types of a TIFF's entries that Pillow reads as integers, with their codes for `struct`."""

DESCRIPTIVE_TAGS: Final = frozenset(
    {0x010D, 0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298}
    | set(range(0x9C9B, 0x9CA0))
)
"""What is taken of a TIFF's own tags: name, caption, maker, model, resolution, software, date, artist, host, rating,
copyright, and the Windows captions. The others describe how its pixels are stored."""


@dataclass(frozen=True)
class Metadata:
    """What is carried over.

    Attributes:
        exif: a TIFF structure, without the prefix that JPEG wants; may be empty.
        xmp: an XMP packet; may be empty.
        dpi: pixels an inch, across and down; None when the file does not say.
    """

    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None


def carry_over(question: bytes, answer: bytes, output_format: OutputFormat) -> bytes:
    """Return the answer with the question's metadata.

    Args:
        question: the file that was colored.
        answer: the file in color, without metadata.
        output_format: of the answer.

    Returns:
        The answer; as it was when there is nothing to carry, or nothing that can be read.
    """
    with Image.open(io.BytesIO(answer)) as image:
        size = image.size
        has_alpha = "A" in image.mode
    metadata = read_metadata(question, size)
    if output_format == "png":
        return _into_png(answer, metadata)
    if output_format == "jpeg":
        return _into_jpeg(answer, metadata)
    return _into_webp(answer, metadata, size, has_alpha=has_alpha)


def read_metadata(data: bytes, size: tuple[int, int]) -> Metadata:
    """Return a file's metadata, made to fit an upright sRGB answer.

    Args:
        data: a picture file.
        size: of the answer, width and height, px.

    Returns:
        What could be read; broken metadata is no reason to lose a picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=READ_FORMATS) as image:
            exif = _readable(lambda: _exif_of(image)) or b""
            xmp = _readable(lambda: _xmp_of(image)) or b""
            dpi = _readable(lambda: _dpi_of(image))
    except Exception:  # As in `_readable`.
        return Metadata()
    return Metadata(_fit_exif(exif.removeprefix(EXIF_PREFIX), size), _fit_xmp(xmp.rstrip(b"\0")), dpi)


def _readable(read: Callable[[], T]) -> T | None:
    """Return one part of the metadata, or nothing; a part that is broken costs none of the others."""
    try:
        return read()
    except Exception:  # Nearly anything comes out of broken metadata; the picture itself was fine.
        return None


def _exif_of(image: Image.Image) -> bytes:
    return _exif_of_tiff(image) if image.format == "TIFF" else bytes(image.info.get("exif", b""))


def _xmp_of(image: Image.Image) -> bytes:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _xmp_of_tiff(image.tag_v2)
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp", "")
    return found.encode() if isinstance(found, str) else bytes(found)


def _xmp_of_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bytes:
    """Return the packet as it lies in the file; programs differ in which type they give its bytes."""
    found = tags.get(XMP_TAG, b"")
    for part in found if isinstance(found, tuple) else (found,):
        if isinstance(part, bytes):
            return part
        if isinstance(part, str):
            return part.encode("latin-1")  # Which is how Pillow read it.
    values = found if isinstance(found, tuple) else (found,)
    order = "<" if tags.prefix == b"II" else ">"
    return struct.pack(f"{order}{len(values)}{INTEGERS[tags.tagtype[XMP_TAG]]}", *values)


def _dpi_of(image: Image.Image) -> tuple[float, float] | None:
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not {X_RESOLUTION, Y_RESOLUTION} <= set(image.tag_v2):
        return None  # Pillow would say 1.
    found = image.info.get("dpi")
    return (float(found[0]), float(found[1])) if found and all(1 <= value <= 65_535 for value in found) else None


def _exif_of_tiff(image: Image.Image) -> bytes:
    """Gather the descriptive tags of a TIFF, which are strewn among those of its pixels."""
    image.info.pop("xmp", None)  # Pillow looks for an orientation there, and stumbles over types it does not expect.
    found = image.getexif()
    kept = Image.Exif()
    for tag in DESCRIPTIVE_TAGS & found.keys():
        value = found[tag]
        # Pillow reads strings as Latin-1, and would write "?" for all that is not ASCII, UTF-8 captions included.
        is_text = isinstance(value, str) and TiffTags.lookup(tag).type == TiffTags.ASCII
        value = value.encode("latin-1") if is_text else value
        if _is_writable(tag, value):
            kept[tag] = value
    directories = {ifd: _readable(partial(found.get_ifd, ifd)) or {} for ifd in (EXIF_IFD, GPS_IFD)}
    for ifd, tags in directories.items():
        if writable := {tag: value for tag, value in tags.items() if _is_writable(tag, value, ifd)}:
            kept.get_ifd(ifd).update(writable)
    return kept.tobytes().removeprefix(EXIF_PREFIX) if len(kept) or any(directories.values()) else b""


def _is_writable(tag: int, value: Any, ifd: int | None = None) -> bool:
    """Return whether Pillow can write a tag; it cannot where the value has another type than the tag should."""
    alone = Image.Exif()
    (alone if ifd is None else alone.get_ifd(ifd))[tag] = value
    return _readable(alone.tobytes) is not None


def _fit_exif(exif: bytes, size: tuple[int, int]) -> bytes:
    """Return EXIF in which orientation, color space and size are the answer's, and no thumbnail is referred to."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return b""
    fitted = bytearray(exif)
    new_values = {ORIENTATION: 1, COLOR_SPACE: SRGB, WIDTH: size[0], HEIGHT: size[1]}
    try:
        place = struct.unpack_from(order + "L", fitted, 4)[0]
        inner = None
        for tag, entry in _entries(fitted, order, place):
            if tag == ORIENTATION:
                _set(fitted, order, entry, new_values[tag])
            elif tag == EXIF_IFD:
                inner = struct.unpack_from(order + "L", fitted, entry + 8)[0]
        # The link to the next directory, which holds the thumbnail.
        count = struct.unpack_from(order + "H", fitted, place)[0]
        struct.pack_into(order + "L", fitted, place + 2 + 12 * count, 0)
        for tag, entry in _entries(fitted, order, inner) if inner else ():
            if tag in new_values:
                _set(fitted, order, entry, new_values[tag])
    except struct.error:
        return b""
    return bytes(fitted)


def _entries(exif: bytearray, order: str, place: int) -> Iterator[tuple[int, int]]:
    """Yield tag and place of each entry of a directory (TIFF 6.0, section 2)."""
    for index in range(struct.unpack_from(order + "H", exif, place)[0]):
        entry = place + 2 + 12 * index
        yield struct.unpack_from(order + "H", exif, entry)[0], entry


def _set(exif: bytearray, order: str, entry: int, value: int) -> None:
    """Give a number a value, as the one short or long that it should be.

    Some programs write other integers, or several; they are read (`images.probe`), and so they must not stay.
    """
    kind = struct.unpack_from(order + "H", exif, entry + 2)[0]
    if kind in INTEGERS:
        new_kind, field = (LONG, "L") if kind == LONG or value > 0xFFFF else (SHORT, "Hxx")
        struct.pack_into(order + "HL" + field, exif, entry + 2, new_kind, 1, value)


def _fit_xmp(xmp: bytes) -> bytes:
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))\d", rb"\g<1>1", xmp)


def _into_png(data: bytes, metadata: Metadata) -> bytes:
    chunks = []
    if metadata.dpi:
        across, down = (round(value * INCHES_A_METER) for value in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">LLB", across, down, 1)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    inserted = b"".join(
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in chunks
    )
    header_end = 8 + 12 + 13  # signature, and the chunk IHDR
    return data[:header_end] + inserted + data[header_end:]


def _into_jpeg(data: bytes, metadata: Metadata) -> bytes:
    """Insert segments behind the one of JFIF, in which the resolution goes; what is too long for one is left out."""
    start, rest = data[:2], data[2:]
    if rest.startswith(b"\xff\xe0") and rest[4:9] == b"JFIF\0":
        end = 2 + int.from_bytes(rest[2:4], "big")
        jfif, rest = bytearray(rest[:end]), rest[end:]
        if metadata.dpi:
            struct.pack_into(">BHH", jfif, 11, 1, *(round(value) for value in metadata.dpi))
        start += bytes(jfif)
    for prefix, body in ((EXIF_PREFIX, metadata.exif), (XMP_PREFIX, metadata.xmp)):
        if body and len(prefix + body) <= MAX_SEGMENT:
            start += b"\xff\xe1" + (len(prefix + body) + 2).to_bytes(2, "big") + prefix + body
    return start + rest


def _into_webp(data: bytes, metadata: Metadata, size: tuple[int, int], *, has_alpha: bool) -> bytes:
    """Append chunks, and announce them in front (RFC 9649, section 2.7)."""
    if not metadata.exif and not metadata.xmp:
        return data
    chunks = data[12:]
    if chunks.startswith(b"VP8X"):
        head, chunks = bytearray(chunks[:18]), chunks[18:]
    else:
        sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
        head = bytearray(b"VP8X" + struct.pack("<L", 10) + bytes([has_alpha << 4, 0, 0, 0]) + sides)
    head[8] |= bool(metadata.exif) << 3 | bool(metadata.xmp) << 2
    for kind, body in ((b"EXIF", metadata.exif), (b"XMP ", metadata.xmp)):
        if body:
            chunks += kind + struct.pack("<L", len(body)) + body + bytes(len(body) % 2)
    content = b"WEBP" + bytes(head) + chunks
    return b"RIFF" + struct.pack("<L", len(content)) + content
