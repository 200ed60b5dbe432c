"""service.engine.session: others are refused with reasons, the device is the one really in use, heads go by name."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from chroma import decoding
from chroma.bins import load_centers
from chroma.decoding import Knobs
from chroma.framing import head_lightness
from chroma.signature import HEADS, INPUT_NAMES, KNOB_NAMES, LIGHTNESS, OUTPUT_NAMES, STAMP_KEY
from service.engine.colorizer import decode_logits
from service.engine.onnx_runtime import CPU, CUDA, missing_cuda_libraries
from service.engine.session import Query, Session
from service.errors import DeviceError, ModelError
from service.machine import usable_cores
from tests import onnx_factory

KNOBS = Knobs(0.4, 0.5, 5.0, 1.2)


def lightness(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (height, width, 1)).astype(np.float32)


def test_heads_come_by_name_and_are_those_of_the_whole_graph(session: Session, model_path: Path) -> None:
    heads = session.run([Query(lightness(64, 96), HEADS)])[0]
    assert {name: head.shape for name, head in heads.items()} == {
        "ab": (16, 24, 2),
        "ab_logits": (16, 24, 313),
        "scene_logits": (3,),
    }
    whole = ort.InferenceSession(model_path, providers=[CPU])
    knobs = {name: np.full(1, value, np.float32) for name, value in asdict(KNOBS).items()}
    outputs = whole.run(list(OUTPUT_NAMES), {LIGHTNESS: lightness(64, 96)[None]} | knobs)
    found = dict(zip(OUTPUT_NAMES, outputs, strict=True))
    for name, head in heads.items():
        np.testing.assert_array_equal(head, found[name][0])
    # What the service decodes of them is what the graph decodes.
    decoded = decode_logits(heads["ab_logits"], head_lightness(lightness(64, 96)), KNOBS, session.stamp)
    np.testing.assert_allclose(decoded, found["ab_decoded"][0], atol=1e-3)
    spread = decoding.posterior_spread(heads["ab_logits"], load_centers())
    np.testing.assert_allclose(spread, found["spread"][0], atol=1e-3)


def test_a_batch_gives_each_picture_its_own_heads(session: Session) -> None:
    queries = [Query(lightness(32, 64, seed), ("ab",)) for seed in range(2)]
    together = session.run(queries)
    assert not np.array_equal(together[0]["ab"], together[1]["ab"])
    for query, heads in zip(queries, together, strict=True):
        assert set(heads) == {"ab"}
        np.testing.assert_array_equal(heads["ab"], session.run([query])[0]["ab"])


def test_what_the_service_decodes_itself_is_not_computed(tmp_path: Path) -> None:
    """ONNX Runtime computes whatever a graph holds: with a decode that cannot run, the whole one gives nothing."""
    path = tmp_path / "model.onnx"
    onnx.save(_with_a_wrong_shape("cap"), path)
    session = Session(path, device="cpu", threads=1)
    session.warm_up()
    assert {tensor.name for tensor in session.inputs} == set(INPUT_NAMES)
    assert {tensor.name for tensor in session.outputs} == set(OUTPUT_NAMES)
    whole = ort.InferenceSession(path, providers=[CPU])
    knobs = {name: np.ones(1, np.float32) for name in KNOB_NAMES}
    with pytest.raises(Exception, match="requested shape"):
        whole.run(["ab"], {LIGHTNESS: lightness(32, 32)[None]} | knobs)


def test_a_batch_has_pictures_of_one_size(session: Session) -> None:
    with pytest.raises(ValueError, match="at least one"):
        session.run([])
    with pytest.raises(ValueError, match="same shape"):
        session.run([Query(lightness(32, side), ("ab",)) for side in (32, 64)])


def test_a_loaded_model_says_what_it_is(session: Session, model_path: Path) -> None:
    import hashlib

    assert session.stamp.run_id == "tiny-0001"
    assert session.digest == hashlib.sha256(model_path.read_bytes()).hexdigest()
    assert session.provider == CPU
    assert (session.threads, session.default_batch, session.path) == (2, 1, model_path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx.*PHOTOCHROM_MODEL"):
        Session(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match="cannot read"):
        Session(tmp_path)


def test_a_broken_file_is_refused(tmp_path: Path, model_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    for content in (b"", b"not a model", model_path.read_bytes()[:-5000]):
        broken.write_bytes(content)
        with pytest.raises(ModelError, match="not an ONNX model"):
            Session(broken)


def _with_a_wrong_shape(name: str) -> onnx.ModelProto:
    """The tiny model; what first reads or gives a value does so in a shape that it cannot have."""
    model = onnx_factory.build_model()
    nodes = model.graph.node
    place, node = next((at, one) for at, one in enumerate(nodes) if name in (*one.input, *one.output))
    names = node.output if name in node.output else node.input
    names[list(names).index(name)] = "in_another_shape"
    ends = (name, "in_another_shape") if name in INPUT_NAMES else ("in_another_shape", name)
    reshape = helper.make_node("Reshape", [ends[0], "wrong_shape"], [ends[1]])
    nodes.insert(place + (name not in INPUT_NAMES), reshape)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, 1], np.int64), "wrong_shape"))
    return model


def _changed(path: Path, target: Path, **props: str) -> Path:
    model = onnx.load(path)
    del model.metadata_props[:]
    helper.set_model_props(model, props)
    onnx.save(model, target)
    return target


def test_strangers_are_refused(tmp_path: Path, model_path: Path) -> None:
    stamp = onnx_factory.make_stamp().to_json()
    with pytest.raises(ModelError, match="no Photochrom stamp"):
        Session(_changed(model_path, tmp_path / "a.onnx"))
    with pytest.raises(ModelError, match="cannot be read"):
        Session(_changed(model_path, tmp_path / "b.onnx", **{STAMP_KEY: "{}"}))
    later = stamp.replace('"signature_version": 1', '"signature_version": 2')
    with pytest.raises(ModelError, match="signature version 2"):
        Session(_changed(model_path, tmp_path / "c.onnx", **{STAMP_KEY: later}))


def test_a_model_that_lacks_an_output_is_refused(tmp_path: Path, model_path: Path) -> None:
    model = onnx.load(model_path)
    kept = [output for output in model.graph.output if output.name != "spread"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, tmp_path / "poor.onnx")
    with pytest.raises(ModelError, match="lacks the output spread"):
        Session(tmp_path / "poor.onnx")


def test_warm_up_runs_and_finds_nan(tmp_path: Path, session: Session) -> None:
    session.warm_up((1, 2))
    model = onnx_factory.build_model()
    spoiled = 0
    for constant in model.graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.ndim > 1 and values.shape != (313, 2):  # Of the network itself.
            constant.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, np.nan), constant.name))
            spoiled += 1
    assert spoiled
    onnx.save(model, tmp_path / "nan.onnx")
    with pytest.raises(ModelError, match="NaN"):
        Session(tmp_path / "nan.onnx").warm_up()


def test_warm_up_finds_a_model_that_does_not_run(tmp_path: Path) -> None:
    onnx.save(_with_a_wrong_shape("ab"), tmp_path / "stuck.onnx")
    with pytest.raises(ModelError, match="does not run"):
        Session(tmp_path / "stuck.onnx").warm_up()


def test_cuda_without_a_cuda_build_fails(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    with pytest.raises(DeviceError, match="`gpu` extra"):
        Session(model_path, device="cuda")
    assert Session(model_path, device="auto").provider == CPU


def test_cuda_that_does_not_start_fails_or_falls_back_loudly(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The GPU wheel on a machine without a GPU: the provider is listed, but the session ends up on the CPU."""
    whole = ort.InferenceSession
    asked: list[Any] = []

    def create(model: bytes, options: Any, providers: list[Any]) -> Any:
        asked.append(providers)
        return whole(model, options, providers=[CPU])

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", create)
    monkeypatch.setattr("service.engine.onnx_runtime.missing_cuda_libraries", lambda: ["libcudnn.so.9"])
    with pytest.raises(DeviceError, match=r"libcudnn\.so\.9"):
        Session(model_path, device="cuda")
    loaded = Session(model_path, device="auto")
    assert loaded.provider == CPU
    assert "FALLING BACK TO THE CPU" in caplog.text
    assert "libcudnn.so.9" in caplog.text
    assert asked[0][0][0] == CUDA
    asked.clear()
    assert Session(model_path, device="cpu").provider == CPU
    assert asked == [[CPU]]


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.onnx_runtime.CUDA_LIBRARIES", ("libc.so.6", "libnever.so.0"))
    assert missing_cuda_libraries() == ["libnever.so.0"]


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 16), ("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 16)]
)
def test_cores_follow_the_quota_of_cgroup_v2(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/pod/app\n")
    write(tmp_path / "cgroup/pod/app/cpu.max", "max 100000\n")
    write(tmp_path / "cgroup/pod/cpu.max", quota + "\n")
    assert usable_cores(tmp_path / "proc", tmp_path / "cgroup") == cores


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(("quota", "cores"), [("-1", 16), ("300000", 3)])
def test_cores_follow_the_quota_of_cgroup_v1(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/app\n")
    write(tmp_path / "cgroup/cpu/app/cpu.cfs_quota_us", quota)
    write(tmp_path / "cgroup/cpu/app/cpu.cfs_period_us", "100000")
    assert usable_cores(tmp_path / "proc", tmp_path / "cgroup") == cores


@pytest.mark.usefixtures("sixteen_cores")
def test_cores_follow_affinity_alone_where_there_is_no_quota(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path) == 16
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "cgroup/cpu.max", "nonsense")
    assert usable_cores(tmp_path / "proc", tmp_path / "cgroup") == 16
