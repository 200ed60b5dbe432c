"""The ONNX file: what it says of itself, takes and gives; and the network in it, without the decode behind it.

ONNX Runtime computes every node of a graph, whatever is fetched, also those that lead to no output any more. The
service decodes itself, so it hands its runtimes a file that ends with the network.

It is read here, as the fields of Protocol Buffers that it is, since nothing is needed but what lies where: neither the
`onnx` package nor two more copies of the weights.

References:
    Protocol Buffers, "Encoding"; onnx.proto, from which the numbers of the fields are.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.errors import ModelError

GRAPH, METADATA = 7, 14
"""Fields of a model."""

NODE, CONSTANT, INPUT, OUTPUT, VALUE = 1, 5, 11, 12, 13
"""Fields of a graph; the last are the shapes of values inside it."""

READS, GIVES, ATTRIBUTE = 1, 2, 5
"""Fields of a node."""

INNER_GRAPHS: Final = (6, 11)
"""Fields of an attribute: one graph, and several."""

NAME: Final = {CONSTANT: 8, INPUT: 1, OUTPUT: 1, VALUE: 1}
"""Field of the name in each kind of a graph's fields that has one name."""

TYPES: Final = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}
"""NumPy's names of the types that models take and give."""

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
"""Kinds of values; a number of bytes of 7 bits each, and so on."""


@dataclass(frozen=True)
class Tensor:
    """An input or an output of the model, as its file says.

    Attributes:
        name: of it.
        type: of its elements, as NumPy calls it; ONNX's number where that is unusual.
        shape: lengths; names where they vary.
    """

    name: str
    type: str
    shape: tuple[int | str, ...]


class OnnxFile:
    """A model's file, taken apart.

    Attributes:
        metadata: what it says of itself.
        inputs: what its graph takes.
        outputs: what its graph gives.
    """

    def __init__(self, content: bytes, path: Path) -> None:
        """Read a file; whether its graph makes sense is for the runtime to say.

        Args:
            content: of the file.
            path: where it was read from, for those who read errors.

        Raises:
            ModelError: it is no ONNX file.
        """
        try:
            self._model = list(_fields(memoryview(content)))
            model = _by_number(self._model)
            self._graph = [field for graph in model[GRAPH] for field in _fields(graph)]
            graph = _by_number(self._graph)
            self._nodes = [_Node(node) for node in graph[NODE]]
            constants = {_name(constant, CONSTANT) for constant in graph.get(CONSTANT, [])}
            self.inputs = tuple(_tensor(each) for each in graph.get(INPUT, []) if _name(each, INPUT) not in constants)
            self.outputs = tuple(_tensor(each) for each in graph[OUTPUT])
            entries = [_by_number(_fields(entry)) for entry in model.get(METADATA, [])]
            self.metadata = {_text(entry[1][0]): _text(entry[2][0]) for entry in entries}
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(f"{path} is not an ONNX model that can be loaded: {error!r}") from error

    def part(self, outputs: Collection[str]) -> bytes:
        """Return a file that holds only what leads to some outputs; all that is said of the model stays.

        Args:
            outputs: their names, of `outputs`.
        """
        ends = {name.encode() for name in outputs}
        needed, leads = set(ends), []
        for node in reversed(self._nodes):  # Each comes behind those that it reads.
            leads.append(not needed.isdisjoint(node.gives))
            if leads[-1]:
                needed |= node.reads
        kept = []
        for field in self._graph:
            if field.number == NODE:
                is_kept = leads.pop()
            elif field.number in NAME:
                is_kept = _name(field.value, field.number) in (ends if field.number == OUTPUT else needed)
            else:
                is_kept = True
            if is_kept:
                kept.append(field.whole)
        head = bytes([GRAPH << 3 | COUNTED]) + _varint(sum(map(len, kept)))
        return b"".join([*(field.whole for field in self._model if field.number != GRAPH), head, *kept])


class _Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: says which.
        value: a number, or bytes.
        whole: all of it, as it lies in the file.
    """

    number: int
    value: Any
    whole: memoryview


class _Node:
    """A node of a graph: the names of what it reads and gives; it also reads what graphs inside it take from around."""

    def __init__(self, node: memoryview) -> None:
        fields = _by_number(_fields(node))
        self.gives = {bytes(name) for name in fields.get(GIVES, [])}
        self.reads = {bytes(name) for name in fields.get(READS, [])}
        for attribute in fields.get(ATTRIBUTE, []):
            inside = _by_number(_fields(attribute))
            for number in INNER_GRAPHS:
                for graph in inside.get(number, []):
                    self.reads |= _read_inside(graph)


def _read_inside(graph: memoryview) -> set[bytes]:
    """Return what an inner graph reads: of itself, and from around it."""
    fields = _by_number(_fields(graph))
    reads = {_name(output, OUTPUT) for output in fields.get(OUTPUT, [])}
    return reads.union(*(_Node(node).reads for node in fields.get(NODE, [])))


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield the fields of a message.

    Raises:
        ValueError: it is none.
    """
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        value: Any = None
        kind = key & 7
        if kind == VARINT:
            value, at = _read_varint(message, at)
        elif kind == COUNTED:
            size, at = _read_varint(message, at)
            value = message[at : at + size]
            at += size
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            at += 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at > len(message):
            raise ValueError("the file ends within a field")
        yield _Field(key >> 3, value, message[start:at])


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number and where the next one begins: 7 bits a byte, the lowest first; the eighth says that more follow.

    Raises:
        IndexError: the message ends within it.
        ValueError: it has more than 64 bits.
    """
    number = 0
    for shift in range(0, 64, 7):
        byte = message[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
    raise ValueError("a number of more than 64 bits")


def _varint(number: int) -> bytes:
    groups = []
    while True:
        groups.append(number & 127 | (128 if number > 127 else 0))
        number >>= 7
        if not number:
            return bytes(groups)


def _by_number(fields: Iterable[_Field]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for field in fields:
        found.setdefault(field.number, []).append(field.value)
    return found


def _name(message: memoryview, kind: int) -> bytes:
    """Return the name of a constant, an input and so on."""
    return bytes(next((field.value for field in _fields(message) if field.number == NAME[kind]), b""))


def _tensor(message: memoryview) -> Tensor:
    """Read a `ValueInfoProto`."""
    value = _by_number(_fields(message))
    kind = _by_number(_fields(_by_number(_fields(value[2][0]))[1][0]))
    shape = [_by_number(_fields(side)) for each in kind.get(2, []) for side in _by_number(_fields(each)).get(1, [])]
    lengths = tuple(_text(side[2][0]) if 2 in side else int(side.get(1, [0])[0]) for side in shape)
    number = int(kind[1][0])
    return Tensor(_text(value[1][0]), TYPES.get(number, str(number)), lengths)


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "replace")
