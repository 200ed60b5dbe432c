"""`photochrom colorize --cluster` on two nodes: one that dies takes nothing along; nobody gets in without a token."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import onnx_factory
from tests.pictures import by_pillow, smooth_gray
from tests.ray.nodes import COMMANDS, PATIENCE_S, ROOT, Nodes, running, until

PICTURES = 60
SIDE_PX = 1200
"""Large enough that the run still goes on when the node dies."""
WORKER = "ray::ColorizeActor"
"""Title of a worker's process."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with running() as started:
        started.add(cpus=1)
        yield started


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Different photographs, and one broken file."""
    into = tmp_path_factory.mktemp("pictures")
    gray = smooth_gray(SIDE_PX, SIDE_PX)
    for number in range(PICTURES):
        cv2.imwrite(str(into / f"{number:02}.jpg"), np.roll(gray, 19 * number, axis=1))
    (into / "broken.png").write_bytes(by_pillow(smooth_gray(300, 300), "PNG")[:2000])
    return into


@pytest.fixture(scope="module")
def right(folder: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The answers of the command line without a cluster."""
    out = tmp_path_factory.mktemp("right")
    assert colorize(folder, out, model, "--quiet").wait(PATIENCE_S) == 1
    answers = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(set(answers.values())) == PICTURES
    return answers


_runs: list["subprocess.Popen[str]"] = []


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    while _runs:
        run = _runs.pop()
        with run:
            run.kill()


def colorize(
    folder: Path, out: Path, model: Path, *options: str, environment: dict[str, str] | None = None
) -> "subprocess.Popen[str]":
    arguments = [COMMANDS / "photochrom", "colorize", folder, "--out", out, "--model", model, "--device", "cpu"]
    arguments += ["--format", "jpeg", *options]
    environment = environment or {**os.environ, "PHOTOCHROM_THREADS": "1"}
    pipe = subprocess.PIPE
    _runs.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True))
    return _runs[-1]


def answers_in(out: Path) -> dict[str, Path]:
    return {path.name: path for path in out.glob("*.jpg")} if out.exists() else {}


def test_a_node_that_dies_takes_nothing_along(
    nodes: Nodes, model: Path, folder: Path, right: dict[str, bytes], tmp_path: Path
) -> None:
    second = nodes.add(cpus=1)
    out = tmp_path / "out"
    run = colorize(folder, out, model, "--cluster", nodes.address, "--json", "--quiet", environment=nodes.environment)
    # Both nodes are at work, and some answers are there.
    until(lambda: run.poll() is not None or (second.processes(WORKER) and len(answers_in(out)) > 10), "a first part")
    assert nodes.nodes[0].processes(WORKER)
    second.kill()
    early = {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in answers_in(out).items()}
    assert run.poll() is None
    assert len(early) < PICTURES, "it was done before the node died"

    told, complaints = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1, complaints  # One is broken.
    lines = [json.loads(line) for line in told.splitlines()]
    assert lines.pop()["summary"] == {"colored": PICTURES, "skipped": 0, "failed": 1, "left": 0}
    assert sorted(Path(line["source"]).name for line in lines) == sorted(path.name for path in folder.iterdir())
    assert [Path(line["source"]).name for line in lines if line["status"] == "failed"] == ["broken.png"]
    assert sorted(os.listdir(out)) == sorted(right)
    assert {name: path.read_bytes() for name, path in answers_in(out).items()} == right
    again = {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in answers_in(out).items()}
    assert {name: again[name] for name in early} == early, "what was there was written again"


def test_workers_that_had_nothing_to_do_when_their_node_died_cost_nothing(
    nodes: Nodes, model: Path, tmp_path: Path
) -> None:
    """Nobody hears of them: a picture that is taken away from one dead worker must not be given to three others."""
    folder, out, pictures = tmp_path / "few", tmp_path / "out", 30
    folder.mkdir()
    for number in range(pictures):
        cv2.imwrite(str(folder / f"{number}.jpg"), np.roll(smooth_gray(3000, 4000), 19 * number, axis=1))
    second = nodes.add(cpus=4)
    run = colorize(folder, out, model, "--cluster", nodes.address, "--quiet", environment=nodes.environment)
    until(lambda: run.poll() is not None or len(answers_in(out)) >= pictures - 3, "the last pictures")
    assert len(second.processes(WORKER)) > 3, "as many as may be lost over one picture"
    second.kill()
    assert run.poll() is None, "it was done before the node died"
    told, complaints = run.communicate(timeout=PATIENCE_S)
    assert f"{pictures} colored, 0 already there, 0 failed" in told, complaints


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_whole_files_and_goes_on(
    nodes: Nodes, model: Path, folder: Path, right: dict[str, bytes], tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "out"
    first = colorize(folder, out, model, "--cluster", nodes.address, environment=nodes.environment)
    until(lambda: first.poll() is not None or len(answers_in(out)) > 5, "a first part")
    first.send_signal(number)
    _, complaints = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == code, complaints
    assert "photochrom: interrupted;" in complaints
    done = sorted(os.listdir(out))
    assert 5 < len(done) < PICTURES
    assert {name: (out / name).read_bytes() for name in done} == {name: right[name] for name in done}
    until(lambda: not nodes.nodes[0].processes(WORKER), "the workers end")

    second = colorize(folder, out, model, "--cluster", nodes.address, "--quiet", environment=nodes.environment)
    told, complaints = second.communicate(timeout=PATIENCE_S)
    assert f"{PICTURES - len(done)} colored, {len(done)} already there, 1 failed" in told, complaints
    assert {name: path.read_bytes() for name, path in answers_in(out).items()} == right


def test_a_killed_worker_is_replaced(
    nodes: Nodes, model: Path, folder: Path, right: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = colorize(folder, out, model, "--cluster", nodes.address, "--quiet", environment=nodes.environment)
    until(lambda: run.poll() is not None or len(answers_in(out)) > 5, "a first part")
    (worker,) = nodes.nodes[0].processes(WORKER)
    os.kill(worker, signal.SIGKILL)
    told, complaints = run.communicate(timeout=PATIENCE_S)
    assert f"{PICTURES} colored, 0 already there, 1 failed" in told, complaints
    assert {name: path.read_bytes() for name, path in answers_in(out).items()} == right


def test_nobody_gets_in_without_the_token(nodes: Nodes, model: Path, folder: Path, tmp_path: Path) -> None:
    stranger = {**nodes.environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
    del stranger["RAY_AUTH_TOKEN_PATH"]
    run = colorize(folder, tmp_path / "out", model, "--cluster", nodes.address, environment=stranger)
    started = time.monotonic()
    _, complaints = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert f"photochrom: the cluster at {nodes.address} does not take us" in complaints.splitlines()[-1]
    assert "RAY_AUTH_TOKEN_PATH" in complaints.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert time.monotonic() - started < PATIENCE_S


def test_nobody_there_is_one_line(model: Path, folder: Path, tmp_path: Path) -> None:
    run = colorize(folder, tmp_path / "out", model, "--cluster", "127.0.0.1:1")
    _, complaints = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert complaints.splitlines() == [
        "photochrom: nobody answers at 127.0.0.1:1 (Connection refused): is the cluster up, and the address right?"
    ]
