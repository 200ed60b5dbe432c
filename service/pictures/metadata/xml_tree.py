"""XML as elements with their places in the bytes, so that a packet is changed where it must be and nowhere else.

The parser is expat, without document types and so without entities, for a bounded number of elements and attributes.

References:
    Extensible Markup Language 1.0 (W3C, 2008). Namespaces in XML 1.0 (W3C, 2009).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr, unescape

MOST_TAGS: Final = 20_000

MOST_ATTRIBUTES: Final = 30_000
"""Of a packet: thousands are long editing histories, more are an attack. Worked on in some tenths of a second."""

MOST_DEPTH: Final = 100

MOST_PREFIXES: Final = 100_000
"""Declared anywhere, counted for each element that adds one to those around it: every such element has a list of all
that hold there. Packets come to some thousands."""

XML: Final = "http://www.w3.org/XML/1998/namespace"

Name = tuple[str, str]
"""Namespace, and name within it."""

_START_TAG: Final = re.compile(rb"""<[^\s/>"'=]+((?:\s+[^\s=>"']+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(/?)>""")

_ATTRIBUTE: Final = re.compile(rb"""\s+([^\s=>"']+)\s*=\s*("[^"]*"|'[^']*')""")


class BadPacket(ValueError):
    """This is no XML that is worked on here."""


@dataclass(frozen=True)
class Attribute:
    """An attribute, and where it stands.

    Attributes:
        start: of the white space in front of it.
        value: where its value's first quotation mark is.
        end: behind the second one.
        text: the value.
    """

    start: int
    value: int
    end: int
    text: str


@dataclass(eq=False)
class Element:
    """An element, and where it stands.

    Attributes:
        name: of it.
        tag: as it is written, with its prefix.
        start: of its first tag.
        inner: behind its first tag.
        close: of its last tag; `inner` where it has none.
        end: behind all of it.
        attributes: by name.
        scope: prefix -> namespace, here.
        declared: the prefixes that it declares itself.
        children: the elements within.
        parent: the one around it.
    """

    name: Name
    tag: str
    start: int
    inner: int
    scope: dict[str, str]
    declared: frozenset[str]
    attributes: dict[Name, Attribute]
    parent: "Element | None"
    close: int = 0
    end: int = 0
    children: list["Element"] = field(default_factory=list)

    def all_named(self, name: Name) -> Iterator["Element"]:
        """Yield the children of a name."""
        return (child for child in self.children if child.name == name)


def parse(data: bytes) -> Element:
    """Return the root of an XML text in UTF-8.

    Raises:
        BadPacket: it is none, or too much of it, or has a document type.
    """
    if data.count(b"<") > MOST_TAGS or data.count(b"=") > MOST_ATTRIBUTES:
        raise BadPacket("too many elements")
    parser = expat.ParserCreate("utf-8")
    stack: list[Element] = []
    roots: list[Element] = []
    prefixes = 0

    def open_element(tag: str, attributes: dict[str, str]) -> None:
        nonlocal prefixes
        if len(stack) >= MOST_DEPTH:
            raise BadPacket("too deep")
        parent = stack[-1] if stack else None
        if any(key.startswith("xmlns") for key in attributes):
            prefixes += len(attributes) + (len(parent.scope) if parent else 0)
            if prefixes > MOST_PREFIXES:
                raise BadPacket("too many prefixes")
        element = _open(data, parser.CurrentByteIndex, tag, attributes, parent)
        (roots if parent is None else parent.children).append(element)
        stack.append(element)

    def close_element(_: str) -> None:
        element = stack.pop()
        if data[element.inner - 2 : element.inner] == b"/>":
            element.close = element.end = element.inner
        else:
            element.close = parser.CurrentByteIndex
            element.end = data.index(b">", element.close) + 1

    def refuse(*_: object) -> None:
        raise BadPacket("a document type")

    parser.StartElementHandler = open_element
    parser.EndElementHandler = close_element
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadPacket(str(error)) from error
    return roots[0]


def _open(data: bytes, place: int, tag: str, given: dict[str, str], parent: Element | None) -> Element:
    found = _START_TAG.match(data, place)
    if found is None:
        raise BadPacket("a tag is not where it should be")
    declared = {
        key.partition(":")[2]: value for key, value in given.items() if key == "xmlns" or key.startswith("xmlns:")
    }
    scope = parent.scope if parent is not None else {"xml": XML}
    scope = scope | declared if declared else scope
    attributes = {}
    for part in _ATTRIBUTE.finditer(data, found.start(1), found.end(1)):
        key = part[1].decode()
        if key != "xmlns" and not key.startswith("xmlns:"):
            name = _resolve(key, scope, default="")
            attributes[name] = Attribute(part.start(), part.start(2), part.end(), given[key])
    name = _resolve(tag, scope, default=scope.get("", ""))
    return Element(name, tag, place, found.end(), scope, frozenset(declared), attributes, parent)


def _resolve(key: str, scope: dict[str, str], *, default: str) -> Name:
    prefix, colon, local = key.partition(":")
    if not colon:
        return default, key
    if prefix not in scope:
        raise BadPacket(f"{prefix} is not declared")
    return scope[prefix], local


class Edits:
    """Changes of a text, by their places in it, made all at once."""

    def __init__(self, data: bytes) -> None:
        """Begin with a text that stays as it is."""
        self._data = data
        self._changes: list[tuple[int, int, bytes]] = []

    def replace(self, start: int, end: int, text: str) -> None:
        """Put a text in place of what stands between two places."""
        self._changes.append((start, end, text.encode()))

    def set_attribute(self, attribute: Attribute, value: str) -> None:
        """Give an attribute a value."""
        self.replace(attribute.value, attribute.end, quoteattr(value))

    def set_text(self, element: Element, value: str) -> None:
        """Give an element a text for all that it holds."""
        if element.close == element.end:
            self.replace(element.inner - 2, element.inner, f">{escape(value)}</{element.tag}>")
        else:
            self.replace(element.inner, element.close, escape(value))

    def append(self, element: Element, text: str) -> None:
        """Put a text at the end of what an element holds."""
        if element.close == element.end:
            self.replace(element.inner - 2, element.inner, f">{text}</{element.tag}>")
        else:
            self.replace(element.close, element.close, text)

    def apply(self) -> bytes:
        """Return the changed text; of what overlaps the first stays."""
        parts, place = [], 0
        for start, end, text in sorted(self._changes, key=lambda change: change[0]):
            if start >= place:
                parts += [self._data[place:start], text]
                place = end
        return b"".join([*parts, self._data[place:]])


def text_of(data: bytes, element: Element) -> str:
    """Return the text that an element holds, which has no elements."""
    return unescape(data[element.inner : element.close].decode(), {"&quot;": '"', "&apos;": "'"})


def declarations(scope: dict[str, str], without: frozenset[str] = frozenset()) -> str:
    """Return what declares the prefixes of a scope, with a space in front of each."""
    return "".join(
        f" xmlns{':' if prefix else ''}{prefix}={quoteattr(namespace)}"
        for prefix, namespace in scope.items()
        if prefix != "xml" and prefix not in without
    )
