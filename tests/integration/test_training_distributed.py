"""Two processes that share each batch reach the weights of one process with the whole batch."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.starter import Child, Starter
from tests.unit.training.pictures import write_shards
from training.run.history import read_rows

pytestmark = [pytest.mark.training, pytest.mark.jax]

TOLERANCE = 2e-5
"""Of a variable's largest value, after six steps; measured 2e-5 in one slot of the optimizer, 1e-6 in weights."""
FEW_STEPS = ("--set", "steps=6", "--set", "evaluate_every=3", "--set", "data.crop_px=32", "--no-tensorboard")
SMALL = ("--set", "model.unet_channels=[4,8,8]", "--set", "model.decoder_channels=[8]", "--set", "data.scenes=scene")


Start = Callable[..., Child]


@pytest.fixture(scope="module")
def start(starter: Callable[[str], Starter]) -> Start:
    """Starts the command."""

    def with_devices(data: Path, folder: Path, *more: str, devices: int = 1) -> Child:
        flags = {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"}
        command = ["run", "tiny", "--data", data, "--run", folder, *FEW_STEPS, *SMALL, *more]
        return starter("jax").module("training.cli", *command, environment=flags)

    return with_devices


def together(start: Start, data: Path, folder: Path, *more: str) -> list[Child]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared = ("--processes", "2", "--coordinator", f"127.0.0.1:{port}", *more)
    return [start(data, folder, *shared, "--process-index", index) for index in ("0", "1")]


def assert_same_run(one: Path, other: Path) -> None:
    with np.load(one / "checkpoint.npz") as expected, np.load(other / "checkpoint.npz") as got:
        assert got.files == expected.files
        assert json.loads(bytes(got["state"]))["step"] == 6
        for name in set(expected.files) - {"state"}:
            a, b = expected[name], got[name]
            assert np.abs(a.astype(float) - b).max(initial=0) <= TOLERANCE * max(np.abs(a).max(initial=0), 1e-3), name
    for a, b in zip(read_rows(one / "metrics.jsonl"), read_rows(other / "metrics.jsonl"), strict=True):
        for name in ("step", "images", "kl", "rmse_regression", "scene_top1"):
            assert b[name] == pytest.approx(a[name], rel=1e-4), name


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Gray pictures among them, so that the processes' batches have different numbers of colored pixels, and unknown
    # scenes: a mean of the processes' means would not be the mean.
    return write_shards(
        tmp_path_factory.mktemp("distributed") / "data", train=24, val=5, broken=("train001", "train005")
    )


@pytest.fixture(scope="module")
def alone(data: Path, start: Start) -> Path:
    folder = data.parent / "alone"
    start(data, folder).finish()
    return folder


def test_two_processes_reach_the_weights_of_one(data: Path, alone: Path, start: Start) -> None:
    folder = data.parent / "together"
    told = [process.finish() for process in together(start, data, folder)]
    for index, text in enumerate(told):
        assert f"process {index} of 2, 2 devices together" in text
    assert_same_run(alone, folder)
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["processes"]) == ("finished", 2)


def test_two_processes_go_on_where_one_stopped(data: Path, alone: Path, start: Start) -> None:
    folder = Path(shutil.copytree(alone, data.parent / "resumed"))
    (folder / "checkpoint.npz").unlink()  # leaves that of step 3
    assert all("going on at step 3" in process.finish() for process in together(start, data, folder))
    assert_same_run(alone, folder)


def test_two_devices_of_one_process_do_too(data: Path, alone: Path, start: Start) -> None:
    folder = data.parent / "devices"
    assert "process 0 of 1, 2 devices together" in start(data, folder, "--distribute", devices=2).finish()
    assert_same_run(alone, folder)


def test_when_the_first_process_cannot_start_the_others_end_too(data: Path, start: Start, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{")
    first, second = together(start, data, tmp_path)
    assert first.wait() == second.wait() == 1
    reasons = [process.stderr.splitlines()[-1] for process in (first, second)]
    assert reasons[0].startswith("RecipeError")
    assert "recipe.json is broken" in reasons[0]
    assert reasons[1].startswith("DistributionError: process 0 stopped before the first step")
