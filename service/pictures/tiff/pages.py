"""Which directory of a TIFF is the picture, and how many pictures there are.

Reduced copies and masks are no pictures, and neither is a directory without a size, such as that of EXIF's thumbnail.
Where a reduced copy comes first, the picture may lie in the directories below it (DNG, SilverFast HDRi, NEF).

References:
    TIFF 6.0 (Aldus, 1992), section 8: NewSubfileType. TIFF Technical Note 1 (1995): SubIFDs. Digital Negative 1.7.1.
"""

from collections.abc import Iterator
from mmap import mmap
from typing import Final, Literal

from service.errors import BrokenPicture, InvalidOption, SeveralFrames, UnsupportedPicture
from service.pictures.tiff import directory as tags
from service.pictures.tiff.directory import Directory, Tiff
from service.pictures.tiff.layout import LINEAR_RAW, MOSAIC

REDUCED, MASK, DEPTH, ENHANCED = 1, 4, 8, 16
"""Bits of NewSubfileType; an enhanced picture is one beside a sensor's mosaic."""

OLD_REDUCED: Final = 2
"""OldSubfileType of a reduced copy."""

MOST_DIRECTORIES: Final = 1 << 12
"""So many are walked through; more are no pages that somebody has scanned."""

MOST_ENTRIES: Final = 1 << 17
"""So many entries may all of them have together: pages have some 20 each."""

LONGEST_THUMBNAIL_PX: Final = 320
"""EXIF's have 160; some cameras write larger ones."""

LEAST_REDUCTION: Final = 3
"""A thumbnail is so many times smaller at least."""

MOST_BELOW: Final = 64
"""So many are looked at below those that come first, in all."""

CANON_MARK: Final = b"CR"
"""At byte 8 of a TIFF that is a Canon camera's CR2."""


def find_page(tiff: Tiff, page: int | None) -> Directory:
    """Return the directory of a picture.

    Args:
        tiff: the file.
        page: its number, from 1; None for the only one.

    Raises:
        BrokenPicture: the first directory cannot be read.
        SeveralFrames: there are several pictures, and none was chosen.
        InvalidOption: there is no such page.
        UnsupportedPicture: there are too many directories; or it is a camera's raw file.
    """
    if bytes(tiff.data[8:10]) == CANON_MARK:
        raise UnsupportedPicture("The file holds a sensor's mosaic: develop it first and send a TIFF or JPEG.")
    places = _pages(tiff)
    if page is None and len(places) > 1:
        raise SeveralFrames(
            f"The file holds {len(places)} pictures: ask for one with page=1 to page={len(places)}; the command line "
            "colors all of them with --pages.",
            limit=1,
            pages=len(places),
        )
    number = 1 if page is None else page
    if not 1 <= number <= len(places):
        raise InvalidOption(f"There is no page {number}: the file holds {count_of(len(places))}.", pages=len(places))
    return tiff.directory(places[number - 1])


def count_pages(data: bytes | mmap) -> int:
    """Return how many pictures a TIFF holds.

    Raises:
        BrokenPicture: as `find_page`.
        UnsupportedPicture: as `find_page`.
    """
    return len(_pages(Tiff(data)))


def only_page(data: bytes, page: int) -> bytes:
    """Return a TIFF with one of its pictures alone in the chain of directories; its pixels stay where they are.

    Args:
        data: the whole file.
        page: number of the picture, from 1.

    Raises:
        BrokenPicture: as `find_page`.
        InvalidOption: as `find_page`.
        UnsupportedPicture: as `find_page`.
    """
    tiff = Tiff(data)
    found = find_page(tiff, page)
    alone, size = bytearray(data), tiff.word.size
    byte_order: Literal["little", "big"] = "little" if tiff.order == "<" else "big"
    alone[tiff.first_at : tiff.first_at + size] = found.place.to_bytes(size, byte_order)
    alone[found.next_at : found.next_at + size] = bytes(size)
    return bytes(alone)


def count_of(pictures: int) -> str:
    """Return a number of pictures in words."""
    return "one picture" if pictures == 1 else f"{pictures} pictures"


def _pages(tiff: Tiff) -> list[int]:
    """Return the place of each picture's directory."""
    places = list(_pictures(tiff))
    if len(places) == 2 and _is_thumbnail_of(tiff.directory(places[1]), tiff.directory(places[0])):
        return places[:1]
    return places or [_largest(tiff)]


def _is_thumbnail_of(second: Directory, first: Directory) -> bool:
    """Whether a directory is what cameras put behind a picture without a word: a small copy, as EXIF has it."""
    (width, height), (small_width, small_height) = (
        (found.integer(tags.WIDTH, 0), found.integer(tags.HEIGHT, 0)) for found in (first, second)
    )
    if not 0 < max(small_width, small_height) <= min(LONGEST_THUMBNAIL_PX, max(width, height) // LEAST_REDUCTION):
        return False
    return abs(small_width * height - small_height * width) <= max(width, height)  # To a pixel.


def _pictures(tiff: Tiff) -> Iterator[int]:
    """Yield the place of each picture's directory."""
    left = MOST_BELOW
    for place in _chain(tiff):
        kind, has_size = _kind_of(tiff, place)
        if not kind & (REDUCED | MASK | DEPTH):
            if has_size:
                yield place
            continue
        if kind & REDUCED and left > 0:
            below = tiff.directory(place).integers(tags.SUB_DIRECTORIES)[:left]
            left -= len(below)
            yield from _main_below(tiff, below)


def _chain(tiff: Tiff) -> Iterator[int]:
    """Yield the place of each directory.

    What cannot be read behind the first, or leads back, ends the chain, as it does for other readers.
    """
    place, seen, entries = tiff.first, set[int](), 0
    tiff.directory(place)
    while place and place not in seen:
        count = tiff.integer(tiff.count, place)
        entries += count
        if len(seen) == MOST_DIRECTORIES or entries > MOST_ENTRIES:
            raise UnsupportedPicture(f"The TIFF holds more than {MOST_DIRECTORIES} directories, or very long ones.")
        seen.add(place)
        yield place
        place = tiff.integer(tiff.word, place + tiff.count.size + count * tiff.entry.itemsize)
        if not tiff.integer(tiff.count, place):
            return


def _kind_of(tiff: Tiff, place: int) -> tuple[int, bool]:
    """Return a directory's NewSubfileType, and whether it has a size; a look at its first entries, which are sorted."""
    kind, size, short, word = 0, tiff.entry.itemsize, tiff.short, tiff.word
    for index in range(min(tiff.integer(tiff.count, place), 3)):
        entry = place + tiff.count.size + index * size
        tag = tiff.integer(short, entry)
        if tag in (tags.NEW_SUBFILE_TYPE, tags.OLD_SUBFILE_TYPE):
            is_short = tiff.integer(short, entry + 2) == 3
            value = tiff.integer(short if is_short else tiff.four, entry + size - word.size)
            kind |= value if tag == tags.NEW_SUBFILE_TYPE else REDUCED * (value == OLD_REDUCED)
        elif tag == tags.WIDTH:
            return kind, True
        else:
            break
    return kind, tags.WIDTH in tiff.directory(place)


def _main_below(tiff: Tiff, places: tuple[int, ...]) -> Iterator[int]:
    """Yield the places of pictures among directories below another; of a mosaic rather what was made of it."""
    main, enhanced = list[int](), list[int]()
    for place in places:
        try:
            found = tiff.directory(place)
        except BrokenPicture:
            continue
        kind = found.integer(tags.NEW_SUBFILE_TYPE, 0)
        if kind & (REDUCED | MASK | DEPTH) or tags.WIDTH not in found:
            continue
        is_enhanced = kind & ENHANCED and found.integer(tags.PHOTOMETRIC, MOSAIC) == LINEAR_RAW
        (enhanced if is_enhanced else main).append(place)
    if main and enhanced and tiff.directory(main[0]).integer(tags.PHOTOMETRIC, 0) == MOSAIC:
        main = enhanced[:1]
    yield from main


def _largest(tiff: Tiff) -> int:
    """Return the place of the largest directory of a file that calls all of them reduced or masks."""

    def pixels(place: int) -> int:
        found = tiff.directory(place)
        return found.integer(tags.WIDTH, 0) * found.integer(tags.HEIGHT, 0)

    places = [place for _, place in zip(range(MOST_BELOW), _chain(tiff), strict=False)]
    return max(places, key=pixels)
