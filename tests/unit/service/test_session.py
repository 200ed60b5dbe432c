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
from chroma.prior import rebalancing_weights, smooth_prior
from chroma.signature import OUTPUT_NAMES, STAMP_KEY
from service.engine.onnx_runtime import CPU, CUDA, missing_cuda_libraries
from service.engine.session import Query, Session
from service.errors import DeviceError, ModelError
from service.machine import usable_cores
from tests import onnx_factory

KNOBS = Knobs(0.4, 0.5, 5.0, 1.2)


def lightness(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (height, width, 1)).astype(np.float32)


def test_heads_come_by_name_and_the_decode_is_the_numpy_one(session: Session) -> None:
    heads = session.run([Query(lightness(64, 96), KNOBS, OUTPUT_NAMES)])[0]
    shapes = {name: head.shape for name, head in heads.items()}
    assert shapes == {
        "ab": (16, 24, 2),
        "ab_decoded": (16, 24, 2),
        "ab_logits": (16, 24, 313),
        "scene_logits": (3,),
        "spread": (16, 24, 1),
    }
    centers = load_centers()
    log_weights = np.log(rebalancing_weights(smooth_prior(np.asarray(session.stamp.prior), centers)))
    L = head_lightness(lightness(64, 96))
    knobs = asdict(KNOBS)
    expected = decoding.decode(heads["ab_logits"], centers, log_weights.astype(np.float32), lightness=L, **knobs)
    np.testing.assert_allclose(heads["ab_decoded"], expected, atol=1e-3)
    spread = decoding.posterior_spread(heads["ab_logits"], centers)
    np.testing.assert_allclose(heads["spread"], spread, atol=1e-3)


def test_a_batch_gives_each_picture_its_own_knobs(session: Session) -> None:
    knobs = (Knobs(0.1, 0.0, 1.0, 1.0), Knobs(1.0, 1.0, 8.0, 2.0))
    queries = [Query(lightness(32, 64, seed), knob, ("ab_decoded",)) for seed, knob in enumerate(knobs)]
    together = session.run(queries)
    for query, heads in zip(queries, together, strict=True):
        assert set(heads) == {"ab_decoded"}
        np.testing.assert_array_equal(heads["ab_decoded"], session.run([query])[0]["ab_decoded"])


def test_a_batch_has_pictures_of_one_size(session: Session) -> None:
    with pytest.raises(ValueError, match="at least one"):
        session.run([])
    with pytest.raises(ValueError, match="same shape"):
        session.run([Query(lightness(32, side), KNOBS, ("ab",)) for side in (32, 64)])


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
    model = onnx_factory.build_model()
    for node in model.graph.node:
        if node.op_type == "Reshape":  # The knobs no longer broadcast over the picture.
            node.input[1] = "wrong_shape"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, 1], np.int64), "wrong_shape"))
    onnx.save(model, tmp_path / "stuck.onnx")
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
