"""TIFF files for the tests, written by hand, since neither Pillow nor OpenCV writes the channels in planes apart.

Any number of channels of 1 to 16 bits, interleaved or in planes, in strips or tiles, of either byte order, classic or
BigTIFF, uncompressed, LZW or deflate (TIFF 6.0: Aldus, 1992; BigTIFF: Adobe, 2004).
"""

import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

Compression = Literal["none", "lzw", "deflate"]
COMPRESSIONS: Final[dict[Compression, int]] = {"none": 1, "lzw": 5, "deflate": 8}
FILL_ORDER: Final = 266
SHORT: Final = 3
LONG: Final = 4
UNDEFINED: Final = 7
DOUBLE: Final = 12
CODES: Final = {SHORT: "H", LONG: "L", UNDEFINED: "B", DOUBLE: "d"}
"""Types of values, with their codes for `struct`."""
UNASSOCIATED_ALPHA: Final = 2
"""ExtraSamples: opacity by which the colors have not been multiplied."""


def tiff(
    levels: np.ndarray,
    *,
    planes: bool = True,
    order: Literal["<", ">"] = "<",
    big: bool = False,
    rows: int | None = None,
    tile: int | None = None,
    compression: Compression = "none",
    predictor: bool = False,
    bits: int | None = None,
    tags: Mapping[int, bytes | Sequence[float] | None] | None = None,
    pages: int = 1,
) -> bytes:
    """Write a TIFF.

    Args:
        levels: gray (H, W) or channels last (H, W, C), uint8 or uint16.
        planes: each channel lies apart (PlanarConfiguration 2), instead of the channels of a pixel side by side.
        order: of bytes.
        big: BigTIFF, with 64-bit offsets.
        rows: of a strip; None means all of them.
        tile: side of a tile in px, a multiple of 16; None means strips.
        compression: of each strip or tile by itself.
        predictor: differences between neighbors are stored, instead of levels.
        bits: of a sample, packed most significant bit first; None means all that the levels have.
        tags: more tags, or other values of those written anyway: of SHORT, of DOUBLE with a float among them, of
            UNDEFINED from bytes; None leaves one out. FillOrder is obeyed.
        pages: so often the same picture.

    Returns:
        The file.
    """
    stored = levels if levels.ndim == 3 else levels[..., None]
    height, width, channels = stored.shape
    parts = [
        _packed(part, order, compression, predictor=predictor, bits=bits)
        for plane in (np.split(stored, channels, axis=2) if planes else [stored])
        for part in (_strips(plane, rows or height) if tile is None else _tiles(plane, tile))
    ]
    if tags and tags.get(FILL_ORDER) == [2]:
        parts = [_mirrored(part) for part in parts]
    lengths = [len(part) for part in parts]
    entries: dict[int, tuple[int, Sequence[float]]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits or 8 * stored.itemsize] * channels),
        259: (SHORT, [COMPRESSIONS[compression]]),
        262: (SHORT, [2 if channels >= 3 else 1]),
        277: (SHORT, [channels]),
        284: (SHORT, [2 if planes else 1]),
    }
    if channels in (2, 4):
        entries[338] = (SHORT, [UNASSOCIATED_ALPHA])
    if predictor:
        entries[317] = (SHORT, [2])
    if tile is None:
        entries[278] = (LONG, [rows or height])
        starts, sizes = 273, 279
    else:
        entries |= {322: (LONG, [tile]), 323: (LONG, [tile])}
        starts, sizes = 324, 325
    entries |= {starts: (LONG, []), sizes: (LONG, lengths)}
    del entries[starts]
    for tag, values in (tags or {}).items():
        entries.pop(tag, None)
        if values is not None:
            entries[tag] = _typed(values)
    return around(parts, entries, starts=starts, order=order, big=big, pages=pages)


def around(
    parts: Sequence[bytes],
    entries: Mapping[int, tuple[int, Sequence[float]]],
    *,
    starts: int = 273,
    order: Literal["<", ">"] = "<",
    big: bool = False,
    pages: int = 1,
) -> bytes:
    """Write a TIFF around strips or tiles as they are.

    Args:
        parts: strips or tiles.
        entries: type and values of each tag, but for that of where the parts start.
        starts: that tag.
        order: of bytes.
        big: BigTIFF.
        pages: so often the same picture.

    Returns:
        The file.
    """
    *places, size = itertools.accumulate((len(part) for part in parts), initial=0)
    all_entries = dict(entries) | {starts: (LONG, [0] * len(parts))}
    file = bytearray(b"II" if order == "<" else b"MM")
    file += struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HL", 42, 8)
    for page in range(pages):
        place = len(file) + len(_directory(all_entries, 0, 0, order, big=big))
        all_entries[starts] = (LONG, [place + each for each in places])
        after = place + size if page + 1 < pages else 0
        file += _directory(all_entries, len(file), after, order, big=big) + b"".join(parts)
    return bytes(file)


def _typed(values: bytes | Sequence[float]) -> tuple[int, Sequence[float]]:
    if isinstance(values, bytes):
        return UNDEFINED, values
    return (DOUBLE if any(isinstance(value, float) for value in values) else SHORT), values


def _strips(plane: np.ndarray, rows: int) -> list[np.ndarray]:
    return [plane[top : top + rows] for top in range(0, len(plane), rows)]


def _tiles(plane: np.ndarray, side: int) -> list[np.ndarray]:
    height, width = plane.shape[:2]
    whole = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    return [
        whole[top : top + side, left : left + side] for top in range(0, height, side) for left in range(0, width, side)
    ]


def _packed(part: np.ndarray, order: str, compression: Compression, *, predictor: bool, bits: int | None) -> bytes:
    if predictor:
        part = np.diff(part, axis=1, prepend=part.dtype.type(0))
    data = part.astype(part.dtype.newbyteorder(order)).tobytes() if bits is None else _in_bits(part, bits)
    if compression == "deflate":
        data = zlib.compress(data)
    if compression == "lzw":
        data = _lzw(data)
    return data + bytes(len(data) % 2)


def _in_bits(part: np.ndarray, bits: int) -> bytes:
    """Return samples of fewer bits than their type has, each row filled up to a whole byte."""
    apart = (part.reshape(len(part), -1, 1).astype(np.uint64) >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & 1
    return np.packbits(apart.astype(np.uint8).reshape(len(part), -1), axis=1).tobytes()


def _mirrored(data: bytes) -> bytes:
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)
    return np.packbits(bits[:, ::-1]).tobytes()


def _lzw(data: bytes) -> bytes:
    """Write bytes as literals, with a clear code before the ninth bit would not do any more (TIFF 6.0, section 13)."""
    clear, end = 256, 257
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [clear, *data[start : start + 200]]
    bits = (np.array([*codes, end])[:, None] >> np.arange(8, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def _directory(
    entries: Mapping[int, tuple[int, Sequence[float]]], place: int, after: int, order: str, *, big: bool
) -> bytes:
    """Return a directory of tags and behind it the values that do not fit into it."""
    count, entry, offset, room = ("Q", "HHQ", "Q", 8) if big else ("H", "HHL", "L", 4)
    size = struct.calcsize(f"<{count}") + len(entries) * (struct.calcsize(f"<{entry}") + room) + room
    table, behind = struct.pack(order + count, len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{CODES[kind]}", *values)
        table += struct.pack(order + entry, tag, kind, len(values))
        if len(packed) <= room:
            table += packed.ljust(room, b"\0")
        else:
            table += struct.pack(order + offset, place + size + len(behind))
            behind += packed + bytes(len(packed) % 2)
    return table + struct.pack(order + offset, after) + behind
