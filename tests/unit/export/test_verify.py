"""A model that computes something else is not written, whatever is wrong with it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from chroma.signature import OUTPUT_NAMES, SignatureError
from export import ConversionError, ToleranceError
from export.tolerances import TOLERANCES
from export.verify import (
    KNOBS,
    SHAPES,
    Difference,
    compare,
    largest_difference,
    make_lightness,
    write_verified,
)

pytestmark = pytest.mark.training


def change(model: ModelProto, wanted: Callable[[str, np.ndarray], bool], how: Callable[[np.ndarray], Any]) -> None:
    """Change the constants that are wanted."""
    chosen = [t for t in model.graph.initializer if wanted(t.name, numpy_helper.to_array(t))]
    assert chosen
    for tensor in chosen:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(how(array), array.dtype), tensor.name))


def is_logit_bias(name: str, array: np.ndarray) -> bool:
    return array.shape == (313,) and not name.startswith("decode/")


def is_log_weight(name: str, array: np.ndarray) -> bool:
    return array.shape == (313,) and name.startswith("decode/")


def is_scene_matrix(name: str, array: np.ndarray) -> bool:
    return array.ndim == 2 and array.shape[1] == 3 and not name.startswith("decode/")


def test_the_model_is_compared_in_every_output(exported: Any) -> None:
    found = {(difference.output, difference.reference) for difference in exported.differences}
    heads = {"ab", "ab_logits", "scene_logits"}
    assert found == {(name, "Keras") for name in heads} | {("ab_decoded", "NumPy"), ("spread", "NumPy")} | {
        (name, "one by one") for name in OUTPUT_NAMES
    }
    assert all(difference.is_small for difference in exported.differences)
    assert {difference.output: difference.tolerance for difference in exported.differences} == TOLERANCES


def test_it_is_compared_on_several_shapes_and_settings() -> None:
    assert len({count for count, _, _ in SHAPES}) >= 2
    assert len({(height, width) for _, height, width in SHAPES}) >= 2
    assert any(height != width for _, height, width in SHAPES)
    assert {(knobs.temperature, knobs.tau) for knobs in KNOBS} == {
        (T, tau) for T in (0.1, 0.38, 1) for tau in (0, 0.5, 1)
    }
    assert len({knobs.cap for knobs in KNOBS}) > 2
    assert len({knobs.gain for knobs in KNOBS}) > 2


def test_what_is_written_is_what_was_verified(exported: Any, network: Any, tmp_path: Path) -> None:
    model = onnx.load(exported.path)
    path = tmp_path / "new" / "copy.onnx"
    differences = write_verified(model, network, exported.stamp, path)
    assert path.read_bytes() == exported.path.read_bytes()
    assert os.listdir(path.parent) == ["copy.onnx"]
    assert [difference.output for difference in differences] == [d.output for d in exported.differences]


@pytest.mark.parametrize(
    ("wanted", "how", "output"),
    [
        (is_logit_bias, lambda bias: bias + np.linspace(0, 0.01, 313), "ab_logits"),
        (is_scene_matrix, lambda matrix: matrix * 1.01, "scene_logits"),
        (is_log_weight, lambda weights: weights + np.linspace(0, 0.1, 313), "ab_decoded"),
        (is_logit_bias, lambda bias: np.where(np.arange(313) == 7, np.nan, bias), "ab_logits is nan"),
    ],
)
def test_another_result_is_refused(
    model: ModelProto, exported: Any, network: Any, tmp_path: Path, wanted: Any, how: Any, output: str
) -> None:
    change(model, wanted, how)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older model")
    with pytest.raises(ToleranceError, match=f"not written.*{output}"):
        write_verified(model, network, exported.stamp, path)
    assert path.read_bytes() == b"an older model"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_model_that_mixes_up_its_batch_is_refused(model: ModelProto, exported: Any, network: Any) -> None:
    """The knobs of the first picture for all: right alone, wrong in company."""
    first = numpy_helper.from_array(np.array([0]), "first")
    model.graph.initializer.append(first)
    for node in model.graph.node:
        node.input[:] = ["first_gain" if value == "gain" else value for value in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Gather", ["gain", "first"], ["first_gain"]))
    rows = {(row.output, row.reference): row for row in compare(model.SerializeToString(), network, exported.stamp)}
    assert not rows["ab_decoded", "NumPy"].is_small
    assert not rows["ab_decoded", "one by one"].is_small
    assert rows["ab_logits", "Keras"].is_small


def test_another_stamp_is_refused(model: ModelProto, exported: Any, network: Any) -> None:
    with pytest.raises(SignatureError, match="stamp"):
        compare(model.SerializeToString(), network, replace(exported.stamp, run_id="another"))


def test_another_name_is_refused(model: ModelProto, exported: Any, network: Any) -> None:
    model.graph.output[0].name = "a_b"
    for node in model.graph.node:
        node.output[:] = ["a_b" if name == "ab" else name for name in node.output]
    with pytest.raises(SignatureError, match=r"outputs.*a_b"):
        compare(model.SerializeToString(), network, exported.stamp)


def test_what_the_runtime_cannot_load_is_refused(exported: Any, network: Any) -> None:
    with pytest.raises(ConversionError, match="ONNX Runtime"):
        compare(b"no model", network, exported.stamp)


def test_a_full_disk_leaves_the_old_file(
    model: ModelProto, exported: Any, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, f"No space left on device {descriptor}")

    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older model")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_verified(model, network, exported.stamp, path)
    assert path.read_bytes() == b"an older model"
    assert os.listdir(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize(
    ("largest", "small"), [(0.0, True), (1e-3, True), (1.1e-3, False), (np.nan, False), (np.inf, False)]
)
def test_small_is_within_tolerance(largest: float, small: bool) -> None:
    assert Difference("ab", "Keras", largest, 1e-3).is_small is small


def test_differences_are_absolute_and_never_broadcast() -> None:
    zeros = np.zeros((2, 3), np.float32)
    assert largest_difference(zeros - 2, zeros) == 2
    assert largest_difference(zeros, zeros[:1]) == np.inf
    assert largest_difference(zeros, zeros.astype(np.float64)) == np.inf
    assert np.isnan(largest_difference(np.full((2, 3), np.nan, np.float32), zeros))


def test_test_pictures_cover_the_range_of_lightness() -> None:
    L = make_lightness(3, 96, 160)
    assert L.shape == (3, 96, 160, 1)
    assert L.dtype == np.float32
    assert L.min() == 0
    assert L.max() == 100
    assert np.array_equal(L, make_lightness(3, 96, 160))
    assert np.abs(L[0] - L[1]).max() > 10
