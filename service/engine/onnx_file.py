"""The ONNX file: what it says of itself, takes and gives; and the network in it, without the decode behind it.

ONNX Runtime computes every node of a graph, whatever is fetched, also those that lead to no output any more. The
service decodes itself, so it hands its runtimes a file that ends with the network.

What is needed of ONNX's messages is declared here, for Protocol Buffers, which ONNX Runtime brings along; all else in a
file stays as it is. The `onnx` package would take a quarter of a second to start with.

References:
    onnx.proto, from which the messages, and the numbers of their fields, are.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from service.errors import ModelError

MESSAGES: Final = {
    "Model": {"graph": (7, "Graph"), "metadata_props": (14, "*Entry")},
    "Graph": {
        "node": (1, "*Node"),
        "initializer": (5, "*Constant"),
        "input": (11, "*Value"),
        "output": (12, "*Value"),
        "value_info": (13, "*Value"),
    },
    "Node": {"input": (1, "*bytes"), "output": (2, "*bytes"), "attribute": (5, "*Attribute")},
    "Attribute": {"g": (6, "Graph"), "graphs": (11, "*Graph")},
    "Constant": {"name": (8, "bytes")},
    "Value": {"name": (1, "bytes"), "type": (2, "Type")},
    "Type": {"tensor_type": (1, "TensorType")},
    "TensorType": {"elem_type": (1, "int32"), "shape": (2, "Shape")},
    "Shape": {"dim": (1, "*Dimension")},
    "Dimension": {"dim_value": (1, "int64"), "dim_param": (2, "bytes")},
    "Entry": {"key": (1, "bytes"), "value": (2, "bytes")},
}
"""Messages, and the number and type of each field that is needed of them; with a star where there may be many."""

TYPES: Final = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}
"""NumPy's names of the types that models take and give."""


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
            self._model = _Model.FromString(content)
        except DecodeError as error:
            raise ModelError(f"{path} is not an ONNX model that can be loaded: {error}") from error
        graph = self._model.graph
        if not (graph.node and graph.output):
            raise ModelError(f"{path} is not an ONNX model that can be loaded: there is no graph in it")
        constants = {constant.name for constant in graph.initializer}
        self.inputs = tuple(_tensor(value) for value in graph.input if value.name not in constants)
        self.outputs = tuple(_tensor(value) for value in graph.output)
        self.metadata = {_text(entry.key): _text(entry.value) for entry in self._model.metadata_props}

    def part(self, outputs: Collection[str]) -> bytes:
        """Return a file that holds only what leads to some outputs; all that is said of the model stays.

        The whole is gone then.

        Args:
            outputs: their names, of `outputs`.
        """
        graph = self._model.graph
        ends = {name.encode() for name in outputs}
        needed = set(ends)
        for place in reversed(range(len(graph.node))):  # Each comes behind those that it reads.
            node = graph.node[place]
            if needed.isdisjoint(node.output):
                del graph.node[place]
            else:
                needed |= _reads(node)
        for values, names in (
            (graph.initializer, needed),
            (graph.input, needed),
            (graph.value_info, needed),
            (graph.output, ends),
        ):
            for place in reversed(range(len(values))):
                if values[place].name not in names:
                    del values[place]
        part: bytes = self._model.SerializeToString()
        return part


def _declare(messages: dict[str, dict[str, tuple[int, str]]], name: str) -> Any:
    """Return the class of one of some messages."""
    file = FileDescriptorProto(name="photochrom/onnx.proto", package="photochrom")
    plain = {"bytes": FieldDescriptorProto.TYPE_BYTES, "int32": FieldDescriptorProto.TYPE_INT32}
    plain["int64"] = FieldDescriptorProto.TYPE_INT64
    for message, fields in messages.items():
        declared = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            is_many, kind = kind.startswith("*"), kind.lstrip("*")
            label = FieldDescriptorProto.LABEL_REPEATED if is_many else FieldDescriptorProto.LABEL_OPTIONAL
            added = declared.field.add(name=field, number=number, label=label)
            if kind in plain:
                added.type = plain[kind]
            else:
                added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".photochrom.{kind}"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"photochrom.{name}"))


_Model: Final = _declare(MESSAGES, "Model")


def _reads(node: Any) -> set[bytes]:
    """Return the names of what a node reads, and of what graphs inside it take from around."""
    reads = set(node.input)
    for attribute in node.attribute:
        inner = [*attribute.graphs, attribute.g] if attribute.HasField("g") else attribute.graphs
        for graph in inner:
            reads.update(output.name for output in graph.output)
            reads.update(*map(_reads, graph.node))
    return reads


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    lengths = tuple(
        _text(side.dim_param) if side.HasField("dim_param") else int(side.dim_value) for side in kind.shape.dim
    )
    return Tensor(_text(value.name), TYPES.get(kind.elem_type, str(kind.elem_type)), lengths)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
