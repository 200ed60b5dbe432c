"""TIFFs whose channels lie in planes apart: which are not read, told by the header alone.

Most TIFFs are interleaved; of others (PlanarConfiguration 2) all of one channel comes before the next. What the
libraries make of them was found by writing every layout (``tests/tiffs.py``) and comparing pixels: with 16 bits OpenCV
takes them for interleaved and hands out memory that nobody wrote, another request's levels among it, and Pillow gives
the low bytes. With 8 bits Pillow reads them, in all but a few layouts. The header is read here, since Pillow opens only
some of these files.

References:
    TIFF 6.0 (Aldus, 1992), sections 2, 8, 18, 21. The BigTIFF File Format (Adobe, 2004).
"""

from typing import Final

import numpy as np

BITS: Final = 258

COMPRESSION: Final = 259

PHOTOMETRIC: Final = 262

FILL_ORDER: Final = 266

SAMPLES: Final = 277

PLANAR_CONFIGURATION: Final = 284

EXTRA_SAMPLES: Final = 338

SUBSAMPLING: Final = 530

DEFAULTS: Final[dict[int, tuple[int, ...]]] = {
    BITS: (1,),
    COMPRESSION: (1,),
    PHOTOMETRIC: (0,),
    FILL_ORDER: (1,),
    SAMPLES: (1,),
    PLANAR_CONFIGURATION: (1,),
    EXTRA_SAMPLES: (),
    SUBSAMPLING: (2, 2),
}
"""What is looked at, and what it is in files that do not say."""

APART: Final = 2

UNCOMPRESSED: Final = 1

RGB: Final = 2

YCBCR: Final = 6

COLORS: Final = {0: 1, 1: 1, RGB: 3, 3: 1, 5: 4, YCBCR: 3}
"""By PhotometricInterpretation (gray, RGB, palette, CMYK, YCbCr): how many channels are color; more are extra ones."""

UNASSOCIATED_ALPHA: Final = 2

BIG: Final = 43
"""The version that BigTIFF says it is."""

INTEGERS: Final = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 16: "u8", 17: "i8"}
"""Types of values, by NumPy's names."""

MOST_VALUES: Final = 16
"""So many are read of one tag, more than a picture has channels."""


def why_unread(data: bytes) -> str | None:
    """Return why a TIFF's planes are not read; None where they are, and for one channel or interleaved ones.

    Args:
        data: the whole file, which starts as a TIFF does.

    Returns:
        The reason, with what to do about it.
    """
    directory = _Directory(data)
    if directory.get(PLANAR_CONFIGURATION)[0] != APART or directory.get(SAMPLES)[0] <= 1 or _is_read(directory):
        return None
    bits = max(directory.get(BITS))
    what = f"with {bits} bits a channel" if bits > 8 else "in the layout of this one"
    return (
        f"TIFFs whose channels lie in planes apart (PlanarConfiguration 2) are not read here {what}: save the picture "
        "with interleaved channels, or as PNG."
    )


def _is_read(directory: "_Directory") -> bool:
    """Whether Pillow reads several planes right: uncompressed ones by itself, others with libtiff."""
    photometric, extra = directory.get(PHOTOMETRIC)[0], directory.get(EXTRA_SAMPLES)
    if set(directory.get(BITS)) != {8} or directory.get(SAMPLES)[0] != COLORS.get(photometric, 0) + len(extra):
        return False
    if directory.get(COMPRESSION)[0] == UNCOMPRESSED:
        has_known = not extra or (photometric == RGB and extra == (UNASSOCIATED_ALPHA,))
        return has_known and photometric != YCBCR and directory.get(FILL_ORDER)[0] == 1
    if photometric == YCBCR and directory.get(SUBSAMPLING) != (1, 1):
        return False
    # Of unspecified channels none is looked at; gray and palettes get their opacity into a wrong channel.
    return not any(extra) or (photometric == RGB and len(extra) == 1)


class _Directory:
    """The first directory of a TIFF; what cannot be read counts as not said."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data.startswith(b"II") else ">"
        big = BIG in data[2:4]
        self._word = f"{self._order}u{8 if big else 4}"
        short = f"{self._order}u2"
        entry = np.dtype([("tag", short), ("type", short), ("count", self._word), ("value", self._word)])
        length = 8 if big else 2
        start = self._integers(self._word, 1, 8 if big else 4)
        count = self._integers(f"{self._order}u{length}", 1, start[0]) if start else ()
        self._place = start[0] + length if count else 0
        most = (len(data) - self._place) // entry.itemsize
        self._entries = np.frombuffer(data, entry, min(count[0], most) if count else 0, self._place)

    def get(self, tag: int) -> tuple[int, ...]:
        """Return the values of one of `DEFAULTS`; of several entries the first counts, to Pillow as to OpenCV."""
        found = np.flatnonzero(self._entries["tag"] == tag)
        if not found.size:
            return DEFAULTS[tag]
        entry = self._entries[found[0]]
        kind = INTEGERS.get(int(entry["type"]))
        if kind is None:
            return DEFAULTS[tag]
        count, room = int(entry["count"]), np.dtype(self._word).itemsize
        inside = self._place + (int(found[0]) + 1) * self._entries.itemsize - room
        fits = count * np.dtype(kind).itemsize <= room
        values = self._integers(self._order + kind, min(count, MOST_VALUES), inside if fits else int(entry["value"]))
        return values or DEFAULTS[tag]

    def _integers(self, kind: str, count: int, place: int) -> tuple[int, ...]:
        """Return integers from a place in the file; none where it does not reach so far."""
        try:
            return tuple(np.frombuffer(self._data, kind, count, place).tolist())
        except (ValueError, OverflowError):
            return ()
