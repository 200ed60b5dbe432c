"""XMP packets: what they say of orientation and size made true, captions and the note on computed colors put in.

Only what must change does, to the byte; a packet that is no XML stays as it is, but for its orientation.

References:
    ISO 16684-1:2019 (XMP). XMP specification part 2 (Adobe, 2022): xmpMM:History. IPTC Photo Metadata Standard 2024.1
    and its NewsCodes: Digital Source Type.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from service.pictures.metadata.belongings import Note
from service.pictures.metadata.xml_tree import Attribute, BadPacket, Edits, Element, Name, parse, text_of

RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC: Final = "http://purl.org/dc/elements/1.1/"
TIFF: Final = "http://ns.adobe.com/tiff/1.0/"
EXIF: Final = "http://ns.adobe.com/exif/1.0/"
PHOTOSHOP: Final = "http://ns.adobe.com/photoshop/1.0/"
XMP: Final = "http://ns.adobe.com/xap/1.0/"
XMP_MM: Final = "http://ns.adobe.com/xap/1.0/mm/"
EVENT: Final = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
IPTC_EXT: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"

PREFIXES: Final = {
    "rdf": RDF,
    "dc": DC,
    "photoshop": PHOTOSHOP,
    "xmpMM": XMP_MM,
    "stEvt": EVENT,
    "Iptc4xmpExt": IPTC_EXT,
}

RDF_ROOT: Final = (RDF, "RDF")
DESCRIPTION: Final = (RDF, "Description")
ORIENTATION: Final = (TIFF, "Orientation")
SOURCE_TYPE: Final = (IPTC_EXT, "DigitalSourceType")
HISTORY: Final = (XMP_MM, "History")
THUMBNAILS: Final = (XMP, "Thumbnails")

APPENDED: Final = frozenset(
    {
        "http://ns.google.com/photos/1.0/container/",
        "http://ns.adobe.com/hdr-gain-map/1.0/",
        "http://ns.apple.com/HDRGainMap/1.0/",
    }
)
"""Of properties that describe what phones append to a picture's file, such as gain maps: an answer has none..."""

CAMERA: Final = "http://ns.google.com/photos/1.0/camera/"

FILMS: Final = ("MotionPhoto", "MicroVideo")
"""...and no short film."""

ALGORITHMICALLY_ENHANCED: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
"""IPTC's term for media altered by an algorithm that leaves what they show as it is. Colors are predicted, nothing is
painted in: so not `compositeWithTrainedAlgorithmicMedia`, which is what was edited by generative AI."""

MOST_PROBED: Final = 5_000
"""Tags of a packet that is parsed for its orientation; in a longer one it is searched for."""

ORIENTATIONS: Final = frozenset("12345678")

EMPTY: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
"""A packet that says nothing."""

_LOOSE_ORIENTATION: Final = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|\s*>\s*))([1-8])(?!\d)""")

_FORBIDDEN: Final = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
"""Characters that XML cannot hold."""

Captions = Mapping[Name, Sequence[str]]
"""Properties that a packet should hold if it has none of the kind: one text, or several."""

_LISTS: Final = {(DC, "title"): "Alt", (DC, "description"): "Alt", (DC, "rights"): "Alt"} | {
    (DC, "creator"): "Seq",
    (DC, "subject"): "Bag",
}
"""How the properties of Dublin Core are listed; all others are one text."""


def orientation_of(packet: bytes) -> int | None:
    """Return the orientation that a packet states, 1 to 8; None where it states none."""
    if b"Orientation" not in packet:
        return None
    try:
        if packet.count(b"<") > MOST_PROBED:
            raise BadPacket("too much to be looked at now")
        for description in _descriptions(parse(packet)):
            value = (_value(packet, description, ORIENTATION) or "").strip()
            if value in ORIENTATIONS:
                return int(value)
    except BadPacket:
        found = _LOOSE_ORIENTATION.search(packet)
        return int(found[2]) if found else None
    return None


def fit_xmp(packet: bytes, size: tuple[int, int], *, upright: bool, captions: Captions, note: Note | None) -> bytes:
    """Return a packet that is true of the answer.

    Args:
        packet: as it was; may be empty.
        size: of the answer, width and height, px.
        upright: whether the pixels were turned, so that orientation becomes 1.
        captions: put in where the packet has none of the kind.
        note: on computed colors; None for none.

    Returns:
        The packet; empty when there is nothing to say.

    Raises:
        BadPacket: it is none; nothing can be put in.
    """
    if not packet and not captions and note is None:
        return b""
    packet = packet or EMPTY.encode()
    root = _root(parse(packet))
    edits = Edits(packet)
    facts: dict[Name, str] = {
        (TIFF, "ImageWidth"): str(size[0]),
        (TIFF, "ImageLength"): str(size[1]),
        (EXIF, "PixelXDimension"): str(size[0]),
        (EXIF, "PixelYDimension"): str(size[1]),
        (EXIF, "ColorSpace"): "1",
        (PHOTOSHOP, "ColorMode"): "3",
        (PHOTOSHOP, "ICCProfile"): "sRGB",
    }
    if upright:
        facts[ORIENTATION] = "1"
    before = ""
    if note is not None:
        facts[SOURCE_TYPE] = ALGORITHMICALLY_ENHANCED
        before = next(filter(None, (_value(packet, one, SOURCE_TYPE) for one in root.all_named(DESCRIPTION))), "")
    present: set[Name] = set()
    for description in root.all_named(DESCRIPTION):
        present |= description.attributes.keys() | {child.name for child in description.children}
        _set_facts(edits, description, facts)
    added = [_property(name, texts) for name, texts in captions.items() if name not in present]
    if note is not None:
        if SOURCE_TYPE not in present:
            added.append(_property(SOURCE_TYPE, [ALGORITHMICALLY_ENHANCED]))
        added += _add_event(edits, root, _event(note, before), is_there=HISTORY in present)
    if added:
        edits.append(root, _described(root, "".join(added)))
    return edits.apply()


def set_loosely(packet: bytes) -> bytes:
    """Return a packet that cannot be parsed with its orientation as 1."""
    return _LOOSE_ORIENTATION.sub(rb"\g<1>1", packet)


def set_orientation(packet: bytes, value: int) -> bytes:
    """Return a packet whose orientation, where it states one, is another.

    Args:
        packet: an XMP packet, or the text of an .xmp file.
        value: 1 to 8.
    """
    try:
        edits = Edits(packet)
        for description in _descriptions(parse(packet)):
            _set_facts(edits, description, {ORIENTATION: str(value)})
        return edits.apply()
    except BadPacket:
        return _LOOSE_ORIENTATION.sub(rb"\g<1>" + str(value).encode(), packet)


def has_property(packet: bytes, name: Name) -> bool:
    """Return whether a packet states a property."""
    try:
        descriptions = _descriptions(parse(packet))
    except BadPacket:
        return False
    return any(name in one.attributes or any(one.all_named(name)) for one in descriptions)


def _root(top: Element) -> Element:
    if top.name == RDF_ROOT:
        return top
    for child in top.all_named(RDF_ROOT):
        return child
    raise BadPacket("no rdf:RDF")


def _descriptions(top: Element) -> list[Element]:
    return list(_root(top).all_named(DESCRIPTION))


def _value(packet: bytes, description: Element, name: Name) -> str | None:
    """Return the one value of a property, in whichever of RDF's notations."""
    if name in description.attributes:
        return description.attributes[name].text
    for element in description.all_named(name):
        for place in _places(element):
            return place.text if not isinstance(place, Element) else text_of(packet, place)
    return None


def _places(element: Element) -> list[Element | Attribute]:
    """Return where the one value of a property stands: an attribute, or the text of an element."""
    for key in ((RDF, "resource"), (RDF, "value")):
        if key in element.attributes:
            return [element.attributes[key]]
    inner = element
    for child in element.all_named(DESCRIPTION):
        inner = child
        if (RDF, "value") in child.attributes:
            return [child.attributes[RDF, "value"]]
    for child in inner.all_named((RDF, "value")):
        return [child]
    return [] if element.children else [element]


def _set_facts(edits: Edits, description: Element, facts: Mapping[Name, str]) -> None:
    for name, attribute in description.attributes.items():
        if _is_stale(name):
            edits.replace(attribute.start, attribute.end, "")
        elif name in facts:
            edits.set_attribute(attribute, facts[name])
    for child in description.children:
        if _is_stale(child.name):
            edits.replace(child.start, child.end, "")
        elif child.name in facts:
            for place in _places(child):
                if isinstance(place, Element):
                    edits.set_text(place, facts[child.name])
                else:
                    edits.set_attribute(place, facts[child.name])


def _is_stale(name: Name) -> bool:
    return name == THUMBNAILS or name[0] in APPENDED or (name[0] == CAMERA and name[1].startswith(FILMS))


def _event(note: Note, before: str) -> str:
    """Return an entry of the history; without a time, so that the same question has the same answer, byte for byte."""
    parameters = _FORBIDDEN.sub("", note.parameters) + (
        f"; digital source type was {before.rpartition('/')[2]}" if before else ""
    )
    return (
        f'<rdf:li xmlns:rdf="{RDF}" xmlns:stEvt="{EVENT}" stEvt:action="edited" '
        f'stEvt:softwareAgent={quoteattr(note.software)} stEvt:changed="/content" '
        f"stEvt:parameters={quoteattr('colors computed: ' + parameters)}/>"
    )


def _add_event(edits: Edits, root: Element, event: str, *, is_there: bool) -> list[str]:
    """Add an entry to the history that is there, or return a new one; nothing where it is no list."""
    if not is_there:
        return [f"<xmpMM:History><rdf:Seq>{event}</rdf:Seq></xmpMM:History>"]
    for description in root.all_named(DESCRIPTION):
        for history in description.all_named(HISTORY):
            for kind in ("Seq", "Bag"):
                for entries in history.all_named((RDF, kind)):
                    edits.append(entries, event)
                    return []
    return []


def _property(name: Name, texts: Sequence[str]) -> str:
    texts = [_FORBIDDEN.sub("", text) for text in texts]
    tag = f"{next(prefix for prefix, namespace in PREFIXES.items() if namespace == name[0])}:{name[1]}"
    kind = _LISTS.get(name)
    if kind is None:
        return f"<{tag}>{escape(texts[0])}</{tag}>"
    language = ' xml:lang="x-default"' if kind == "Alt" else ""
    entries = "".join(f"<rdf:li{language}>{escape(text)}</rdf:li>" for text in texts)
    return f"<{tag}><rdf:{kind}>{entries}</rdf:{kind}></{tag}>"


def _described(root: Element, properties: str) -> str:
    """Return a description of the same thing as the others of a packet."""
    names = ((RDF, "about"), ("", "about"))  # The first drafts of RDF had no prefix there.
    found = (
        one.attributes[name].text for one in root.all_named(DESCRIPTION) for name in names if name in one.attributes
    )
    about = next(found, "")
    declared = "".join(
        f' xmlns:{prefix}="{namespace}"'
        for prefix, namespace in PREFIXES.items()
        if prefix == "rdf" or f"<{prefix}:" in properties
    )
    return f"<rdf:Description{declared} rdf:about={quoteattr(about)}>{properties}</rdf:Description>"
