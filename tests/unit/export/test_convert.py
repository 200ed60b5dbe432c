from types import SimpleNamespace
from typing import Any, ClassVar

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from chroma import signature
from export import BackendError, ConversionError
from export.convert import as_model, count_weights, decode_graph, require_tensorflow, to_onnx
from export.verify import make_lightness
from tests.synthetic_run import make_prior
from training.run.prediction import Decoder

pytestmark = pytest.mark.training


def shapes(values: Any) -> dict[str, list[str | int]]:
    return {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values
    }


def decoder() -> Decoder:
    from chroma.bins import load_centers

    return Decoder.of_prior(make_prior(), load_centers())


def test_inputs_and_outputs_are_those_of_the_signature(model: onnx.ModelProto) -> None:
    quarter = ["batch", "quarter_height", "quarter_width"]
    assert shapes(model.graph.input) == {
        "lightness": ["batch", "height", "width", 1],
        "temperature": ["batch"],
        "tau": ["batch"],
        "cap": ["batch"],
        "gain": ["batch"],
    }
    assert shapes(model.graph.output) == {
        "ab": [*quarter, 2],
        "ab_decoded": [*quarter, 2],
        "ab_logits": [*quarter, 313],
        "scene_logits": ["batch", 3],
        "spread": [*quarter, 1],
    }
    assert {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)} == {TensorProto.FLOAT}
    assert [value.name for value in model.graph.input] == list(signature.INPUT_NAMES)


def test_dimension_names_are_c_identifiers(model: onnx.ModelProto) -> None:
    values = (*model.graph.input, *model.graph.output)
    names = {axis for shape in shapes(values).values() for axis in shape if isinstance(axis, str)}
    assert names
    assert all(name.isidentifier() for name in names)


def test_the_file_is_plain_opset_17(model: onnx.ModelProto) -> None:
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert model.producer_name == "photochrom"
    assert "lightness" in model.doc_string
    assert not model.graph.value_info
    onnx.checker.check_model(model, full_check=True)


def test_weights_are_float32(model: onnx.ModelProto) -> None:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    kinds = {TensorProto.DataType.Name(tensor.data_type) for tensor in tensors.values()}
    assert kinds <= {"FLOAT", "INT64", "INT32"}
    assert len(tensors) == len(model.graph.initializer)
    assert not set(tensors) & set(signature.INPUT_NAMES)


def test_the_graph_is_lean(model: onnx.ModelProto) -> None:
    kinds = [node.op_type for node in model.graph.node]
    # Two at the color heads, two around the modulation by the scene.
    assert kinds.count("Transpose") <= 4
    assert not {"Cast", "Shape", "Gather"} & set(kinds)
    # Softmax over any but the last axis is more than ten times slower.
    softmaxes = [node for node in model.graph.node if node.op_type == "Softmax"]
    assert len(softmaxes) == 3
    assert {attribute.i for node in softmaxes for attribute in node.attribute if attribute.name == "axis"} <= {-1}


@pytest.mark.parametrize(("count", "height", "width"), [(1, 32, 32), (2, 32, 96), (5, 64, 32)])
def test_batch_height_and_width_are_free(exported: Any, count: int, height: int, width: int) -> None:
    session = ort.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    knobs = {name: np.ones(count, np.float32) for name in signature.KNOB_NAMES}
    names = list(signature.OUTPUT_NAMES)
    outputs = session.run(names, {signature.LIGHTNESS: make_lightness(count, height, width)} | knobs)
    quarter = (count, height // 4, width // 4)
    assert [output.shape for output in outputs] == [
        (*quarter, 2),
        (*quarter, 2),
        (*quarter, 313),
        (count, 3),
        (*quarter, 1),
    ]


def test_the_decode_holds_the_runs_own_prior() -> None:
    graph = decode_graph(decoder())
    constants = [numpy_helper.to_array(tensor).ravel() for tensor in graph.initializer]
    assert any(np.array_equal(constant, decoder().log_weights) for constant in constants)


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch, network: Any) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BackendError, match=r"runs on jax.*KERAS_BACKEND=tensorflow"):
        require_tensorflow()
    with pytest.raises(BackendError):
        to_onnx(network, decoder())


def test_an_operation_without_a_twin_in_onnx_is_refused() -> None:
    import tensorflow as tf

    class Strange:
        output: ClassVar = {"scene_logits": SimpleNamespace(shape=(None, 3))}

        def __call__(self, lightness: Any, *, training: bool) -> dict[str, Any]:
            assert not training
            inverse = tf.linalg.inv(lightness[..., 0])[..., None]
            quarter = inverse[:, ::4, ::4]
            return {
                "ab": tf.repeat(quarter, 2, axis=-1),
                "ab_logits": tf.repeat(quarter, 313, axis=-1),
                "scene_logits": lightness[:, 0, :3, 0],
            }

    with pytest.raises(ConversionError, match="Inverse"):
        to_onnx(Strange(), decoder())


def test_constants_of_other_types_are_refused() -> None:
    constant = numpy_helper.from_array(np.ones(3), "double")
    value = helper.make_tensor_value_info("out", TensorProto.DOUBLE, [3])
    graph = helper.make_graph([helper.make_node("Identity", ["double"], ["out"])], "g", [], [value], [constant])
    with pytest.raises(ConversionError, match=r"DOUBLE.*float32"):
        as_model(graph)


def test_a_broken_graph_is_refused() -> None:
    value = helper.make_tensor_value_info("out", TensorProto.FLOAT, [3])
    graph = helper.make_graph([helper.make_node("Relu", ["nowhere"], ["out"])], "g", [], [value])
    with pytest.raises(ConversionError, match="nowhere"):
        as_model(graph)


def test_weights_are_counted_with_their_statistics() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    assert count_weights(model) == 4 * 3 + 3 + 4 * 3
