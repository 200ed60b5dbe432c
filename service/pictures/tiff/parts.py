"""One strip or tile: bytes of the file -> samples, by the codec of its compression; in a worker only.

References:
    TIFF 6.0 (Aldus, 1992), sections 9 to 15 and 21. TIFF Technical Note 3 (Adobe, 2005): floating-point differences.
    ITU-T T.81 (1992), annex B: frames of a JPEG.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
from jaxtyping import Shaped

from service.pictures.decoders.jpeg_damage import refuse_damaged_unheard
from service.pictures.decoders.lost_end import END
from service.pictures.tiff import directory as tags
from service.pictures.tiff.directory import Directory
from service.pictures.tiff.layout import BLACK_IS_ZERO, JPEG, LOSSY_DNG_JPEG, RGB, YCBCR, Layout

Samples = Shaped[np.ndarray, "rows columns channels"]
"""Of a strip or tile, in its `Layout.sample_type` or one of another byte order."""

Data = Any
"""Bytes; imagecodecs takes views of them, too, though its types do not say so."""

LERC_PARAMETERS: Final = 50674

LERC_PACKINGS: Final = {0: None, 1: "deflate", 2: "zstd"}
"""By the second of the parameters: what the codec's output was compressed with once more."""

MOST_TABLES_BYTES: Final = 1 << 16
"""Of the tables that all JPEGs of a picture share; they have some 600."""

LZW: Final = 5

CLASSIC: Final = 42
"""The version that a TIFF says it is."""

SHORT, LONG = 3, 4

_HEAD, _COUNT, _ENTRY, _NEXT = (struct.Struct(form) for form in ("<2sHL", "<H", "<HHLL", "<L"))

_Decoder = Callable[[Data, int, int], Any]
"""Compressed bytes, fewest and most bytes -> bytes."""

LOSSLESS_FRAME: Final = 0xC3
"""The marker of a frame whose colors no decoder converts."""

PACKBITS_SPARE: Final = 256
"""Writers end a strip's last run behind its last byte; a run has 128 bytes."""


@dataclass(frozen=True)
class Extras:
    """What a directory says beside the layout that decoders need.

    Attributes:
        jpeg_tables: that all parts share; or None.
        t4_options: of CCITT G3.
        lerc_packing: a value of `LERC_PACKINGS`.
    """

    jpeg_tables: bytes | None
    t4_options: int
    lerc_packing: str | None


def read_extras(found: Directory) -> Extras:
    """Return what decoders need of a directory beside its layout."""
    packing = (*found.integers(LERC_PARAMETERS), 0, 0)[1]
    return Extras(
        found.content(tags.JPEG_TABLES, MOST_TABLES_BYTES) or None,
        found.integer(tags.T4_OPTIONS, 0),
        LERC_PACKINGS.get(packing),
    )


def load_decoders() -> None:
    """Load what the most frequent compressions need; imagecodecs loads the others when they are."""
    for name in ("tiff", "deflate", "packbits", "delta", "packints", "bitorder", "jpeg8"):
        getattr(imagecodecs, f"{name}_decode")


def decode_part(layout: Layout, extras: Extras, data: Data, size: tuple[int, int], plane: int) -> Samples:
    """Return the samples of a strip or tile.

    Args:
        layout: of the picture.
        extras: what else its decoder needs.
        data: of the part.
        size: rows and columns of it that lie inside the picture.
        plane: index of its channel, where channels lie apart; else 0.

    Returns:
        Shape (rows, columns, channels or 1).

    Raises:
        ValueError: the bytes do not hold so many; decoders raise others.
    """
    rows, columns = size
    if layout.packing == "picture":
        return _from_picture(layout, extras, data, size)
    if layout.is_mirrored:
        data = imagecodecs.bitorder_decode(data)
    if layout.packing == "bits":
        return _from_fax(layout, extras, data, rows)[:, :columns]
    if layout.subsampling != (1, 1):
        return _from_subsampled(layout, data, rows, plane)[:, :columns]
    channels = 1 if layout.is_apart else layout.samples
    row_bytes = -(-layout.part_width * channels * layout.bits // 8)
    plain = _decompress(layout.compression, data, rows * row_bytes, layout.part_height * row_bytes)
    return _predicted(layout, _unpacked(layout, plain, (rows, layout.part_width, channels)))[:, :columns]


def _decompress(compression: int, data: Data, least: int, most: int) -> memoryview:
    """Return bytes; the last strip may hold as many rows as the others do."""
    plain = data if compression == 1 else memoryview(_DECODERS[compression](data, least, most))
    if len(plain) < least:
        raise ValueError("a strip or tile is too short")
    return plain[:least]


def _unpack_lzw(data: Data, least: int, _most: int) -> Any:
    """Unpack by libtiff, which takes two thirds of the time that imagecodecs' own decoder does.

    It reads files only: here one whose picture has a single row of bytes.
    """
    entries = (
        (tags.WIDTH, LONG, least),
        (tags.HEIGHT, LONG, 1),
        (tags.BITS, SHORT, 8),
        (tags.COMPRESSION, SHORT, LZW),
        (tags.PHOTOMETRIC, SHORT, BLACK_IS_ZERO),
        (tags.STRIP_OFFSETS, LONG, 0),
        (tags.SAMPLES, SHORT, 1),
        (tags.ROWS_PER_STRIP, LONG, 1),
        (tags.STRIP_BYTE_COUNTS, LONG, len(data)),
    )
    after = _HEAD.size + _COUNT.size + len(entries) * _ENTRY.size + _NEXT.size
    packed = (_ENTRY.pack(tag, kind, 1, after if tag == tags.STRIP_OFFSETS else value) for tag, kind, value in entries)
    head = _HEAD.pack(b"II", CLASSIC, _HEAD.size) + _COUNT.pack(len(entries)) + b"".join(packed) + _NEXT.pack(0)
    return imagecodecs.tiff_decode(head + data).reshape(-1)


def _inflate(data: Data, _least: int, most: int) -> Any:
    try:
        return imagecodecs.deflate_decode(data, out=most)
    except imagecodecs.DeflateError:
        # There is more than it should be, which others do not mind either; or it is damaged.
        return zlib.decompressobj().decompress(data, most)


def _unpack_runs(data: Data, _least: int, most: int) -> Any:
    return imagecodecs.packbits_decode(data, out=most + PACKBITS_SPARE)


def _into(name: str) -> _Decoder:
    """Return a decoder of imagecodecs, which is loaded when it is first needed."""
    return lambda data, _least, most: getattr(imagecodecs, name)(data, out=most)


_DECODERS: Final[dict[int, _Decoder]] = {
    LZW: _unpack_lzw,
    8: _inflate,
    32773: _unpack_runs,
    32946: _inflate,
    34925: _into("lzma_decode"),
    34926: _into("zstd_decode"),
    50000: _into("zstd_decode"),
}


def _unpacked(layout: Layout, plain: Data, shape: tuple[int, int, int]) -> Samples:
    """Return the bytes as samples, in the file's byte order where that is no work."""
    if layout.bits in (8, 16, 32, 64):
        dtype = layout.sample_type.newbyteorder("<" if layout.predictor == 3 else layout.order)
        return np.frombuffer(plain, dtype, shape[0] * shape[1] * shape[2]).reshape(shape)
    if layout.bits == 24:  # These have a byte order, which other depths have not.
        triples = np.frombuffer(plain, np.uint8).reshape(*shape, 3).astype(np.uint32)
        low, middle, high = np.moveaxis(triples, -1, 0)[:: 1 if layout.order == "<" else -1]
        return np.asarray(high << 16 | middle << 8 | low)
    row = shape[1] * shape[2]
    return np.asarray(imagecodecs.packints_decode(plain, layout.sample_type, layout.bits, runlen=row).reshape(shape))


def _predicted(layout: Layout, samples: Samples) -> Samples:
    """Return samples from their differences."""
    if layout.predictor == 2:
        bits = samples.view(samples.dtype.str.replace("f", "u").replace("i", "u"))
        native = np.ascontiguousarray(bits, bits.dtype.newbyteorder("="))
        summed = np.asarray(imagecodecs.delta_decode(native, axis=-2))
        return summed.view(layout.sample_type)
    if layout.predictor == 3:
        return np.asarray(imagecodecs.floatpred_decode(samples, axis=-2))
    return samples


def _from_fax(layout: Layout, extras: Extras, data: Data, rows: int) -> Samples:
    if layout.compression == 2:
        bits = imagecodecs.ccittrle_decode(data, rows, layout.part_width)
    elif layout.compression == 3:
        bits = imagecodecs.ccittfax3_decode(data, rows, layout.part_width, t4options=extras.t4_options)
    else:
        bits = imagecodecs.ccittfax4_decode(data, rows, layout.part_width)
    return np.asarray(bits).reshape(rows, layout.part_width, 1)


def _from_subsampled(layout: Layout, data: Data, rows: int, plane: int) -> Samples:
    """Return YCbCr whose chroma has fewer samples: each is repeated, as libtiff does."""
    across, down = layout.subsampling
    most_rows = -(-layout.part_height // down)
    block_rows, blocks = -(-rows // down), -(-layout.part_width // across)
    if layout.is_apart:
        if plane == 0:
            across = down = 1
            block_rows, blocks, most_rows = rows, layout.part_width, layout.part_height
        plain = _decompress(layout.compression, data, block_rows * blocks, most_rows * blocks)
        channel = np.frombuffer(plain, np.uint8).reshape(block_rows, blocks)
        return channel.repeat(down, 0).repeat(across, 1)[:rows, : layout.part_width, None]
    unit = across * down + 2
    plain = _decompress(layout.compression, data, block_rows * blocks * unit, most_rows * blocks * unit)
    units = np.frombuffer(plain, np.uint8).reshape(block_rows, blocks, unit)
    luma = units[..., :-2].reshape(block_rows, blocks, down, across).swapaxes(1, 2)
    chroma = units[..., -2:].repeat(down, 0).repeat(across, 1)
    whole = np.concatenate([luma.reshape(block_rows * down, blocks * across, 1), chroma], axis=2)
    return whole[:rows, : layout.part_width]


def _from_picture(layout: Layout, extras: Extras, data: Data, size: tuple[int, int]) -> Samples:
    """Return what a codec for pictures gives, where it is as large and deep as it must be."""
    picture = _decode_picture(layout, extras, data)
    channels = 1 if layout.is_apart else layout.samples
    samples = picture[..., None] if picture.ndim == 2 else picture
    if samples.ndim != 3 or samples.shape[2] != channels or samples.dtype != layout.sample_type:
        raise ValueError("a strip or tile holds another kind of picture than it should")
    if samples.shape[0] < size[0] or samples.shape[1] < size[1]:
        raise ValueError("a strip or tile is too small")
    return samples[: size[0], : size[1]]


def _decode_picture(layout: Layout, extras: Extras, data: Data) -> "np.ndarray[Any, np.dtype[Any]]":
    compression = layout.compression
    if compression in (JPEG, LOSSY_DNG_JPEG):
        return _decode_jpeg(layout, extras, data)
    if compression in (34927, 50001):
        return np.asarray(imagecodecs.webp_decode(data, hasalpha=layout.samples == 4))
    if compression in (50002, 52546):
        return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1, keeporientation=True))
    if compression == 34887:
        return _decode_lerc(layout, extras, data)
    return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))


def _decode_lerc(layout: Layout, extras: Extras, data: Data) -> "np.ndarray[Any, np.dtype[Any]]":
    most = round(layout.part_width * layout.part_height * layout.stored_bytes) + (1 << 16)
    if extras.lerc_packing == "deflate":
        data = _inflate(data, 0, most)
    elif extras.lerc_packing == "zstd":
        data = imagecodecs.zstd_decode(data, out=most)
    return np.asarray(imagecodecs.lerc_decode(data))


def _decode_jpeg(layout: Layout, extras: Extras, data: Data) -> "np.ndarray[Any, np.dtype[Any]]":
    width, height, has_jfif = _jpeg_frame(data)
    if width > layout.part_width + 15 or height > layout.part_height + 15:
        raise ValueError("a strip or tile holds a larger picture than it should")
    stored, wanted = _jpeg_colors(layout, has_jfif=has_jfif)
    samples = imagecodecs.jpeg8_decode(data, tables=extras.jpeg_tables, colorspace=stored, outcolorspace=wanted)
    if samples.dtype == np.uint8:
        refuse_damaged_unheard(_with_tables(data, extras.jpeg_tables))
    return np.asarray(samples)


def _with_tables(data: Data, tables: bytes | None) -> bytes:
    """Return a JPEG that stands for itself, of one that shares its tables, which lie between a start and an end."""
    return b"".join((data[:2], tables[2:].removesuffix(END), data[2:])) if tables else bytes(data)


def _jpeg_colors(layout: Layout, *, has_jfif: bool) -> tuple[str | None, str | None]:
    """Return the color spaces of the codec's input and output; JFIF is always YCbCr, whatever the directory says."""
    channels = 1 if layout.is_apart else layout.samples
    if channels == 3:
        is_ycbcr = layout.photometric == YCBCR or (layout.photometric == RGB and has_jfif)
        return ("YCBCR" if is_ycbcr else "RGB"), "RGB"
    same = {1: "GRAYSCALE", 4: "CMYK"}.get(channels)
    return same, same


def _jpeg_frame(data: Data) -> tuple[int, int, bool]:
    """Return width and height of a JPEG, and whether JFIF makes it YCbCr; lossless ones it does not."""
    place, has_jfif = 2, False
    while place + 9 < len(data):
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place] != 0xFF:
            break
        if marker == 0xFF:  # A byte to fill up.
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
            return width, height, has_jfif and marker != LOSSLESS_FRAME
        has_jfif |= marker == 0xE0 and bytes(data[place + 4 : place + 8]) == b"JFIF"
        place += 2 + max(length, 2)
    raise ValueError("a strip or tile holds no frame")
