"""EXIF: a TIFF structure of directories, read within bounds, made true of the answer, written anew where it must be.

What came as such a structure stays byte for byte, apart from the few numbers that are no longer true: makers' notes may
refer to places in it. What was scattered over a TIFF is gathered into a new one.

References:
    TIFF 6.0 (Aldus, 1992), section 2; BigTIFF (Adobe, 2004). CIPA DC-008 (EXIF).
"""

import struct
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from service.pictures.metadata.belongings import MOST_BYTES, dpi_of

PREFIX: Final = b"Exif\0\0"
"""In front of EXIF in JPEG, and by mistake in some other files."""

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0xA005

DESCRIPTION, IMAGE_WIDTH, IMAGE_HEIGHT, IMAGE_HISTORY = 0x010E, 0x0100, 0x0101, 0x9213

COLOR_SPACE, WIDTH, HEIGHT, MAKER_NOTE = 0xA001, 0xA002, 0xA003, 0x927C

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128

RESOLUTION_TAGS: Final = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)

THUMBNAIL_START, THUMBNAIL_BYTES = 0x0201, 0x0202

JPEG_START: Final = b"\xff\xd8"

CENTIMETER: Final = 3

SRGB: Final = 1

ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 2, 3, 4, 5, 7, 16

SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value, by the type of an entry."""

INTEGERS: Final = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q"}
"""The types that are read as integers, with their codes for `struct`."""

MOST_ENTRIES: Final = 2048
"""Of a directory; real ones have some hundred, hostile ones 65,535."""


class Entry(NamedTuple):
    """One entry of a directory.

    Attributes:
        kind: type of the values.
        number: of the values.
        data: the values, in the byte order of the file.
    """

    kind: int
    number: int
    data: bytes


@dataclass
class Directory:
    """Entries by tag, and the directories that belong to it by the tag that refers to them."""

    entries: dict[int, Entry] = field(default_factory=dict)
    children: dict[int, "Directory"] = field(default_factory=dict)


@dataclass(frozen=True)
class Structure:
    """A TIFF structure, or a TIFF file, to be read.

    Attributes:
        data: all of it.
        order: of bytes, `<` or `>`.
        big: whether it is BigTIFF.
        first: where the first directory is.
    """

    data: bytes | memoryview
    order: str
    big: bool
    first: int

    @classmethod
    def of(cls, data: bytes | memoryview) -> "Structure | None":
        """Return the structure that data begins with, None when it is none."""
        order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
        if order is None or len(data) < 8:
            return None
        version = struct.unpack_from(order + "H", data, 2)[0]
        if version == 42:
            return cls(data, order, False, struct.unpack_from(order + "L", data, 4)[0])
        if version == 43 and len(data) >= 16:
            return cls(data, order, True, struct.unpack_from(order + "Q", data, 8)[0])
        return None

    def places(self, place: int) -> Iterator[tuple[int, int]]:
        """Yield tag and place of each entry of a directory.

        Raises:
            struct.error: it lies outside.
            ValueError: it has too many entries to be one.
        """
        count = self.count(place)
        start, step = (place + 8, 20) if self.big else (place + 2, 12)
        for entry in range(start, start + count * step, step):
            yield struct.unpack_from(self.order + "H", self.data, entry)[0], entry

    def count(self, place: int) -> int:
        """Return how many entries the directory at a place has.

        Raises:
            struct.error: it lies outside.
            ValueError: it has too many entries to be one.
        """
        count = int(struct.unpack_from(self.order + ("Q" if self.big else "H"), self.data, place)[0])
        if count > MOST_ENTRIES:
            raise ValueError(f"a directory of {count} entries")
        return count

    def entry(self, place: int, most: int = MOST_BYTES) -> Entry | None:
        """Return the entry at a place; None where its values lie outside, are of no known type, or too many bytes."""
        kind, count = struct.unpack_from(self.order + ("HQ" if self.big else "HL"), self.data, place + 2)
        room, start = (8, place + 12) if self.big else (4, place + 8)
        size = SIZES.get(kind, 0) * count
        if not 0 < size <= most:  # Before they are copied: thousands of entries may all refer to the same.
            return None
        if size > room:
            start = struct.unpack_from(self.order + ("Q" if self.big else "L"), self.data, start)[0]
        data = bytes(self.data[start : start + size])
        return Entry(kind, count, data) if len(data) == size else None

    def directory(self, place: int, tags: Container[int] | None = None, *, most: int = MOST_BYTES) -> dict[int, Entry]:
        """Return the entries of a directory that can be read, the first of each tag; none where there is none.

        Args:
            place: where it is.
            tags: that are wanted; None for all.
            most: bytes that all of them may have.
        """
        found: dict[int, Entry] = {}
        try:
            for tag, at in self.places(place):
                is_wanted = tag not in found and (tags is None or tag in tags)
                entry = self.entry(at, most) if is_wanted else None
                if entry is not None:
                    found[tag] = entry
                    most -= len(entry.data)
        except (struct.error, ValueError, OverflowError):
            return found
        return found

    def integer(self, entry: Entry | None) -> int | None:
        """Return the first value of an entry; None where it is no integer."""
        if entry is None or entry.kind not in INTEGERS:
            return None
        return int(struct.unpack_from(self.order + INTEGERS[entry.kind], entry.data)[0])

    def number(self, entry: Entry | None) -> float | None:
        """Return the first value of an entry; None where it is no fraction and no integer."""
        if entry is None or entry.kind != RATIONAL:
            return self.integer(entry)
        above, below = struct.unpack_from(self.order + "LL", entry.data)
        return above / below if below else None

    def placed(self, tags: Container[int]) -> dict[int, bytes]:
        """Return entries of the first directory as they are, 12 bytes each, by tag; not of a BigTIFF."""
        found: dict[int, bytes] = {}
        for tag, place in self.places(self.first):
            if tag in tags:
                found.setdefault(tag, bytes(self.data[place : place + 12]))
        return found

    def tree(self) -> Directory:
        """Return the first directory, with those of EXIF and place."""
        return self.with_children(self.directory(self.first), (EXIF_IFD, GPS_IFD))

    def with_children(self, entries: dict[int, Entry], tags: tuple[int, ...]) -> Directory:
        """Return entries as a directory, with the directories that some of them refer to."""
        return self._with_children(entries, tags, MOST_BYTES - _size_of(entries))[0]

    def _with_children(self, entries: Mapping[int, Entry], tags: tuple[int, ...], left: int) -> tuple[Directory, int]:
        """Return entries and what they refer to, in so many bytes more at most, and how many of these are left."""
        found = Directory(dict(entries))
        for tag in tags:
            place = self.integer(found.entries.pop(tag, None))
            if place and (inner := self.directory(place, most=left)):
                further = (INTEROP_IFD,) if tag == EXIF_IFD else ()
                found.children[tag], left = self._with_children(inner, further, left - _size_of(inner))
        return found, left


def _size_of(entries: Mapping[int, Entry]) -> int:
    return sum(len(entry.data) for entry in entries.values())


def orientation_of(exif: bytes) -> int | None:
    """Return the orientation that EXIF states, 1 to 8; None where it states none."""
    found = Structure.of(exif)
    value = found and found.integer(found.directory(found.first, (ORIENTATION,)).get(ORIENTATION))
    return value if value and 1 <= value <= 8 else None


def resolution_of(found: Structure, entries: Mapping[int, Entry]) -> tuple[float, float] | None:
    """Return the resolution that a directory states, px an inch, across and down."""
    across, down = (found.number(entries.get(tag)) for tag in (X_RESOLUTION, Y_RESOLUTION))
    if not across or not down:
        return None
    unit = 2 if RESOLUTION_UNIT not in entries else found.integer(entries[RESOLUTION_UNIT])
    if unit not in (2, CENTIMETER):
        return None
    factor = 2.54 if unit == CENTIMETER else 1.0
    return dpi_of(across * factor, down * factor)


def resolution_in(block: bytes) -> tuple[float, float] | None:
    """Return the resolution that EXIF states, px an inch, across and down; None where it states none."""
    found = Structure.of(block)
    return None if found is None else resolution_of(found, found.directory(found.first, RESOLUTION_TAGS))


def fit_exif(exif: bytes, size: tuple[int, int]) -> bytes:
    """Return EXIF in which orientation, color space and size are the answer's, without a thumbnail.

    Args:
        exif: a TIFF structure.
        size: of the answer, width and height, px.

    Returns:
        The same, with other numbers; nothing where it cannot be read.
    """
    found = Structure.of(exif)
    if found is None or found.big:
        return b""
    fitted = bytearray(exif)
    values = {IMAGE_WIDTH: size[0], IMAGE_HEIGHT: size[1], COLOR_SPACE: SRGB, WIDTH: size[0], HEIGHT: size[1]}
    if (orientation_of(exif) or 1) > 1:
        values[ORIENTATION] = 1
    try:
        inner = found.integer(found.directory(found.first, (EXIF_IFD,)).get(EXIF_IFD))
        _set_all(fitted, found, found.first, values)
        link = found.first + 2 + 12 * found.count(found.first)
    except (struct.error, ValueError):
        return b""
    with suppress(struct.error, ValueError):
        _set_all(fitted, found, inner or 0, values)
    if link + 4 <= len(fitted) and (thumbnail := struct.unpack_from(found.order + "L", fitted, link)[0]):
        struct.pack_into(found.order + "L", fitted, link, 0)
        _wipe_thumbnail(fitted, found, thumbnail)
    return bytes(fitted)


def _set_all(exif: bytearray, found: Structure, place: int, values: Mapping[int, int]) -> None:
    if place:
        for tag, entry in found.places(place):
            if tag in values:
                _set(exif, found.order, entry, values[tag])


def _wipe_thumbnail(exif: bytearray, found: Structure, place: int) -> None:
    """Cut a thumbnail off where it is the last there is, else overwrite it, so that nothing moves."""
    entries = found.directory(place, (THUMBNAIL_START, THUMBNAIL_BYTES))
    start, size = (found.integer(entries.get(tag)) or 0 for tag in (THUMBNAIL_START, THUMBNAIL_BYTES))
    end = len(exif)
    if not 8 < start < start + size <= end:
        return
    if start > place and start + size >= end - 16:
        del exif[start:]
    elif exif[start : start + 2] == JPEG_START:  # A place that is not true may be that of something else.
        exif[start : start + size] = bytes(size)


def _set(exif: bytearray, order: str, entry: int, value: int) -> None:
    """Give a number a value, as the one short or long that it should be.

    Some programs write other integers, or several; they are obeyed, and so they must not stay.
    """
    kind = struct.unpack_from(order + "H", exif, entry + 2)[0]
    if kind in INTEGERS:
        new_kind, code = (LONG, "L") if kind == LONG or value > 0xFFFF else (SHORT, "Hxx")
        struct.pack_into(order + "HL" + code, exif, entry + 2, new_kind, 1, value)


def shorten(exif: bytes, most: int) -> bytes:
    """Return EXIF that is no longer than so many bytes: without the maker's note, if need be, or none at all."""
    if len(exif) <= most:
        return exif
    found = Structure.of(exif)
    if found is None:
        return b""
    tree = found.tree()
    if EXIF_IFD in tree.children:
        tree.children[EXIF_IFD].entries.pop(MAKER_NOTE, None)
    short = build(tree, found.order)
    return short if len(short) <= most else b""


def build(tree: Directory, order: str) -> bytes:
    """Write a directory and its children as a TIFF structure; nothing where there is none."""
    if not tree.entries and not tree.children:
        return b""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8) + lay(tree, 8, order)


def lay(
    tree: Directory, place: int, order: str, *, big: bool = False, placed: Mapping[int, bytes] | None = None
) -> bytes:
    """Write a directory, and behind it its values and children.

    Args:
        tree: what it holds.
        place: where it comes to lie in the file.
        order: of bytes.
        big: whether the file is a BigTIFF.
        placed: further entries as they are, 12 bytes each, by tag, whose values lie somewhere else in the file.

    Returns:
        The bytes.
    """
    pointer, room, head, step = ("Q", 8, 8, 20) if big else ("L", 4, 2, 12)
    placed = placed or {}
    tags = sorted(tree.entries.keys() | tree.children.keys() | placed.keys())
    free = place + head + step * len(tags) + room
    table, heap = [struct.pack(order + ("Q" if big else "H"), len(tags))], bytearray()

    def put(kind: int, count: int, data: bytes) -> Any:
        if len(data) > room:
            at = struct.pack(order + pointer, free + len(heap))
            heap.extend(data + bytes(len(data) % 2))
            data = at
        return struct.pack(order + "HH" + pointer, tag, kind, count) + data.ljust(room, b"\0")

    for tag in tags:
        if tag in tree.children:
            start = free + len(heap)
            heap.extend(lay(tree.children[tag], start, order, big=big))
            table.append(put(LONG8 if big else LONG, 1, struct.pack(order + pointer, start)))
        elif tag in tree.entries:
            table.append(put(*tree.entries[tag]))
        else:
            table.append(placed[tag])
    return b"".join(table) + bytes(room) + bytes(heap)


def resolution_entries(dpi: tuple[float, float], order: str) -> dict[int, Entry]:
    """Return the entries that say a resolution, px an inch."""
    across, down = (Entry(RATIONAL, 1, struct.pack(order + "LL", round(value * 1000), 1000)) for value in dpi)
    inches = Entry(SHORT, 1, struct.pack(order + "H", 2))
    return {X_RESOLUTION: across, Y_RESOLUTION: down, RESOLUTION_UNIT: inches}


def with_resolution(exif: bytes, dpi: tuple[float, float]) -> bytes:
    """Return EXIF that says a resolution, px an inch, unless it says one itself; nothing else in it moves."""
    found = Structure.of(exif)
    if found is None:
        return build(Directory(resolution_entries(dpi, "<")), "<")
    own = found.directory(found.first)
    if {X_RESOLUTION, Y_RESOLUTION} & own.keys():
        return exif
    placed = found.placed(own.keys() - {RESOLUTION_UNIT})
    start = len(exif) + len(exif) % 2
    first = lay(Directory(resolution_entries(dpi, found.order)), start, found.order, placed=placed)
    return exif[:4] + struct.pack(found.order + "L", start) + exif[8:].ljust(start - 8, b"\0") + first


def has_caption(exif: bytes) -> bool:
    """Return whether EXIF holds a description of the picture."""
    found = Structure.of(exif)
    return found is not None and DESCRIPTION in found.directory(found.first, (DESCRIPTION,))
