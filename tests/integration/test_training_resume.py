"""A run that is killed and started again ends with the very weights of a run that was not."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.starter import Child, Starter
from tests.unit.training.pictures import write_shards

pytestmark = pytest.mark.training

STEPS_PER_EPOCH = 30
BATCH = 4
"""Of recipe `tiny`."""
FLAT = ("--set", "model.unet_channels=[4,8,16,16]", "--set", "model.decoder_channels=[16,16]")
"""Four levels instead of six: each of the three starts traces them anew."""


def start(starter: Starter, data: Path, folder: Path, *more: str) -> Child:
    command = ["run", "tiny", "--data", data, "--run", folder, "--checkpoint-every", "3", *FLAT, *more]
    return starter.module("training.cli", *command)


def state_of(folder: Path) -> dict[str, Any]:
    with np.load(folder / "checkpoint.npz") as file:
        return dict(json.loads(bytes(file["state"])))


def kill_after_first_checkpoint(child: Child, folder: Path) -> None:
    deadline = time.monotonic() + 300
    while not (folder / "checkpoint.npz").exists():
        assert child.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline, "no checkpoint after five minutes"
        time.sleep(0.005)
    child.kill()


def assert_equal_checkpoints(one: Path, other: Path) -> None:
    with np.load(one) as a, np.load(other) as b:
        assert a.files == b.files
        for name in a.files:
            if name != "state":  # which holds the time spent
                assert_array_equal(a[name], b[name], err_msg=name)


def weights_in(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: np.asarray(item)}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def scores_in(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("minutes", "evaluation_s")} for row in rows]


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, starter: Callable[[str], Starter]
) -> None:
    data = write_shards(tmp_path / "data", train=STEPS_PER_EPOCH * BATCH, val=8)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    tensorflow = starter("tensorflow")
    told = start(tensorflow, data, whole).finish()
    kill_after_first_checkpoint(start(tensorflow, data, cut), cut)
    stopped_at = state_of(cut)["step"]
    assert 0 < stopped_at < STEPS_PER_EPOCH
    told_again = start(tensorflow, data, cut, "--workers", "1").finish()
    assert f"going on at step {stopped_at}" in told_again
    assert "going on" not in told

    assert state_of(cut)["step"] == state_of(whole)["step"] == 2 * STEPS_PER_EPOCH
    assert_equal_checkpoints(cut / "checkpoint.npz", whole / "checkpoint.npz")
    for name in ("last.weights.h5", "best.weights.h5"):
        expected, got = weights_in(whole / name), weights_in(cut / name)
        assert len(expected) > 50
        assert list(got) == list(expected)
        for path, value in expected.items():
            assert_array_equal(got[path], value, err_msg=f"{name} {path}")
    assert scores_in(cut) == scores_in(whole)
    assert [row["epoch"] for row in scores_in(cut)] == [1, 2]
    for preview in ("step0000030.png", "step0000060.png"):
        assert (cut / "previews" / preview).read_bytes() == (whole / "previews" / preview).read_bytes()
    assert [line for line in told.splitlines() if "weights" in line] == [
        line for line in told_again.splitlines() if "weights" in line
    ]


INTERRUPTED = """
import sys
from dataclasses import replace
from pathlib import Path
from training.config import ModelConfig
from training.recipes import load_recipe
from training.run.train import RunOptions, train

class Interrupted(BaseException):
    pass

def interrupt(progress):
    if progress.step == 8:
        raise Interrupted

small = ModelConfig(encoder="unet", pretrained=False, unet_channels=(4, 8, 8, 8), decoder_channels=(8, 8),
                    head_channels=8, regression_channels=4, global_features=8, dropout=0.4)
recipe = replace(load_recipe("tiny"), model=small)
data, whole, cut = (Path(name) for name in sys.argv[1:])
train(recipe, RunOptions(data, whole, checkpoint_every_steps=3))
try:
    train(recipe, RunOptions(data, cut, checkpoint_every_steps=3), watch=interrupt)
except Interrupted:
    print("interrupted")
train(recipe, RunOptions(data, cut, checkpoint_every_steps=3, workers=1))
"""
"""Six steps an epoch, two epochs; stopped after step 8, going on from the checkpoint at 6."""


@pytest.mark.parametrize(
    "backend",
    [pytest.param("torch", marks=pytest.mark.torch), pytest.param("jax", marks=pytest.mark.jax)],
)
def test_an_interrupted_run_goes_on_exactly_on_the_other_backends(
    backend: str, tmp_path: Path, starter: Callable[[str], Starter]
) -> None:
    data = write_shards(tmp_path / "data", train=6 * BATCH, val=5)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    child = starter(backend).code(INTERRUPTED, data, whole, cut)
    child.finish()
    assert "interrupted" in child.stdout
    assert json.loads((whole / "photographs.json").read_text())["backend"] == backend
    assert state_of(cut)["step"] == state_of(whole)["step"] == 12
    assert_equal_checkpoints(cut / "checkpoint.npz", whole / "checkpoint.npz")
    assert scores_in(cut) == scores_in(whole)
    assert [row["epoch"] for row in scores_in(cut)] == [1, 2]
