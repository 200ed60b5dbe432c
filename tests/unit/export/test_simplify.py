"""Each rewrite keeps the result, does its work on its pattern, and leaves its neighbors alone."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import GraphProto, TensorProto, helper, numpy_helper

from export.simplify import (
    enlarge_by_scales,
    keep_needed,
    multiply_directly,
    name_by_place,
    pad_transposed,
    simplify,
)


def run(graph: GraphProto, **feeds: np.ndarray) -> list[np.ndarray]:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return list(ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds))


def copied(graph: GraphProto) -> GraphProto:
    copy = GraphProto()
    copy.CopyFrom(graph)
    return copy


def kinds(graph: GraphProto) -> list[str]:
    return [node.op_type for node in graph.node]


def tensordot_graph(*, name: str = "Tensordot/MatMul", second_reader: bool = False) -> GraphProto:
    """What tf2onnx makes of a contraction of (N, h, w, 3) with a constant (3, 2)."""
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "matrix"], ["products"], name=name),
        helper.make_node("Shape", ["x"], ["shape"], start=0, end=3),
        helper.make_node("Concat", ["shape", "columns"], ["back"], axis=0),
        helper.make_node("Reshape", ["products", "back"], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "h", "w", 2])]
    if second_reader:
        nodes.append(helper.make_node("Relu", ["products"], ["z"]))
        outputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["rows", 2]))
    constants = {
        "flat": np.array([-1, 3]),
        "columns": np.array([2]),
        "matrix": np.arange(6, dtype=np.float32).reshape(3, 2),
    }
    return helper.make_graph(
        nodes,
        "tensordot",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "h", "w", 3])],
        outputs,
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )


def resize_graph(mode: str = "linear", coordinates: str = "half_pixel") -> GraphProto:
    """What tf2onnx makes of `Up2`: the new size is computed from the shape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "factors"], ["sizes"]),
        helper.make_node(
            "Resize",
            ["x", "", "", "sizes"],
            ["y"],
            mode=mode,
            coordinate_transformation_mode=coordinates,
        ),
    ]
    return helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h2", "w2"])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2]), "factors")],
    )


def test_tensordot_becomes_one_multiplication() -> None:
    before = tensordot_graph()
    after = copied(before)
    simplify(after)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 3)).astype(np.float32)
    assert kinds(after) == ["MatMul"]
    assert [tensor.dims for tensor in after.initializer] == [[3, 2]]
    np.testing.assert_allclose(run(after, x=x)[0], run(before, x=x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("graph", [tensordot_graph(name="dense/MatMul"), tensordot_graph(second_reader=True)])
def test_other_multiplications_are_left_alone(graph: GraphProto) -> None:
    after = copied(graph)
    multiply_directly(after)
    assert after == graph


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 5, 4)])
def test_enlargement_by_a_computed_size_becomes_one_by_two(shape: tuple[int, ...]) -> None:
    before = resize_graph()
    after = copied(before)
    simplify(after)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert kinds(after) == ["Resize"]
    np.testing.assert_array_equal(run(after, x=x)[0], run(before, x=x)[0])


def test_repeated_pixels_are_no_deprecated_coordinates() -> None:
    graph = resize_graph("nearest", "tf_half_pixel_for_nn")
    simplify(graph)
    assert b"tf_half_pixel_for_nn" not in {attribute.s for attribute in graph.node[0].attribute}
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(graph, x=x)[0], x.repeat(2, axis=2).repeat(2, axis=3))


def test_enlargement_by_scales_is_left_alone() -> None:
    graph = resize_graph()
    simplify(graph)
    again = copied(graph)
    enlarge_by_scales(again)
    assert again == graph


def transposed_graph(kernel: int, stride: int) -> GraphProto:
    """What tf2onnx makes of a transposed convolution: cut to a size computed from the shape, then pad."""
    before = (kernel - stride) // 2
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["all"], kernel_shape=[kernel] * 2, strides=[stride] * 2),
        helper.make_node("Shape", ["x"], ["size"], start=2),
        helper.make_node("Mul", ["size", "stride"], ["wanted"]),
        helper.make_node("Add", ["wanted", "before"], ["ends"]),
        helper.make_node("Slice", ["all", "before", "ends", "axes"], ["cut"]),
        helper.make_node("Pad", ["cut", "none"], ["y"]),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    constants = {
        "w": np.random.default_rng(1).normal(size=(3, 2, kernel, kernel)).astype(np.float32),
        "stride": np.array([stride] * 2),
        "before": np.array([before] * 2),
        "axes": np.array([2, 3]),
        "none": np.zeros(8, np.int64),
    }
    return helper.make_graph(
        nodes,
        "transposed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2, "h2", "w2"])],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 2), (2, 2), (7, 3)])
def test_a_transposed_convolution_cuts_its_own_border(kernel: int, stride: int) -> None:
    before = transposed_graph(kernel, stride)
    after = copied(before)
    simplify(after)
    assert kinds(after) == ["ConvTranspose", "Relu"]
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    expected, got = run(before, x=x)[0], run(after, x=x)[0]
    assert got.shape == (2, 2, 5 * stride, 4 * stride)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_a_transposed_convolution_that_pads_already_is_left_alone() -> None:
    graph = transposed_graph(4, 2)
    graph.node[0].attribute.append(helper.make_attribute("pads", [0, 0, 0, 0]))
    after = copied(graph)
    pad_transposed(after)
    assert after == graph


def test_nodes_and_constants_that_nothing_needs_are_dropped() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "one"], ["y"]),
            helper.make_node("Mul", ["x", "two"], ["idle"]),
            helper.make_node("Relu", ["idle"], ["also_idle"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array([value], np.float32), name) for name, value in (("one", 1), ("two", 2))],
    )
    keep_needed(graph)
    assert kinds(graph) == ["Add"]
    assert [tensor.name for tensor in graph.initializer] == ["one"]
    assert run(graph, x=np.array([3], np.float32))[0] == 4


def test_nodes_come_in_one_order_each_after_what_it_reads() -> None:
    nodes = {
        "y": helper.make_node("Add", ["left", "right"], ["y"]),
        "left": helper.make_node("Relu", ["both"], ["left"]),
        "right": helper.make_node("Neg", ["both"], ["right"]),
        "both": helper.make_node("Abs", ["x"], ["both"]),
        "z": helper.make_node("Sub", ["right", "x"], ["z"]),
    }
    orders = []
    for names in (["both", "right", "left", "y", "z"], ["both", "left", "right", "z", "y"]):
        graph = helper.make_graph(
            [nodes[name] for name in names],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "yz"],
        )
        keep_needed(graph)
        orders.append(kinds(graph))
        assert [float(output[0]) for output in run(graph, x=np.array([-3], np.float32))] == [0, 0]
    assert orders == [["Abs", "Relu", "Neg", "Add", "Sub"]] * 2


def chain(prefix: str, constants: dict[str, float]) -> GraphProto:
    """y = relu(x + a) * a, with names as tf2onnx happens to give them and constants in any order."""
    layer = "photochrom_3/encoder_stem_1" if prefix == "first" else "photochrom/encoder_stem_7"
    return helper.make_graph(
        [
            helper.make_node("Add", ["x", "a"], [f"{prefix}:0"], name=f"{layer}/add"),
            helper.make_node("Relu", [f"{prefix}:0"], [f"{prefix}:1"], name=f"Relu__{prefix}"),
            helper.make_node("Clip", [f"{prefix}:1", "", "b"], [f"{prefix}:2"], name="Clip__1"),
            helper.make_node("Mul", [f"{prefix}:2", "a"], ["y"], name="Mul__2"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )


def test_names_do_not_depend_on_those_before() -> None:
    first, second = chain("first", {"a": 2, "b": 5}), chain("second", {"b": 5, "a": 2})
    for graph in (first, second):
        name_by_place(graph)
    assert first == second
    assert [node.name for node in first.node] == ["000_encoder_stem", "001_relu", "002_clip", "003_mul"]
    assert [tensor.name for tensor in first.initializer] == ["000_encoder_stem.1", "002_clip.2"]
    assert run(first, x=np.array([-3, 1], np.float32))[0].tolist() == [0, 6]
    assert run(first, x=np.array([9, 0], np.float32))[0].tolist() == [10, 4]
