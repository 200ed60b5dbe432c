"""What GIF holds beside its pixels: comments, and XMP.

References:
    GIF 89a (CompuServe, 1990), sections 24 and 26. XMP specification part 3: GIF.
"""

from typing import Final

from service.pictures.metadata.belongings import COMMENT, MOST_BYTES, Metadata, Text

MOST_BLOCKS: Final = 10_000

EXTENSION, PICTURE, COMMENT_LABEL, APPLICATION_LABEL = 0x21, 0x2C, 0xFE, 0xFF

XMP_MARK: Final = b"XMP DataXMP"

XMP_TRAILER_BYTES: Final = 258
"""Behind a packet: bytes by which readers that know only of blocks find its end."""


def read(data: bytes | memoryview, most: int = MOST_BYTES) -> Metadata:
    """Return what a GIF says, in so many bytes at most."""
    place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    texts: list[Text] = []
    packet, left = b"", most
    for _ in range(MOST_BLOCKS):
        if place + 2 >= len(data):
            break
        kind, label = data[place], data[place + 1]
        if kind == PICTURE:
            colors = data[place + 9]
            place += 11 + (3 << (colors & 7) + 1 if colors & 0x80 else 0)
            end = _skip(data, place)
        elif kind != EXTENSION:
            break
        elif label == APPLICATION_LABEL and bytes(data[place + 3 : place + 14]) == XMP_MARK:
            end = _skip(data, place + 2)
            if not packet and end - place <= left:
                packet = bytes(data[place + 14 : end - XMP_TRAILER_BYTES])
                left -= len(packet)
        else:
            end = _skip(data, place + 2)
            if label == COMMENT_LABEL and len(texts) < MOST_BLOCKS // 10 and end - place <= min(left, most // 4):
                left -= end - place
                texts.append(Text(COMMENT, _joined(data, place + 2, end).decode("utf-8", "replace")))
        place = end
    return Metadata(xmp=packet, texts=tuple(texts))


def _skip(data: bytes | memoryview, place: int) -> int:
    """Return where the blocks that begin at a place end."""
    end = len(data)
    while place < end and data[place]:
        place += 1 + data[place]
    return min(place + 1, end)


def _joined(data: bytes | memoryview, place: int, end: int) -> bytes:
    parts = []
    while place < end and data[place]:
        parts.append(bytes(data[place + 1 : place + 1 + data[place]]))
        place += 1 + data[place]
    return b"".join(parts)
