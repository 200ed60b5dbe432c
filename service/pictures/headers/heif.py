"""The header of an AVIF or a HEIC: the primary item, its properties, and whether there are films beside it.

References:
    ISO/IEC 23008-12:2022 (HEIF), sections 6 and 9. ISO/IEC 14496-12:2022, sections 8.11 and 12.1.5.
    AV1 Image File Format 1.1 (AOM, 2022). AV1 and HEVC configuration: ISO/IEC 14496-15:2022, section 8.3.
"""

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from service.errors import BrokenPicture, CostlyPicture, SeveralFrames, UnsupportedPicture
from service.pictures.header import MOST_PROFILE_BYTES, Crop, Header
from service.pictures.headers.boxes import FULL_HEAD_BYTES, Box, Reader, boxes, brands, find
from service.pictures.signals import Signal, from_code_points

MOST_ENTRIES: Final = 1 << 14
"""Of all lists together: items, references, properties of items. A picture of a thousand tiles has some 5000."""

MOST_TRACKS: Final = 16

MOST_IN_TRACK: Final = 64
"""Boxes on each level of a track."""

ALPHA_URNS: Final = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")

ORIENTATIONS: Final = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip
"""EXIF's orientation, by quarter turns to the left and the mirror that follows: 0 top to bottom, 1 left to right."""

AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})

HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"})

CODED: Final = {b"av01": "AVIF", b"hvc1": "HEIC"}
"""What an item of pixels is coded as, and the format that this makes of the file."""

UNREAD_CODES: Final = {
    b"avc1": "H.264", b"vvc1": "H.266", b"evc1": "EVC", b"j2k1": "JPEG 2000", b"jpeg": "JPEG", b"unci": "no codec",
}  # fmt: skip

DERIVED: Final = (b"grid", b"iovl", b"iden")
"""Items that are put together of others."""


@dataclass
class _Item:
    kind: bytes = b""
    properties: list[Box] = field(default_factory=list)


@dataclass
class _Meta:
    """What the box of metadata says."""

    primary: int = 0
    items: dict[int, _Item] = field(default_factory=dict)
    parts: dict[int, list[int]] = field(default_factory=dict)
    alphas_of: dict[int, set[int]] = field(default_factory=dict)
    spent: int = 0

    def spend(self, entries: int) -> None:
        """Count entries of the file's lists.

        Raises:
            CostlyPicture: there are more than any writer makes.
        """
        self.spent += entries
        if self.spent > MOST_ENTRIES:
            raise CostlyPicture(f"The file lists more than {MOST_ENTRIES} things. Save it anew, and it is taken.")


def read(data: bytes) -> Header:
    """Read an AVIF's or a HEIC's header.

    Raises:
        BrokenPicture: damaged.
        CostlyPicture: it holds more items than any writer makes.
        SeveralFrames: it is animated.
        UnsupportedPicture: its pixels are coded in a way that is not read.
    """
    _refuse_films(data)
    meta = _read_meta(data)
    item = meta.items.get(meta.primary)
    if item is None:
        raise BrokenPicture("The file does not say which of its items is the picture.")
    coded = meta.items.get(next(iter(meta.parts.get(meta.primary, ())), -1), item) if item.kind in DERIVED else item
    if coded.kind in UNREAD_CODES:
        raise UnsupportedPicture(f"HEIF files of {UNREAD_CODES[coded.kind]} are not read here: save it as PNG or JPEG.")
    if coded.kind not in CODED:
        raise BrokenPicture("The file does not say how its picture is coded.")
    header = _of_properties(data, item.properties, coded.properties, CODED[coded.kind])
    has_alpha = any(_is_alpha(data, meta.items.get(other)) for other in meta.alphas_of.get(meta.primary, ()))
    if has_alpha:
        header = replace(header, mode={"L": "LA", "I;16": "LA"}.get(header.mode, "RGBA"), wide=header.bits > 8)
    return header


def _refuse_films(data: bytes) -> None:
    film = find(data, b"moov")
    if film is None:
        return
    for track in islice(boxes(data, film.start, film.end), MOST_TRACKS):
        place: Box | None = track
        for kind in (b"mdia", b"minf", b"stbl", b"stsz"):
            place = find(data, kind, place.start, place.end, most=MOST_IN_TRACK) if place else None
        if place and Reader(data, place.start + FULL_HEAD_BYTES + 4, place.end).number(4) > 1:
            raise SeveralFrames("Animations are not taken: send one picture.", limit=1)


def _read_meta(data: bytes) -> _Meta:
    box = find(data, b"meta")
    if box is None:
        raise BrokenPicture("The file ends before it says what it holds.")
    meta = _Meta()
    seen = set()
    for part in boxes(data, box.start + FULL_HEAD_BYTES, box.end):
        if part.kind in seen:
            continue
        seen.add(part.kind)
        reader = Reader(data, part.start + FULL_HEAD_BYTES, part.end)
        version = data[part.start] if part.start < len(data) else 0
        if part.kind == b"pitm":
            meta.primary = reader.number(2 if version == 0 else 4)
        elif part.kind == b"iinf":
            _read_items(data, part, 2 if version == 0 else 4, meta)
        elif part.kind == b"iref":
            _read_references(data, part, 2 if version == 0 else 4, meta)
        elif part.kind == b"iprp":
            store = find(data, b"ipco", part.start, part.end)
            properties = list(boxes(data, store.start, store.end)) if store else []
            for links in boxes(data, part.start, part.end):
                if links.kind == b"ipma":
                    _link(data, links, properties, meta)
    return meta


def _read_items(data: bytes, part: Box, count_bytes: int, meta: _Meta) -> None:
    for entry in boxes(data, part.start + FULL_HEAD_BYTES + count_bytes, part.end):
        version = data[entry.start] if entry.start < len(data) else 0
        reader = Reader(data, entry.start + FULL_HEAD_BYTES, entry.end)
        number = reader.number(4 if version == 3 else 2)
        reader.number(2)
        meta.items.setdefault(number, _Item()).kind = reader.take(4)
        meta.spend(1)


def _read_references(data: bytes, part: Box, number_bytes: int, meta: _Meta) -> None:
    for reference in boxes(data, part.start + FULL_HEAD_BYTES, part.end):
        reader = Reader(data, reference.start, reference.end)
        source, count = reader.number(number_bytes), reader.number(2)
        count = min(count, reader.left // number_bytes)
        meta.spend(1 + count)
        targets = [reader.number(number_bytes) for _ in range(count)]
        if reference.kind == b"dimg":
            meta.parts[source] = targets
        elif reference.kind == b"auxl":
            for target in targets:
                meta.alphas_of.setdefault(target, set()).add(source)


def _link(data: bytes, links: Box, properties: list[Box], meta: _Meta) -> None:
    """Give items their properties."""
    reader = Reader(data, links.start, links.end)
    version, flags = reader.number(1), reader.number(3)
    for _ in range(reader.number(4)):
        if not reader.left:
            return
        meta.spend(1)
        item = meta.items.setdefault(reader.number(2 if version == 0 else 4), _Item())
        linked = reader.number(1)
        meta.spend(linked)
        for _ in range(linked):
            index = reader.number(2) & 0x7FFF if flags & 1 else reader.number(1) & 0x7F
            if 1 <= index <= len(properties):
                item.properties.append(properties[index - 1])


def _of_properties(data: bytes, own: list[Box], coded: list[Box], kind: str) -> Header:
    size = _first(data, own, b"ispe")
    if size is None:
        raise BrokenPicture("The file does not say how large its picture is.")
    size.number(FULL_HEAD_BYTES)
    width, height = size.number(4), size.number(4)
    bits, channels = _depth(data, own, coded)
    crop, turns, mirror = None, 0, None
    for box in own:
        reader = Reader(data, box.start, box.end)
        if box.kind == b"clap":
            crop = _crop(reader, width, height)
        elif box.kind == b"irot":
            turns = reader.number(1) & 3
        elif box.kind == b"imir":
            mirror = reader.number(1) & 1
    stored = (width, height)
    if crop:
        width, height, left, top = crop
    orientation = ORIENTATIONS[turns, mirror]
    is_heic = kind == "HEIC"
    # Decoders of HEIC turn and crop by themselves, as the standard wants it.
    if is_heic and orientation >= 5:
        width, height = height, width
    profile, signal = _color(data, own)
    return Header(
        format=kind,
        width=width,
        height=height,
        mode="RGB" if channels != 1 else "I;16" if bits > 8 else "L",
        orientation=1 if is_heic else orientation,
        wide=channels != 1 and bits > 8,
        icc_profile=profile,
        bits=bits,
        signal=signal,
        crop=Crop(left, top, *stored) if crop else None,
    )


def _first(data: bytes, properties: list[Box], kind: bytes) -> Reader | None:
    return next((Reader(data, box.start, box.end) for box in properties if box.kind == kind), None)


def _depth(data: bytes, own: list[Box], coded: list[Box]) -> tuple[int, int]:
    """Return bits a channel, and channels, of the decoder's configuration; or of `pixi`."""
    if reader := _first(data, coded, b"av1C"):
        reader.number(2)
        flags = reader.number(1)
        bits = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
        return bits, 1 if flags & 0x10 else 3
    if reader := _first(data, coded, b"hvcC"):
        reader.number(16)
        chroma, luma = reader.number(1) & 3, reader.number(1) & 7
        return 8 + luma, 1 if chroma == 0 else 3
    if reader := _first(data, own, b"pixi"):
        reader.number(FULL_HEAD_BYTES)
        channels = reader.number(1)
        return reader.number(1) or 8, channels
    raise BrokenPicture("The file does not say how its picture is coded.")


def _crop(reader: Reader, width: int, height: int) -> tuple[int, int, int, int]:
    """Return width, height, left and top of a clean aperture (ISO/IEC 14496-12, section 12.1.4)."""
    fractions = [(reader.number(4), reader.number(4)) for _ in range(4)]
    if any(not below for _, below in fractions):
        raise BrokenPicture("The part of the picture that is to be shown makes no sense.")
    (wide, wide_over), (high, high_over), *offsets = fractions
    sides = wide // wide_over, high // high_over
    places = []
    for (shift, over), side, full in zip(offsets, sides, (width, height), strict=True):
        signed = shift - (1 << 32) if shift >> 31 else shift
        # The offset is one of centers, in halves of a pixel where a side is odd.
        places.append(((full - side) * over + 2 * signed) // (2 * over))
    left, top = places
    if not (0 <= left <= left + sides[0] <= width and 0 <= top <= top + sides[1] <= height and all(sides)):
        raise BrokenPicture("The part of the picture that is to be shown lies outside of it.")
    return sides[0], sides[1], left, top


def _color(data: bytes, own: list[Box]) -> tuple[bytes | None, Signal | None]:
    """Return the profile, or what the numbers say; a file may have both, and the profile wins."""
    profile, signal = None, None
    for box in own:
        if box.kind != b"colr":
            continue
        kind = data[box.start : box.start + 4]
        if kind in (b"prof", b"rICC"):
            if box.end - box.start <= MOST_PROFILE_BYTES:
                profile = profile or data[box.start + 4 : box.end]
        elif kind == b"nclx" and profile is None:
            reader = Reader(data, box.start + 4, box.end)
            signal = from_code_points(reader.number(2), reader.number(2), "nclx box")
    return profile, None if profile else signal


def _is_alpha(data: bytes, item: _Item | None) -> bool:
    reader = _first(data, item.properties, b"auxC") if item else None
    return bool(reader and reader.take(FULL_HEAD_BYTES + 64)[FULL_HEAD_BYTES:].startswith(ALPHA_URNS))


def is_heif(data: bytes) -> bool:
    """Whether a file says that it is an AVIF or a HEIC."""
    return data[4:8] == b"ftyp" and not brands(data).isdisjoint(HEIC_BRANDS | AVIF_BRANDS)


def is_avif(data: bytes) -> bool:
    """Whether a file says that it is an AVIF."""
    return data[4:8] == b"ftyp" and not brands(data).isdisjoint(AVIF_BRANDS)
