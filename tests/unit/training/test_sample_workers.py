"""Samples made by processes are the samples; and no process outlives whoever started it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.coco_tree import make_coco_stuff
from tests.unit.training.pictures import write_shards
from training import DataError
from training.config import DataConfig
from training.data.batches import BatchMaker, stream
from training.data.photographs import PhotographSet, open_photographs
from training.data.sample_workers import SampleWorkers

ROOT = Path(__file__).parents[3]
CONFIG = DataConfig(crop_px=64, noise=3.0, hue_jitter=20.0, scene_top_k=2)


@pytest.fixture(scope="module")
def workers() -> Iterator[SampleWorkers]:
    made = SampleWorkers()
    made.grow(2)
    yield made
    made.close()


def maker_of(photographs: PhotographSet, classes: int = 0, seed: int | None = 1) -> BatchMaker:
    chosen = photographs.split("train")
    return BatchMaker(photographs, chosen, CONFIG, batch_size=4, seed=seed, segmentation_classes=classes)


@pytest.mark.parametrize("classes", [0, 182])
@pytest.mark.parametrize("seed", [5, None])
def test_a_process_makes_the_very_samples(
    workers: SampleWorkers, tmp_path: Path, classes: int, seed: int | None
) -> None:
    photographs = open_photographs(make_coco_stuff(tmp_path))
    own, other = maker_of(photographs, classes, seed), maker_of(photographs, classes, seed)
    for step in range(4):
        one, two = own.batch(step), other.batch(step, workers)
        assert one.keys == two.keys
        assert set(one.targets()) == set(two.targets())
        assert_array_equal(one.lightness, two.lightness)
        for name, target in one.targets().items():
            assert_array_equal(target, two.targets()[name])
            assert two.targets()[name].dtype == np.float32


def test_what_a_process_cannot_read_is_refused_here(workers: SampleWorkers, tmp_path: Path) -> None:
    photographs = open_photographs(write_shards(tmp_path, train=8, val=1, broken=("train003",)))
    maker = maker_of(photographs)
    batches = [maker.batch(step, workers) for step in range(2)]
    assert maker.refused == {"train003": "not a picture"}
    weights = {key: ab[0, 0, 2] for batch in batches for key, ab in zip(batch.keys, batch.ab, strict=True)}
    assert {key for key, weight in weights.items() if weight == 0} == {"train003"}


def test_a_long_stream_uses_processes_and_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs = open_photographs(write_shards(tmp_path, train=12, val=1))
    expected = list(stream(maker_of(photographs), 2, 8, workers=2))
    made: list[object] = []
    real = SampleWorkers.make
    monkeypatch.setattr(SampleWorkers, "make", lambda self, task: made.append(task) or real(self, task))
    monkeypatch.setattr("training.data.batches.WORTH_PROCESSES", 1)
    got = list(stream(maker_of(photographs), 2, 8, workers=2))
    assert len(made) == 6
    for one, two in zip(expected, got, strict=True):
        assert one.keys == two.keys
        assert_array_equal(one.lightness, two.lightness)
        assert_array_equal(one.ab, two.ab)
        assert_array_equal(one.scene, two.scene)


def test_an_error_of_a_worker_is_raised_here(workers: SampleWorkers) -> None:
    for _ in range(4):
        with pytest.raises(AttributeError, match="'str' object has no attribute 'folder'"):
            workers.make("no task")


def test_a_worker_that_dies_is_told_and_replaced(tmp_path: Path) -> None:
    photographs = open_photographs(write_shards(tmp_path, train=8, val=1))
    workers = SampleWorkers()
    workers.grow(1)
    try:
        expected = maker_of(photographs).batch(0, workers)
        (only,) = workers._all
        os.kill(only.pid, signal.SIGKILL)
        with pytest.raises(DataError, match="a process that reads photographs died"):
            maker_of(photographs).batch(0, workers)
        again = maker_of(photographs).batch(0, workers)
        assert_array_equal(again.lightness, expected.lightness)
        assert {worker.pid for worker in workers._all} != {only.pid}
    finally:
        workers.close()


def test_more_threads_than_workers_take_turns(workers: SampleWorkers, tmp_path: Path) -> None:
    photographs = open_photographs(write_shards(tmp_path, train=12, val=1))
    expected = [maker_of(photographs).batch(step) for step in range(12)]
    maker, got = maker_of(photographs), {}

    def make(step: int) -> None:
        got[step] = maker.batch(step, workers)

    threads = [threading.Thread(target=make, args=(step,)) for step in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for step, batch in enumerate(expected):
        assert_array_equal(got[step].lightness, batch.lightness)


PROGRAM = """
import sys, time
from training.data.sample_workers import shared_workers
workers = shared_workers(2)
print(*(worker.pid for worker in workers._all), flush=True)
{then}
"""


@pytest.mark.parametrize("ends", ["by itself", "with an error", "killed"])
def test_no_worker_outlives_its_program(ends: str) -> None:
    """The pipe ends when the last process that holds it has ended: workers have it as their standard error."""
    then = {"by itself": "", "with an error": "raise SystemExit(3)", "killed": "time.sleep(60)"}[ends]
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(then=then)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert program.stdout
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert len(pids) == 2
    if ends == "killed":
        program.kill()
    rest, _ = program.communicate(timeout=60)
    assert rest == ""
    assert program.returncode == {"by itself": 0, "with an error": 3, "killed": -9}[ends]
    until = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/stat").exists() and is_running(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """A zombie, which waits for its new parent to take note, has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
