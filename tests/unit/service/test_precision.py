"""service.engine.precision: what takes the place of float32 has been held to it; what does not work is refused."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from chroma.bins import load_centers
from chroma.signature import AB, AB_LOGITS, HEADS, LIGHTNESS, STAMP_KEY, Stamp
from service.engine import openvino_runtime, precision
from service.engine.onnx_runtime import CPU, CUDA, OnnxRuntime
from service.engine.openvino_runtime import OpenVinoRuntime
from service.engine.precision import MOST_DELTA_E, Check, check, find_faster, open_session
from service.engine.session import Query, Session, shipped_model
from service.errors import PrecisionError, StartupError
from service.machine import processor_features
from tests import onnx_factory

has_units = bool(processor_features() & precision.UNITS["bfloat16"])
needs_openvino = pytest.mark.skipif(not openvino_runtime.is_installed(), reason="needs OpenVINO")
needs_bfloat16 = pytest.mark.skipif(
    not (openvino_runtime.is_installed() and has_units),
    reason="needs OpenVINO, and a processor with units for bfloat16",
)


class Moved:
    """Computes what another runtime does, with colors moved towards yellow, more the larger a number."""

    name = "moved 1.0"
    provider = "Moved"

    def __init__(self, session: Session, by: float) -> None:
        self._runtime, self._by = session.runtime, np.float32(by)

    def run(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        outputs = self._runtime.run(names, feeds)
        more = self._by * load_centers()[:, 1].astype(np.float32) / 100
        return [output + more if name == AB_LOGITS else output for name, output in zip(names, outputs, strict=True)]

    def run_and_give_back(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> None:
        self._runtime.run_and_give_back(names, feeds)


def moved(session: Session, by: float) -> Session:
    return session.on(Moved(session, by), "bfloat16")


def offer(monkeypatch: pytest.MonkeyPatch, by: float, *, time: float | None = None) -> None:
    """Have a processor with units and a runtime that moves colors; `time` is what a check is to have measured."""
    monkeypatch.setattr(precision, "processor_features", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setattr(precision, "is_installed", lambda: True)
    monkeypatch.setattr(precision, "_make", lambda session, _: moved(session, by))
    if time is not None:
        honest = precision.check
        monkeypatch.setattr(precision, "check", lambda *both, **how: replace(honest(*both, **how), time=time))


def as_int8(path: Path) -> Path:
    """Have a model's stamp say that it is int8."""
    model = onnx.load(path)
    stamp = Stamp.from_json({entry.key: entry.value for entry in model.metadata_props}[STAMP_KEY])
    onnx.helper.set_model_props(model, {STAMP_KEY: replace(stamp, precision="int8").to_json()})
    onnx.save(model, path)
    return path


def lightness(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (height, width, 1)).astype(np.float32)


def test_the_features_are_those_that_the_kernel_tells(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\nflags\t: fpu\n")
    assert processor_features(tmp_path) == {"fpu", "avx512_bf16"}
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert processor_features(tmp_path) == {"fp", "asimd", "bf16"}
    assert processor_features(tmp_path / "none") == frozenset()


def test_a_check_finds_how_far_pictures_are_apart(session: Session) -> None:
    same = check(session, moved(session, 0))
    assert same.delta_e == 0
    assert 0 < same.time < 100
    assert 0.5 < check(session, moved(session, 3)).delta_e < 5


def test_what_colors_alike_and_faster_takes_over(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, 0.01, time=0.5)
    found = find_faster(session)
    assert (found.session.precision, found.session.provider) == ("bfloat16", "Moved")
    assert "0.50 of the time of float32" in found.reason
    assert (session.precision, session.provider) == ("float32", CPU)
    assert found.session.digest == session.digest


@pytest.mark.parametrize(("by", "time"), [(3, 0.5), (0.01, 0.95), (np.nan, 0.5)])
def test_what_is_no_better_does_not(session: Session, monkeypatch: pytest.MonkeyPatch, by: float, time: float) -> None:
    offer(monkeypatch, 0 if np.isnan(by) else by, time=time)
    if np.isnan(by):
        monkeypatch.setattr(precision, "check", lambda *_, **__: Check(np.nan, time))
    found = find_faster(session)
    assert found.session is session
    assert f"bfloat16 by moved 1.0: {time:.2f} of the time" in found.reason


def test_why_nothing_faster_is_looked_for_is_said(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_features", lambda: frozenset({"avx2"}))
    assert "no units for bfloat16" in find_faster(session).reason
    monkeypatch.setattr(precision, "processor_features", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr(precision, "is_installed", lambda: False)
    found = find_faster(session)
    assert "requirements/openvino.txt" in found.reason
    assert found.session is session

    def broken(*_: object) -> Session:
        raise PrecisionError("OpenVINO cannot load the model: it is Tuesday")

    monkeypatch.setattr(precision, "is_installed", lambda: True)
    monkeypatch.setattr(precision, "_make", broken)
    assert "it is Tuesday" in find_faster(session).reason


def test_what_loads_but_does_not_run_is_no_candidate(
    session: Session, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[np.ndarray]:
        raise RuntimeError("could not create a primitive")

    offer(monkeypatch, 0)
    monkeypatch.setattr(Moved, "run", fail)
    found = find_faster(session)
    assert found.session is session
    assert found.reason == "moved 1.0 loads the model but does not run it: could not create a primitive"
    with pytest.raises(PrecisionError, match=r"PHOTOCHROM_PRECISION=bfloat16, but .*could not create a primitive"):
        open_session(model_path, device="cpu", threads=1, precision="bfloat16")


def test_what_was_changed_over_is_not_looked_at_again(session: Session) -> None:
    found = find_faster(moved(session, 0))
    assert (found.session.precision, found.reason) == ("bfloat16", "it was changed over before")


def test_what_nobody_wants_any_more_is_not_gone_on_with(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, 0.01)
    colored: list[object] = []
    honest = Moved.run
    monkeypatch.setattr(Moved, "run", lambda *given: colored.append(given) or honest(*given))
    answers = iter([True, True, False])
    found = find_faster(session, is_wanted=lambda: next(answers))
    assert found.session is session
    assert "nobody wants to know" in found.reason
    assert len(colored) == 2 * (1 + precision.ROUNDS)  # Of two photographs.


def test_a_gpu_stays_in_float32(session: Session, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "__init__", lambda self, *_, **__: vars(self).update(vars(session.runtime)))
    monkeypatch.setattr(session.runtime, "provider", CUDA)
    assert "GPU" in find_faster(session).reason
    with pytest.raises(PrecisionError, match="PHOTOCHROM_DEVICE=cpu"):
        open_session(model_path, device="auto", threads=1, precision="bfloat16")


def test_what_is_asked_for_and_colors_otherwise_is_refused(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    offer(monkeypatch, 3)
    with pytest.raises(PrecisionError, match=r"PHOTOCHROM_PRECISION=bfloat16.*where 0\.15 is the most"):
        open_session(model_path, device="cpu", threads=1, precision="bfloat16")
    # Slower is not refused, and said.
    offer(monkeypatch, 0.01, time=1.5)
    assert open_session(model_path, device="cpu", threads=1, precision="bfloat16").precision == "bfloat16"
    assert "1.50 of the time of float32" in caplog.text


def test_float32_and_auto_open_what_the_file_holds(model_path: Path) -> None:
    for chosen in ("auto", "float32"):
        opened = open_session(model_path, device="cpu", threads=1, precision=chosen)
        assert (opened.precision, opened.provider, opened.threads) == ("float32", CPU, 1)
        assert re.fullmatch(r"onnxruntime \d+\.\d+\.\d+", opened.runtime.name)


def test_int8_is_the_file_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = onnx_factory.write_model(tmp_path / "model.onnx")
    with pytest.raises(PrecisionError, match=r"model\.int8\.onnx.*photochrom-export --precision int8"):
        open_session(plain, device="cpu", threads=1, precision="int8")
    other = as_int8(onnx_factory.write_model(tmp_path / "model.int8.onnx", run_id="another"))
    with pytest.raises(PrecisionError, match="int8 of another, not int8 of tiny-0001"):
        open_session(plain, device="cpu", threads=1, precision="int8")
    as_int8(onnx_factory.write_model(other))
    assert open_session(plain, device="cpu", threads=1, precision="int8").precision == "int8"
    # As the model itself: it is what it is, and nothing can be asked of it that it does not hold.
    monkeypatch.setattr(precision, "processor_features", lambda: frozenset({"avx512_vnni"}))
    assert open_session(other, device="cpu", threads=1, precision="auto").precision == "int8"
    assert "overflow" not in caplog.text
    monkeypatch.setattr(precision, "processor_features", lambda: frozenset({"avx2"}))
    open_session(other, device="cpu", threads=1, precision="auto")
    assert "may overflow on a processor without VNNI" in caplog.text
    assert find_faster(Session(other, device="cpu", threads=1)).reason == "its file holds that"
    for chosen in ("float32", "bfloat16"):
        with pytest.raises(PrecisionError, match="holds the network in int8"):
            open_session(other, device="cpu", threads=1, precision=chosen)


def test_openvino_gets_the_network_alone(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []
    session = Session(model_path, device="cpu", threads=1)

    def load(model: bytes, *, threads: int) -> Moved:
        assert threads == 1
        given.append(model)
        return Moved(session, 0.0)

    monkeypatch.setattr(precision, "OpenVinoRuntime", load)
    open_session(model_path, device="cpu", threads=1, precision="bfloat16")
    [graph] = [onnx.load_from_string(model).graph for model in given]
    assert {output.name for output in graph.output} == set(HEADS)
    assert [value.name for value in graph.input] == [LIGHTNESS]
    assert not any(constant.name.startswith(onnx_factory.DECODE_PREFIX) for constant in graph.initializer)


def test_bfloat16_without_openvino_says_what_to_install(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_runtime, "find_spec", lambda _: None)
    with pytest.raises(PrecisionError, match=r"PHOTOCHROM_PRECISION=bfloat16, but .*requirements/openvino\.txt"):
        open_session(model_path, device="cpu", threads=1, precision="bfloat16")


def test_a_file_that_was_replaced_is_not_taken_for_the_one_in_use(
    tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    shutil.copyfile(model_path, path)
    loaded = Session(path, device="cpu", threads=1)
    path.write_bytes(path.read_bytes() + b"\0")
    monkeypatch.setattr(precision, "processor_features", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setattr(precision, "is_installed", lambda: True)
    assert "has changed meanwhile" in find_faster(loaded).reason


@needs_bfloat16
def test_openvino_refuses_what_is_no_model() -> None:
    with pytest.raises(PrecisionError, match="OpenVINO cannot load the model"):
        OpenVinoRuntime(b"no model", threads=1)


@pytest.fixture(scope="module")
def pair() -> tuple[Session, Session]:
    """The shipped model in float32 and in bfloat16."""
    reference = Session(shipped_model(), device="cpu", threads=1)
    return reference, open_session(shipped_model(), device="cpu", threads=1, precision="bfloat16")


@needs_bfloat16
def test_openvino_gives_every_head_in_the_shape_of_the_reference(pair: tuple[Session, Session]) -> None:
    queries = [Query(lightness(64, 96, seed), HEADS) for seed in (0, 1)]
    expected, found = (session.run(queries) for session in pair)
    for ours, theirs in zip(found, expected, strict=True):
        assert {name: (head.shape, head.dtype) for name, head in ours.items()} == {
            name: (head.shape, head.dtype) for name, head in theirs.items()
        }
        # Noise, of which a network says little: it is the same little.
        assert 0 < np.abs(ours[AB] - theirs[AB]).mean() < 1


@needs_bfloat16
def test_openvino_answers_a_question_in_one_way_whatever_came_before(pair: tuple[Session, Session]) -> None:
    session = pair[1]
    questions = [Query(lightness(height, width), HEADS) for height, width in ((64, 96), (96, 64), (64, 64))]
    first = [session.run([question])[0] for question in questions]
    kept = [{name: head.copy() for name, head in heads.items()} for heads in first]
    for question, heads in reversed(list(zip(questions, kept, strict=True))):
        again = session.run([question])[0]
        for name, head in heads.items():
            np.testing.assert_array_equal(again[name], head)
    # What was answered first has not been written over.
    for heads, copies in zip(first, kept, strict=True):
        for name, head in heads.items():
            np.testing.assert_array_equal(head, copies[name])


@needs_bfloat16
def test_threads_take_turns_at_openvino(pair: tuple[Session, Session]) -> None:
    session = pair[1]
    queries = [Query(lightness(64, 64, seed), (AB,)) for seed in range(8)]
    alone = [session.run([query])[0][AB] for query in queries]
    together: dict[int, np.ndarray] = {}

    def ask(index: int) -> None:
        together[index] = session.run([queries[index]])[0][AB]

    callers = [threading.Thread(target=ask, args=(index,)) for index in range(len(queries))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for index, expected in enumerate(alone):
        np.testing.assert_array_equal(together[index], expected)


@needs_bfloat16
def test_the_shipped_model_in_bfloat16_is_within_what_is_promised(pair: tuple[Session, Session]) -> None:
    assert check(*pair).delta_e <= MOST_DELTA_E["bfloat16"]
    assert issubclass(PrecisionError, StartupError)


@needs_bfloat16
def test_a_large_picture_is_answered_and_its_memory_given_back(pair: tuple[Session, Session]) -> None:
    small = Query(lightness(64, 64), (AB,))
    before = pair[1].run([small])[0][AB]
    large = pair[1].run([Query(lightness(512, 512), (AB,))])[0][AB]
    assert large.shape == (128, 128, 2)
    assert np.isfinite(large).all()
    np.testing.assert_array_equal(pair[1].run([small])[0][AB], before)


@needs_bfloat16
def test_openvino_does_not_keep_something_of_every_shape(pair: tuple[Session, Session]) -> None:
    def ask(shapes: list[tuple[int, int]]) -> int:
        for height, width in shapes:
            pair[1].run([Query(lightness(height, width), (AB,))])
        told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if "kB" in line)
        return int(told["VmRSS"].split()[0]) // 1024

    shapes = [(height, width) for height in range(64, 385, 32) for width in range(64, 385, 32)]
    np.random.default_rng(0).shuffle(shapes)
    before = ask([(384, 384), *shapes[:24]])
    assert ask(shapes[24:84]) < before + 100


@needs_openvino
def test_openvino_sends_nothing_to_its_makers(tmp_path: Path) -> None:
    """It would do so in a process of its own, whenever it is imported, and keep a number for it at home."""
    program = """
import multiprocessing.process, sys
def refuse(self): raise SystemExit("a process was started")
multiprocessing.process.BaseProcess.start = refuse
from service.engine.openvino_runtime import TELEMETRY, import_openvino
import_openvino().Core()
sys.exit(f"{TELEMETRY} was loaded" if TELEMETRY in sys.modules else 0)
"""
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())
