"""What a question says -> what is true of its answer, as far as the answer's format can hold it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from service.pictures.answer_formats import OutputFormat
from service.pictures.metadata import exif, iptc, xmp
from service.pictures.metadata.belongings import COMMENT, Metadata, Note, Text
from service.pictures.metadata.kept import HOLDS
from service.pictures.metadata.png import MOST_CHUNK_BYTES
from service.pictures.metadata.xml_tree import BadPacket, Name

MOST_PNG_XMP: Final = MOST_CHUNK_BYTES - (1 << 20)
"""Longest packet that goes into a PNG, bytes; what is put in has room in the rest."""

TEXT_CAPTIONS: Final[dict[str, Name]] = {
    "Title": (xmp.DC, "title"),
    "Author": (xmp.DC, "creator"),
    "Description": (xmp.DC, "description"),
    "Copyright": (xmp.DC, "rights"),
}
"""PNG's own keywords that XMP has properties for."""


def fit(found: Metadata, size: tuple[int, int], output_format: OutputFormat, note: Note | None) -> Metadata:
    """Make metadata true of an upright answer in sRGB and in color.

    Args:
        found: from `read_metadata`; `Metadata()` to carry nothing over.
        size: of the answer, width and height, px.
        output_format: of the answer.
        note: that its colors are computed; None for none.

    Returns:
        The metadata, of which the format holds everything but what `kept.KEPT` calls lost.
    """
    held = HOLDS[output_format]
    fitted = replace(found, exif=_or_nothing(lambda: exif.fit_exif(found.exif, size)), orientation=1)
    captions = _captions(found, output_format)
    texts = found.texts
    # Were it written, others would take the PNG for damaged; the note stays.
    whole = b"" if output_format == "png" and len(found.xmp) > MOST_PNG_XMP else found.xmp
    try:
        packet = xmp.fit_xmp(whole, size, upright=found.orientation > 1, captions=captions, note=note)
    except BadPacket:
        # What is no XML is not ours to judge: it stays, and the note is a comment.
        packet = xmp.set_loosely(whole) if found.orientation > 1 else whole
        texts = (*texts, Text(COMMENT, note.sentence)) if note is not None else texts
    if output_format == "webp" and found.dpi:
        fitted = replace(fitted, exif=exif.with_resolution(fitted.exif, found.dpi))
    if output_format == "tiff":
        texts = texts[len(found.texts) :]
    return replace(
        fitted,
        xmp=packet,
        iptc=found.iptc if "iptc" in held else b"",
        texts=texts if "texts" in held or output_format == "tiff" else (),
    )


def _captions(found: Metadata, output_format: OutputFormat) -> dict[Name, list[str]]:
    """Return what only XMP can say in an answer of a format."""
    captions: dict[Name, list[str]] = {}
    if output_format in ("png", "webp"):  # Few programs look for IPTC-IIM in a PNG, and none in a WebP.
        captions |= iptc.captions_of(found.iptc)
    if output_format != "png":
        for text in found.texts:
            if text.keyword in TEXT_CAPTIONS:
                captions.setdefault(TEXT_CAPTIONS[text.keyword], [text.text])
    comments = [text.text for text in found.texts if text.keyword == COMMENT]
    has_caption = (xmp.DC, "description") in captions or iptc.captions_of(found.iptc).get((xmp.DC, "description"))
    if comments and "texts" not in HOLDS[output_format] and not has_caption and not exif.has_caption(found.exif):
        captions[xmp.DC, "description"] = comments[:1]
    return captions


def _or_nothing(make: Callable[[], bytes]) -> bytes:
    try:
        return make()
    except Exception:  # As in `read_metadata`.
        return b""


def turned_sidecar(packet: bytes, applied: int) -> bytes:
    """Return the text of an .xmp file for an answer whose pixels were turned.

    It may say another orientation than the picture's file, as where somebody turned the picture in a catalog: then what
    is left to turn stays.

    Args:
        packet: the text.
        applied: the orientation that decoding has applied, 1 to 8.
    """
    stated = xmp.orientation_of(packet)
    if stated is None or applied == 1:
        return packet
    return xmp.set_orientation(packet, left_to_turn(stated, applied))


def left_to_turn(stated: int, applied: int) -> int:
    """Return the orientation that leads from pixels turned by one orientation to pixels turned by another."""
    before, after = _CORNERS[applied], _CORNERS[stated]
    return next(number for number, corners in _CORNERS.items() if [before[corner] for corner in corners] == list(after))


_CORNERS: Final = {
    1: (0, 1, 2, 3),
    2: (1, 0, 3, 2),
    3: (2, 3, 0, 1),
    4: (3, 2, 1, 0),
    5: (0, 3, 2, 1),
    6: (3, 0, 1, 2),
    7: (2, 1, 0, 3),
    8: (1, 2, 3, 0),
}
"""Which stored corner comes to lie at the top left, top right, bottom right and bottom left (CIPA DC-008, 0x0112)."""
