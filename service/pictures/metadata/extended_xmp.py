"""XMP that is longer than a segment of JPEG: put together from its parts, and divided again.

References:
    ISO 16684-3:2021 / XMP specification part 3 (Adobe, 2020), section 1.1.3.1: extended XMP in JPEG.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from service.pictures.metadata.belongings import MOST_BYTES
from service.pictures.metadata.xml_tree import Attribute, BadPacket, Edits, Element, declarations, parse
from service.pictures.metadata.xmp import DESCRIPTION, RDF, RDF_ROOT

PREFIX: Final = b"http://ns.adobe.com/xmp/extension/\0"

XMP_NOTE: Final = "http://ns.adobe.com/xmp/note/"

HAS_EXTENDED: Final = (XMP_NOTE, "HasExtendedXMP")

GUID_BYTES: Final = 32
"""Length of the digest that names extended XMP, in hexadecimal digits."""

HEAD_BYTES: Final = len(PREFIX) + GUID_BYTES + 8
"""What stands in front of a part: prefix, digest, whole length, place of the part."""

PART_BYTES: Final = 65_400
"""Of extended XMP in a segment; what Adobe's toolkit writes."""

SPARE_DECLARED_BYTES: Final = 4 << 20
"""So much longer may a packet become because its properties say their prefixes again, each where it now stands."""

SPARE_BYTES: Final = 200
"""For the property that names the rest."""


def join(standard: bytes, segments: Sequence[bytes]) -> bytes:
    """Return standard and extended XMP as one packet.

    Args:
        standard: the packet that names the rest.
        segments: what follows `PREFIX` in each segment of extended XMP, in any order.

    Returns:
        One packet; the standard one where the rest is not whole or no XMP.
    """
    try:
        root = _root(parse(standard))
        named = _named(root)
        rest = _assemble(named, segments)
        extra = _root(parse(rest))
        parts = _bounded((_alone(rest, child) for child in extra.children), len(rest))
    except (BadPacket, LookupError):
        return standard
    edits = Edits(standard)
    edits.append(root, "".join(parts))
    for description in root.all_named(DESCRIPTION):
        if HAS_EXTENDED in description.attributes:
            attribute = description.attributes[HAS_EXTENDED]
            edits.replace(attribute.start, attribute.end, "")
        for child in description.all_named(HAS_EXTENDED):
            edits.replace(child.start, child.end, "")
    return edits.apply()


def _root(top: Element) -> Element:
    return top if top.name == RDF_ROOT else next(top.all_named(RDF_ROOT), None) or _no_root()


def _no_root() -> Element:
    raise BadPacket("no rdf:RDF")


def _named(root: Element) -> bytes:
    """Return the digest of the extended XMP that a packet names; LookupError where it names none."""
    for description in root.all_named(DESCRIPTION):
        if HAS_EXTENDED in description.attributes:
            return description.attributes[HAS_EXTENDED].text.strip().encode()
    raise LookupError


def _assemble(named: bytes, segments: Sequence[bytes]) -> bytes:
    """Return the extended XMP of a digest; LookupError where it is not whole."""
    parts: dict[int, bytes] = {}
    length = 0
    for segment in segments:
        if segment[:GUID_BYTES] == named:
            length, place = (int.from_bytes(segment[at : at + 4], "big") for at in (GUID_BYTES, GUID_BYTES + 4))
            parts[place] = segment[GUID_BYTES + 8 :]
    whole = b"".join(part for _, part in sorted(parts.items()))
    if not length or length > MOST_BYTES or len(whole) != length:
        raise LookupError
    return whole


def _alone(data: bytes, element: Element) -> str:
    """Return an element so that it can stand somewhere else: with all prefixes that hold where it stands now."""
    head = element.start + 1 + len(element.tag.encode())
    return (
        data[element.start : head].decode()
        + declarations(element.scope, element.declared)
        + data[head : element.end].decode()
    )


def _bounded(texts: Iterable[str], expected: int) -> list[str]:
    """Return texts that together are not much longer than expected.

    Raises:
        BadPacket: they are.
    """
    kept, left = list[str](), expected + SPARE_DECLARED_BYTES
    for text in texts:
        kept.append(text)
        left -= len(text)
        if left < 0:
            raise BadPacket("its prefixes take more than its properties")
    return kept


def divide(packet: bytes, most: int) -> tuple[bytes, bytes]:
    """Divide a packet that is too long for a segment: its longest properties go into extended XMP.

    Args:
        packet: an XMP packet.
        most: bytes that the standard part may have.

    Returns:
        The standard packet, which names the rest, and the rest, to be cut into `segments_of`; two empty ones where it
        cannot be done.
    """
    try:
        root = _root(parse(packet))
    except BadPacket:
        return b"", b""
    movable: list[tuple[Element | Attribute, Element]] = []
    for description in root.all_named(DESCRIPTION):
        movable += [(child, description) for child in description.children]
        movable += [(each, description) for name, each in description.attributes.items() if name[0] != RDF]
    edits, left = Edits(packet), len(packet) + SPARE_BYTES
    leaving: list[tuple[Element | Attribute, Element]] = []
    for found, description in sorted(movable, key=lambda pair: pair[0].start - pair[0].end):
        if left <= most:
            break
        edits.replace(found.start, found.end, "")
        left -= found.end - found.start
        leaving.append((found, description))
    try:
        moved = _bounded((_described(packet, *each) for each in leaving), len(packet))
    except BadPacket:
        return b"", b""
    head = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
    rest = f"{head}{''.join(moved)}</rdf:RDF></x:xmpmeta>".encode()
    digest = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper()
    edits.append(
        root,
        f'<rdf:Description xmlns:rdf="{RDF}" xmlns:xmpNote="{XMP_NOTE}" rdf:about="" '
        f'xmpNote:HasExtendedXMP="{digest}"/>',
    )
    standard = edits.apply()
    return (standard, rest) if len(standard) <= most else (b"", b"")


def _described(packet: bytes, found: Element | Attribute, description: Element) -> str:
    """Return a property in a description of its own, of the same thing as the one that it stands in."""
    about = description.attributes.get((RDF, "about"))
    head = f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(about.text if about else "")}'
    if isinstance(found, Element):
        return f"{head}>{_alone(packet, found)}</rdf:Description>"
    return f"{head}{_prefixes(description)}{packet[found.start : found.end].decode()}/>"


def _prefixes(description: Element) -> str:
    return declarations({prefix: name for prefix, name in description.scope.items() if prefix != "rdf" and prefix})


def segments_of(rest: bytes) -> list[bytes]:
    """Return extended XMP as contents of segments."""
    head = PREFIX + hashlib.md5(rest, usedforsecurity=False).hexdigest().upper().encode() + len(rest).to_bytes(4, "big")
    return [
        head + place.to_bytes(4, "big") + rest[place : place + PART_BYTES] for place in range(0, len(rest), PART_BYTES)
    ]
