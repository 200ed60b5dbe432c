"""The networks that ours is compared with are those of their authors: as many weights, as many multiplications."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from benchmarks import networks
from benchmarks.architectures import PUBLISHED, Published
from benchmarks.architectures.ddcolor import FEATURES, sine_positions
from benchmarks.architectures.graph import Graph, count_gflops
from chroma.signature import KNOB_NAMES, LIGHTNESS
from service.engine.onnx_runtime import CPU
from service.engine.session import shipped_model

OUTPUT_CHANNELS = {"eccv16": 2, "siggraph17": 2, "deoldify_artistic": 3, "ddcolor_tiny": 2}


@pytest.mark.parametrize("known", PUBLISHED.values(), ids=list(PUBLISHED))
def test_a_network_is_as_large_as_published(known: Published) -> None:
    graph, output = known.build(256)
    assert round(graph.parameters / 1e6, known.digits) == known.parameters
    model = graph.to_onnx(output, weights=False)
    written = sum(math.prod(each.dims) for each in model.graph.initializer if each.name.startswith("weight"))
    assert written == graph.parameters
    if known.gflops is not None:  # They count a little beside the convolutions.
        assert count_gflops(model) == pytest.approx(known.gflops, rel=0.002)


def test_every_weight_is_used_and_everything_leads_to_the_output() -> None:
    for known in PUBLISHED.values():
        graph, output = known.build(64)
        model = graph.to_onnx(output, weights=False).graph
        used = {name for node in model.node for name in node.input}
        assert {each.name for each in model.initializer} <= used
        assert {name for node in model.node for name in node.output} - used == {"output"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_gives_every_pixel_a_color(name: str) -> None:
    graph, output = PUBLISHED[name].build(64)
    model = graph.to_onnx(output, weights=False)
    found = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0].type.tensor_type.shape
    assert [each.dim_value for each in found.dim] == [1, OUTPUT_CHANNELS[name], 64, 64]


def test_a_network_with_weights_runs() -> None:
    graph, output = PUBLISHED["eccv16"].build(32)
    session = ort.InferenceSession(graph.to_onnx(output).SerializeToString(), providers=[CPU])
    (ab,) = session.run(None, networks.make_feeds(session, 32))
    assert ab.shape == (1, 2, 32, 32)
    assert np.isfinite(ab).all()
    assert ab.std() > 0


def test_the_size_that_deoldify_uses_needs_no_multiple_of_32() -> None:
    known = PUBLISHED["deoldify_artistic"]
    graph, output = known.build(known.own_px)
    assert known.own_px % 32
    assert count_gflops(graph.to_onnx(output, weights=False)) > 1000


def test_multiplications_of_known_layers() -> None:
    graph = Graph(3, 8)
    x = graph.conv(graph.input, 10, 3, stride=2)  # 4 x 4 pixels
    assert count_gflops(graph.to_onnx(x, weights=False)) * 1e9 == 2 * 16 * 10 * 27
    x = graph.conv(x, 20, 3, groups=10)
    assert count_gflops(graph.to_onnx(x, weights=False)) * 1e9 == 2 * 16 * (270 + 20 * 9)
    x = graph.linear(graph.reshape(x, 0, 4, 80, channels=80), 7)
    assert count_gflops(graph.to_onnx(x, weights=False)) * 1e9 == 2 * 16 * (270 + 180) + 2 * 4 * 80 * 7


def test_a_shape_that_cannot_be_told_is_no_zero() -> None:
    open_input = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "side", "side"])
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3, 3, 3])
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([node], "open", [open_input], [result], [weight]))
    with pytest.raises(ValueError, match="cannot be told"):
        count_gflops(model)
    assert count_gflops(model, {"x": [1, 3, 10, 10]}) * 1e9 == 2 * 64 * 4 * 27


def test_what_ships_is_counted_at_any_size() -> None:
    model = onnx.load(shipped_model())
    small, large = (
        count_gflops(model, {LIGHTNESS: [1, side, side, 1]} | {name: [1] for name in KNOB_NAMES}) for side in (128, 256)
    )
    assert large == pytest.approx(4 * small, rel=0.02)


def test_positions_differ_and_are_sines() -> None:
    positions = sine_positions(4)
    assert (positions.shape, positions.dtype) == ((1, 16, FEATURES), np.float32)
    assert len(np.unique(positions[0], axis=0)) == 16
    assert np.abs(positions).max() <= 1


def test_ratios_are_paired_by_round() -> None:
    took = {"ours own": [1.0, 2.0, 1.0], "ours": [2.0, 4.0, 2.0], "theirs": [20.0, 40.0, 10.0]}
    found = networks.summarize(took, "ours own", "ours")
    assert found["theirs"]["ms"] == 20
    assert found["theirs"]["ms_spread"] == [10, 40]
    assert found["theirs"]["times_ours"] == {"ratio": 10, "spread": [5, 10]}
    assert found["theirs"]["times_ours_at_its_own_size"]["ratio"] == 20
    assert found["ours"]["times_ours"] == {"ratio": 1, "spread": [1, 1]}


def test_memory_is_told_above_what_was_there(tmp_path: Path) -> None:
    graph = Graph(1, 32)
    graph_output = graph.conv(graph.input, 64, 3)
    onnx.save(graph.to_onnx(graph_output), tmp_path / "tiny.onnx")
    contender = networks.Contender("tiny", tmp_path / "tiny.onnx", 32, 0.0, graph.parameters)
    memory = networks.ask_memory(contender, 1)
    assert 0 <= memory["peak_mb"] < 100
    assert memory["held_mb"] <= memory["peak_mb"]
