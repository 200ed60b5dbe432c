"""service.engine.onnx_file: what is cut out of a file computes what it did in the whole, and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from chroma.signature import HEADS, KNOB_NAMES, LIGHTNESS, STAMP_KEY
from service.engine.onnx_file import OnnxFile, Tensor
from service.engine.session import shipped_model
from service.errors import ModelError
from tests import onnx_factory

NOWHERE = Path("model.onnx")
SHIPPED = (shipped_model(), shipped_model().with_suffix(".int8.onnx"))


def run(model: bytes, names: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    outputs: list[np.ndarray] = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(
        names, feeds
    )
    return outputs


def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    value_info: Sequence[onnx.ValueInfoProto] = (),
) -> bytes:
    graph = helper.make_graph(nodes, "some", inputs, outputs, constants, value_info=value_info)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_network_of_a_shipped_file_is_the_network_without_the_decode(path: Path) -> None:
    whole = path.read_bytes()
    file = OnnxFile(whole, path)
    network = file.part(HEADS)
    model = onnx.load_from_string(network)
    onnx.checker.check_model(model)
    assert [each.name for each in model.graph.input] == [LIGHTNESS]
    assert {each.name for each in model.graph.output} == set(HEADS)
    names = [each.name for kind in (model.graph.node, model.graph.initializer) for each in kind]
    assert len(names) > 400
    assert not any(name.startswith(onnx_factory.DECODE_PREFIX) for name in names)
    assert {entry.key: entry.value for entry in model.metadata_props} == file.metadata
    assert STAMP_KEY in file.metadata
    seen = {LIGHTNESS: np.random.default_rng(0).uniform(0, 100, (1, 64, 96, 1)).astype(np.float32)}
    knobs = {name: np.ones(1, np.float32) for name in KNOB_NAMES}
    for ours, theirs in zip(run(network, HEADS, seen), run(whole, HEADS, seen | knobs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_file_says_what_it_takes_and_gives() -> None:
    file = OnnxFile(onnx_factory.build_model().SerializeToString(), NOWHERE)
    assert file.inputs[0] == Tensor("lightness", "float32", ("batch", "height", "width", 1))
    assert file.inputs[1:] == tuple(Tensor(name, "float32", ("batch",)) for name in KNOB_NAMES)
    outputs = {tensor.name: tensor.shape for tensor in file.outputs}
    assert outputs["scene_logits"] == ("batch", len(onnx_factory.SCENES))
    assert outputs["ab_logits"] == ("batch", "quarter_height", "quarter_width", 313)
    assert file.metadata == {STAMP_KEY: onnx_factory.make_stamp().to_json()}


def test_types_have_numpys_names_and_constants_are_no_inputs() -> None:
    """Old files list their constants among the inputs."""
    constant = numpy_helper.from_array(np.ones(3, np.float16), "constant")
    content = model_of(
        [helper.make_node("Add", ["x", "constant"], ["y"]), helper.make_node("Identity", ["word"], ["said"])],
        [
            value("x", 3, kind=TensorProto.FLOAT16),
            value("constant", 3, kind=TensorProto.FLOAT16),
            value("word", kind=TensorProto.STRING),
        ],
        [value("y", 3, kind=TensorProto.FLOAT16), value("said", kind=TensorProto.STRING)],
        [constant],
    )
    file = OnnxFile(content, NOWHERE)
    assert file.inputs == (Tensor("x", "float16", (3,)), Tensor("word", str(TensorProto.STRING), ()))
    assert [node.name for node in onnx.load_from_string(file.part(["y"])).graph.input] == ["x", "constant"]


def test_nothing_stays_that_leads_nowhere() -> None:
    ones = numpy_helper.from_array(np.ones(2, np.float32), "ones")
    unused = numpy_helper.from_array(np.ones(2, np.float32), "unused")
    nodes = [
        helper.make_node("Add", ["x", "ones"], ["early"]),
        helper.make_node("Mul", ["z", "unused"], ["aside"]),
        helper.make_node("Neg", ["early"], ["wanted"]),
        helper.make_node("Add", ["wanted", "aside"], ["late"]),
    ]
    infos = [value("early", 2), value("aside", 2)]
    content = model_of(
        nodes, [value("x", 2), value("z", 2)], [value("late", 2), value("wanted", 2)], [ones, unused], infos
    )
    part = OnnxFile(content, NOWHERE).part(["wanted"])
    graph = onnx.load_from_string(part).graph
    onnx.checker.check_model(part, full_check=True)
    assert [node.output[0] for node in graph.node] == ["early", "wanted"]
    for field, names in (
        (graph.input, ["x"]),
        (graph.output, ["wanted"]),
        (graph.initializer, ["ones"]),
        (graph.value_info, ["early"]),
    ):
        assert [each.name for each in field] == names
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(run(part, ["wanted"], {"x": x})[0], -x - 1)


def test_what_an_inner_graph_reads_around_it_stays() -> None:
    """The branches of an `If` take values of the graph around them without naming them as inputs."""
    inner = helper.make_graph([helper.make_node("Neg", ["twice"], ["negated"])], "then", [], [value("negated", 2)])
    # An outer value is itself the branch's output.
    other = helper.make_graph([helper.make_node("Identity", ["four"], ["same"])], "else", [], [value("same", 2)])
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("Add", ["twice", "twice"], ["four"]),
        helper.make_node("Add", ["four", "four"], ["eight"]),
        helper.make_node("If", ["choice"], ["chosen"], then_branch=inner, else_branch=other),
    ]
    content = model_of(
        nodes, [value("x", 2), value("choice", kind=TensorProto.BOOL)], [value("chosen", 2), value("eight", 2)]
    )
    part = OnnxFile(content, NOWHERE).part(["chosen"])
    assert [node.output[0] for node in onnx.load_from_string(part).graph.node] == ["twice", "four", "chosen"]
    x = np.array([1, 2], np.float32)
    for choice, factor in ((True, -2), (False, 4)):
        np.testing.assert_array_equal(run(part, ["chosen"], {"x": x, "choice": np.array(choice)})[0], factor * x)


WHOLE = onnx_factory.build_model().SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no model at all",
        bytes(100),
        b"\x3a\x05abc",  # ends within the graph
        b"\x38\x01",  # a number in its place
        b"\x3b",  # a kind that there is not
        b"\xff" * 10_000_000,  # one number
        WHOLE[:-5000],
        WHOLE[5000:],
    ],
    ids=range(9),
)
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx is not an ONNX model that can be loaded"):
        OnnxFile(content, NOWHERE)
