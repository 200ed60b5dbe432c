"""Weights in 16 bits: what is stored, what is computed, what is refused."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from chroma.compose import compose_u8
from export import ConversionError, PrecisionError
from export.precision import DECODE_PREFIX, LEAST_VALUES, check, to_float16, to_float32
from export.quantization import to_int8
from export.tolerances import PICTURE_TOLERANCE, TOLERANCES, tolerances_for
from export.verify import make_lightness, run
from service.engine.session import shipped_model
from tests.onnx_factory import CURVE, build_model

pytestmark = pytest.mark.training


def conv_model(weights: np.ndarray, *, reader: str = "Conv") -> ModelProto:
    """Return a model of one operator with constant weights."""
    kernel = numpy_helper.from_array(weights, "kernel")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None, None]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(reader, ["x", "kernel"], ["y"])], "g", values[:1], values[1:], [kernel])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def kinds(model: ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


@pytest.fixture(scope="module")
def shipped() -> ModelProto:
    """The network that ships, in float32, with the last bits back that its float16 weights lack: some of ours."""
    model, rng = to_float32(onnx.load(shipped_model())), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= LEAST_VALUES:
            finer = (values * (1 + rng.uniform(-(2**-12), 2**-12, values.shape))).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(finer, tensor.name))
    return model


def test_large_weights_are_halved_and_nothing_else(shipped: ModelProto) -> None:
    halved = to_float16(shipped)
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in shipped.graph.initializer}
    for tensor in halved.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT16:
            source = before[tensor.name.removesuffix(".float16")]
            assert source.size >= LEAST_VALUES
            assert not tensor.name.startswith(DECODE_PREFIX)
            assert np.array_equal(values, source.astype(np.float16))
        else:
            assert values.dtype == before[tensor.name].dtype
            assert values.dtype != np.float32 or values.size < LEAST_VALUES or tensor.name.startswith(DECODE_PREFIX)
            assert np.array_equal(values, before[tensor.name])
    assert len(halved.SerializeToString()) < 0.52 * len(shipped.SerializeToString())
    assert [node for node in halved.graph.node if node.op_type != "Cast"] == list(shipped.graph.node)


def test_the_model_given_stays_as_it_is(shipped: ModelProto) -> None:
    before = shipped.SerializeToString(deterministic=True)
    to_float16(shipped)
    assert shipped.SerializeToString(deterministic=True) == before


def test_fifteen_million_weights_fit_into_32_megabytes(shipped: ModelProto) -> None:
    weights = sum(numpy_helper.to_array(tensor).size for tensor in shipped.graph.initializer)
    assert len(to_float16(shipped).SerializeToString()) / weights * 15e6 < 32e6


def test_the_runtime_folds_every_cast_at_load(shipped: ModelProto, tmp_path: object) -> None:
    """What runs is float32, with no conversion left for each picture."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = f"{tmp_path}/optimized.onnx"
    options.log_severity_level = 3
    ort.InferenceSession(to_float16(shipped).SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(options.optimized_model_filepath)
    assert "Cast" not in {node.op_type for node in optimized.graph.node}
    assert TensorProto.FLOAT16 not in set(kinds(optimized).values())


def test_the_way_back_gives_the_rounded_weights(shipped: ModelProto) -> None:
    back = to_float32(to_float16(shipped))
    assert list(back.graph.node) == list(shipped.graph.node)
    sources = {tensor.name: tensor for tensor in shipped.graph.initializer}
    assert sorted(sources) == sorted(tensor.name for tensor in back.graph.initializer)
    for tensor in back.graph.initializer:
        found, expected = numpy_helper.to_array(tensor), numpy_helper.to_array(sources[tensor.name])
        assert found.dtype == expected.dtype
        assert np.allclose(found, expected, rtol=2**-11, atol=2**-25)
    twice, once = ({t.name: t for t in to_float16(some).graph.initializer} for some in (back, shipped))
    assert twice == once


def test_its_pictures_are_those_of_float32(shipped: ModelProto) -> None:
    L, knobs = make_lightness(1, 192, 160), CURVE.at(0.5)
    pictures = []
    for model in (shipped, to_float16(shipped)):
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        pictures.append(compose_u8(L[0], run(session, L, [knobs])["ab_decoded"][0]))
    difference = np.abs(np.subtract(*pictures, dtype=np.int16))
    assert 0 < difference.mean() <= PICTURE_TOLERANCE / 4


def test_weights_beyond_float16_are_refused() -> None:
    weights = np.zeros((32, 32, 3, 3), np.float32)
    to_float16(conv_model(weights + 65504))
    for value in (70000, -70000, np.nan, np.inf):
        weights[3, 1, 2, 0] = value
        with pytest.raises(ConversionError, match=r"kernel.*65504"):
            to_float16(conv_model(weights))


@pytest.mark.parametrize("convert", [to_float16, lambda model: to_int8(model, [])])
def test_only_float32_is_rounded(convert: Callable[[ModelProto], ModelProto]) -> None:
    halved = to_float16(conv_model(np.ones((32, 32, 3, 3), np.float32)))
    with pytest.raises(ConversionError, match="FLOAT16"):
        convert(halved)


def test_small_constants_stay_as_they_are() -> None:
    model = build_model()
    assert set(kinds(to_float16(model)).values()) == set(kinds(model).values())


def test_float16_may_be_read_by_a_cast_alone() -> None:
    """Anything else would compute in 16 bits."""
    half = np.ones((32, 32, 3, 3), np.float16)
    with pytest.raises(ConversionError, match=r"kernel, FLOAT16, is read by Conv"):
        check(conv_model(half), "float16")
    with pytest.raises(ConversionError, match="FLOAT16"):
        check(conv_model(half), "float32")
    with pytest.raises(ConversionError, match="FLOAT16"):
        check(conv_model(half), "int8")


def test_8_bits_may_be_read_by_their_scaling_alone() -> None:
    with pytest.raises(ConversionError, match=r"kernel, INT8, is read by Conv"):
        check(conv_model(np.ones((32, 32, 3, 3), np.int8)), "int8")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_broken_graph_is_refused_in_every_precision(precision: str) -> None:
    model = conv_model(np.ones((4, 4, 3, 3), np.float32), reader="NoSuchOperator")
    with pytest.raises(ConversionError, match="broken"):
        check(model, precision)  # type: ignore[arg-type]


def test_rounding_widens_the_tolerances_of_the_network_and_of_nothing_else() -> None:
    heads = {"ab", "ab_logits", "scene_logits"}
    half, eighth = tolerances_for(7_000_000, "float16"), tolerances_for(7_000_000, "int8")
    assert {name for name in TOLERANCES if half[name] > TOLERANCES[name]} == heads
    assert {name for name in TOLERANCES if eighth[name] > half[name]} == heads
    assert tolerances_for(7_000_000, "float32") == TOLERANCES
    with pytest.raises(PrecisionError, match=r"int4.*float32, float16, int8"):
        tolerances_for(7_000_000, "int4")
