"""Convolutions in 8 bits: which are chosen, what is folded before, and what the pictures are like."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lightness
from chroma.signature import KNOB_NAMES, LIGHTNESS, OUTPUT_NAMES
from export import ConversionError
from export.precision import to_float32
from export.quantization import fold_scales, nodes_to_round, to_int8
from export.tolerances import PICTURE_TOLERANCE
from export.verify import compare_pictures, run
from service.engine.session import shipped_model
from tests.onnx_factory import CURVE, build_model, make_stamp

pytestmark = pytest.mark.training

PICTURES = Path(__file__).parents[2] / "data"
SIZE = 192
STAMP = make_stamp()
"""Of the tiny model; only its vividness curve counts here."""


def lightness(name: str) -> np.ndarray:
    rgb_u8 = cv2.imread(str(PICTURES / name))[..., ::-1]
    return resize_lightness(rgb_u8_to_lightness(np.ascontiguousarray(rgb_u8)), (SIZE, SIZE))[None]


@pytest.fixture(scope="module")
def shipped() -> ModelProto:
    return to_float32(onnx.load(shipped_model()))


@pytest.fixture(scope="module")
def rounded(shipped: ModelProto) -> ModelProto:
    return to_int8(shipped, [lightness("astronaut.jpg"), lightness("coffee.jpg")])


def open_model(model: ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def names_of(model: ModelProto, kind: str) -> set[str]:
    return {node.name for node in model.graph.node if node.op_type == kind}


def in_8_bits(model: ModelProto) -> set[str]:
    """Return the convolutions whose weights are 8 bits."""
    bits = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    scaled = {
        node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in bits
    }
    return {node.name for node in model.graph.node if node.op_type == "Conv" and node.input[1] in scaled}


def test_the_deep_convolutions_are_rounded_the_shallow_ones_and_the_heads_are_not(
    shipped: ModelProto, rounded: ModelProto
) -> None:
    chosen = in_8_bits(rounded)
    others = names_of(rounded, "Conv") - chosen
    assert len(chosen) > len(others) > 10
    assert not any("stage0" in name or "stage1" in name or "stem" in name for name in chosen)
    assert not any("stage4" in name or "stage5" in name for name in others)
    assert {name for name in others if "_ab_" in name} == {name for name in names_of(rounded, "Conv") if "_ab_" in name}
    assert len(rounded.SerializeToString()) < 0.35 * shipped.ByteSize()


def test_weights_use_all_eight_bits(rounded: ModelProto) -> None:
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in rounded.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert max(np.abs(kernel.astype(int)).max() for kernel in weights) <= 128
    # One scale a channel, so each channel uses its range.
    assert np.mean([np.abs(kernel.astype(int)).max(axis=(1, 2, 3)).mean() for kernel in weights]) > 120


def test_the_file_keeps_the_contract(shipped: ModelProto, rounded: ModelProto) -> None:
    onnx.checker.check_model(rounded, full_check=True)
    assert [(opset.domain, opset.version) for opset in rounded.opset_import] == [("", 17)]
    assert {node.domain for node in rounded.graph.node} == {""}
    assert list(rounded.graph.input) == list(shipped.graph.input)
    assert list(rounded.graph.output) == list(shipped.graph.output)
    assert list(rounded.metadata_props) == list(shipped.metadata_props)
    assert rounded.ir_version == shipped.ir_version
    assert rounded.producer_name == "photochrom"
    decodes = [
        {node.name: node.SerializeToString() for node in model.graph.node if node.name.startswith("decode/")}
        for model in (shipped, rounded)
    ]
    assert decodes[0] == decodes[1]


def test_its_pictures_are_nearly_those_of_float32(shipped: ModelProto, rounded: ModelProto) -> None:
    """One of them had no say in the ranges."""
    pictures = [lightness(name) for name in ("astronaut.jpg", "chelsea.png", "coffee.jpg")]
    found = compare_pictures(rounded.SerializeToString(), shipped.SerializeToString(), STAMP, pictures)
    assert found.reference == "float32"
    assert found.is_small
    assert 0.05 < found.largest <= PICTURE_TOLERANCE == found.tolerance


def test_the_way_back_gives_a_network_of_rounded_weights(shipped: ModelProto, rounded: ModelProto) -> None:
    """Weights are off by half a step of their channel; only the rounding of activations is missing."""
    back = to_float32(rounded)
    assert {node.op_type for node in back.graph.node} == {node.op_type for node in shipped.graph.node}
    folded = ModelProto()
    folded.CopyFrom(shipped)
    fold_scales(folded.graph)
    assert [len(graph.node) for graph in (back.graph, folded.graph)] == [len(folded.graph.node)] * 2
    kernels = [
        {node.name: numpy_helper.to_array(constants[node.input[1]]) for node in graph.node if node.op_type == "Conv"}
        for graph in (folded.graph, back.graph)
        for constants in [{tensor.name: tensor for tensor in graph.initializer}]
    ]
    for name, kernel in kernels[0].items():
        step = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
        # A few channels of tiny weights get larger steps, so that their bias fits into 32 bits.
        assert np.mean(np.abs(kernels[1][name] - kernel) <= 0.6 * step) > 0.9, name
        assert np.abs(kernels[1][name] - kernel).max() <= 0.6 * step.max(), name
    found = compare_pictures(rounded.SerializeToString(), back.SerializeToString(), STAMP, [lightness("coffee.jpg")])
    assert found.largest <= 2 * PICTURE_TOLERANCE


def test_batch_height_and_width_stay_free(rounded: ModelProto) -> None:
    session = open_model(rounded)
    both = np.concatenate([lightness("chelsea.png"), lightness("coffee.jpg")])[:, :64, :96]
    company = run(session, both, [CURVE.at(0.5)] * 2)
    alone = run(session, both[1:], [CURVE.at(0.5)])
    assert company["ab_logits"].shape == (2, 16, 24, 313)
    for name in OUTPUT_NAMES:
        assert np.abs(company[name][1:] - alone[name]).max() <= 1e-3, name


def test_without_pictures_there_are_no_ranges(shipped: ModelProto) -> None:
    with pytest.raises(ConversionError, match="no photographs"):
        to_int8(shipped, [])


def test_a_network_without_deep_convolutions_is_refused() -> None:
    with pytest.raises(ConversionError, match="no convolution"):
        to_int8(build_model(), [np.zeros((1, 32, 32, 1), np.float32)])


def chain(
    *nodes: tuple[str, str, dict[str, object]], outputs: tuple[str, ...] = ("ab",), **constants: np.ndarray
) -> GraphProto:
    """Return a graph from `x`; each node is (operator, "inputs -> output", attributes) and named after its output."""
    made = []
    for kind, text, attributes in nodes:
        inputs, _, output = text.partition(" -> ")
        made.append(helper.make_node(kind, inputs.split(), [output], name=output, **attributes))
    shape = [1, None, None, None]
    return helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, None, None])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )


def answers(graph: GraphProto) -> list[np.ndarray]:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    return list(open_model(model).run(None, {"x": x}))


RNG = np.random.default_rng(1)
KERNEL, BIAS = RNG.normal(size=(4, 3, 1, 1)), RNG.normal(size=4)
SCALE, SHIFT = RNG.normal(size=(1, 4, 1, 1)), RNG.normal(size=(4, 1, 1))


@pytest.mark.parametrize("bias", ["", " bias"])
def test_scale_and_shift_are_folded_in(bias: str) -> None:
    graph = chain(
        ("Conv", f"x kernel{bias} -> conv", {}),
        ("Mul", "conv scale -> scaled", {}),
        ("Add", "shift scaled -> ab", {}),
        kernel=KERNEL,
        bias=BIAS,
        scale=SCALE,
        shift=SHIFT,
    )
    expected = answers(graph)
    fold_scales(graph)
    assert [node.op_type for node in graph.node] == ["Conv"]
    assert {tensor.name for tensor in graph.initializer} == set(graph.node[0].input[1:])
    assert np.allclose(answers(graph), expected, atol=1e-5)


@pytest.mark.parametrize(
    "follower",
    [
        ("Mul", "conv wide -> ab", {}),  # one value a column, not a channel
        ("Mul", "conv conv -> ab", {}),
        ("Relu", "conv -> ab", {}),
    ],
)
def test_what_is_no_scale_a_channel_stays(follower: tuple[str, str, dict[str, object]]) -> None:
    graph = chain(("Conv", "x kernel -> conv", {}), follower, kernel=KERNEL, wide=RNG.normal(size=(1, 1, 1, 8)))
    expected = answers(graph)
    fold_scales(graph)
    assert [node.op_type for node in graph.node] == ["Conv", follower[0]]
    assert np.allclose(answers(graph), expected)


def test_a_value_that_others_read_stays() -> None:
    graph = chain(
        ("Conv", "x kernel -> conv", {}),
        ("Mul", "conv scale -> scaled", {}),
        ("Add", "conv scaled -> ab", {}),
        kernel=KERNEL,
        scale=SCALE,
    )
    expected = answers(graph)
    fold_scales(graph)
    assert len(graph.node) == 3
    assert np.allclose(answers(graph), expected)


def test_deep_and_shared_convolutions_are_chosen_with_their_activations() -> None:
    halve, kernel = {"strides": [2, 2]}, RNG.normal(size=(3, 3, 1, 1))
    graph = chain(
        ("Conv", "x kernel -> half", halve),
        ("Relu", "half -> half_relu", {}),
        ("MaxPool", "half_relu -> quarter", {"kernel_shape": [2, 2], **halve}),
        ("Conv", "quarter kernel -> deep", {}),
        ("Clip", "deep -> deep_clip", {}),
        ("Conv", "deep_clip kernel -> deepest", halve),
        ("Sigmoid", "deepest -> gate", {}),
        ("Conv", "gate kernel -> hidden", {}),
        ("Conv", "hidden kernel -> ab", {}),
        ("Conv", "gate kernel -> ab_logits", {}),
        outputs=("ab", "ab_logits"),
        kernel=kernel,
    )
    # Shrunk to 1/8 at the most: from 1/4 on; hidden and the last two lead to one output each.
    assert nodes_to_round(graph) == ["deep", "deep_clip", "deepest"]


def test_the_same_pictures_give_the_same_file() -> None:
    rng = np.random.default_rng(0)  # Its own: weights and pictures must not depend on the order of the tests.
    halve = {"strides": [2, 2]}
    graph = chain(
        ("Conv", "x kernel -> half", halve),
        ("Relu", "half -> relu", {}),
        ("Conv", "relu head -> ab", {}),
        ("Conv", "relu other -> ab_logits", {}),
        outputs=("ab", "ab_logits"),
        **{name: rng.normal(size=(3, 3, 1, 1)) for name in ("kernel", "head", "other")},
    )
    graph.input[0].name = LIGHTNESS
    graph.node[0].input[0] = LIGHTNESS
    for name in KNOB_NAMES:
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    pictures = [rng.uniform(0, 100, (1, 3, 8, 8)).astype(np.float32) for _ in range(3)]
    first, second, other = (to_int8(model, some).SerializeToString() for some in (pictures, pictures, pictures[:1]))
    assert first == second
    assert first != other
    assert in_8_bits(ModelProto.FromString(first)) == {"half"}
