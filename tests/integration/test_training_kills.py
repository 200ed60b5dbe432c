"""kill -9 at any moment, twenty times: the run goes on each time, and ends as one that nobody touched.

The commands are the real ones. They run in children of a process that has imported the frameworks already, because a
start from nothing takes longer than all that is killed here. Half of the children kill themselves at a random moment of
writing (just before or a little after a file of the run folder is opened, renamed or removed), half are killed from
outside, at random moments of the start and of the steps.
"""

import importlib.util
import json
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.starter import Child, Starter
from tests.unit.training.pictures import write_shards
from training.run import run_folder
from training.run.checkpoint import CURRENT, PREVIOUS
from training.run.history import read_rows
from training.run.plots import PLOTS
from training.run.status import read_status
from training.whole_files import PARTIAL

pytestmark = pytest.mark.training

KILLS = 20
STEPS = 48
BACKEND = "torch" if importlib.util.find_spec("torch") else "jax"
"""Without tracing and compiling a start is quick; where torch is not installed, it has to be with it."""
RECIPE = (
    *("--checkpoint-every", "1", "--set", f"steps={STEPS}", "--set", "evaluate_every=8", "--set", "data.crop_px=32"),
    *("--set", "model.unet_channels=[4,8,8]", "--set", "model.decoder_channels=[8]"),
)

CHILD = """
import json, os, signal, sys, threading, time

import training.cli

def hold_after(folder, saves, killed_from_outside):
    seen = 0
    def watch(event, args):
        nonlocal seen
        if event != "os.rename" or not str(args[0]).startswith(folder + "/partial.checkpoint"):
            return
        seen += 1
        while seen > saves:
            if not killed_from_outside:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()
    sys.addaudithook(watch)

def kill_at(folder, events, part, number, delay_s):
    seen = 0
    def watch(event, args):
        nonlocal seen
        if event not in events or not str(args[0]).startswith(folder) or part not in str(args[0]):
            return
        if event == "open" and args[1] == "rb":
            return
        seen += 1
        if seen == number:
            if delay_s == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            def kill():
                time.sleep(delay_s)
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Thread(target=kill, daemon=True).start()
    sys.addaudithook(watch)

order = json.loads(sys.argv[1])
if order["most_saves"] is not None:
    hold_after(order["folder"], order["most_saves"], not order["kill_at"])
if order["kill_at"]:
    kill_at(order["folder"], *order["kill_at"])
sys.argv = ["photochrom-train", *order["command"]]
training.cli.main()
"""


Moment = tuple[list[str], str, int, float]
"""Audit events, part of the file's name, how many of them to let pass, seconds to wait then."""


def moment_of_writing(number: int, rng: random.Random) -> Moment:
    """Choose when a child kills itself: with a file whole but not renamed, inside a checkpoint, or anywhere."""
    if number % 3 == 0:
        return ["os.rename"], PARTIAL, rng.randrange(1, 25), 0.0
    if number % 3 == 1:
        return ["open"], CURRENT, rng.randrange(1, 5), rng.uniform(0, 0.03)
    return ["open", "os.rename", "os.remove"], "", rng.randrange(1, 45), rng.choice((0.0, rng.uniform(0, 0.02)))


def start(
    starter: Starter, folder: Path, data: Path, *, kill_at: Moment | None = None, most_saves: int | None = None
) -> Child:
    """Start a run; one past `most_saves` checkpoints waits for its kill, or kills itself."""
    command = ["run", "tiny", "--data", str(data), "--run", str(folder), *RECIPE]
    order = {"command": command, "folder": str(folder), "kill_at": kill_at, "most_saves": most_saves}
    return starter.code(CHILD, json.dumps(order))


def step_of(path: Path) -> int:
    """Return the step of a checkpoint, which must be whole; 0 if there is none."""
    if not path.exists():
        return 0
    with np.load(path) as file:
        for name in file.files:
            assert file[name] is not None
        return int(json.loads(bytes(file["state"]))["step"])


def saves_to_allow(stood_at: int, kills_left: int) -> int:
    """Return after how many checkpoints a child has to be killed, so that on no machine the run ends before its kills.

    A child may take twice its share of what is left, and leaves one step to each that comes after it.
    """
    left = STEPS - 1 - stood_at
    return min(2 * -(-left // kills_left), left - kills_left + 1)


def kill_from_outside(pid: int, folder: Path, rng: random.Random, most_saves: int) -> None:
    """Kill in the start, or some checkpoints later, in a step or in what is written then."""
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 1.0))
    else:
        path, changes = folder / CURRENT, min(rng.randrange(1, 4), most_saves)
        known = path.stat().st_mtime_ns if path.exists() else 0
        deadline = time.monotonic() + 120
        while changes and time.monotonic() < deadline:
            now = path.stat().st_mtime_ns if path.exists() else known
            changes, known = changes - (now != known), now
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
    os.kill(pid, signal.SIGKILL)


def weights_in(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: np.asarray(item)}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def scores_in(folder: Path) -> list[dict[str, Any]]:
    rows = read_rows(folder / run_folder.METRICS)
    return [{name: value for name, value in row.items() if name not in ("minutes", "evaluation_s")} for row in rows]


def losses_by_step(folder: Path) -> dict[int, list[float]]:
    """Return the losses of the rows by step; each row is one step here, there is a checkpoint after each."""
    rows = read_rows(folder / run_folder.STEPS)
    assert [row["steps"] for row in rows] == [1] * len(rows)
    return {row["step"]: [row[name] for name in sorted(row) if name.endswith("loss")] for row in rows}


def test_twenty_kills_change_nothing(starter: Callable[[str], Starter], tmp_path: Path) -> None:
    start_run = partial(start, starter(BACKEND))
    data = write_shards(tmp_path / "data", train=48, val=8)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start_run(whole, data).finish()

    rng = random.Random(20)
    inside = 0
    for number in range(KILLS):
        stood_at = step_of(cut / CURRENT) or step_of(cut / PREVIOUS)
        by_itself = number % 2 == 0
        moment = moment_of_writing(number // 2, rng) if by_itself else None
        most_saves = saves_to_allow(stood_at, KILLS - number)
        child = start_run(cut, data, kill_at=moment, most_saves=most_saves)
        if not by_itself:
            kill_from_outside(child.pid, cut, rng, most_saves)
        told, said = child.wait(), child.stdout + child.stderr
        assert told == -signal.SIGKILL, f"kill {number}: {told} {said}"
        assert "Error" not in said, said
        assert " is broken" not in said, said
        assert ("going on" not in said) or f"going on at step {stood_at}\n" in said, said
        inside += any(cut.rglob(f"{PARTIAL}*"))
        assert (step_of(cut / CURRENT) or step_of(cut / PREVIOUS)) >= stood_at
    assert inside >= 4, "hardly any kill hit a file in the making"
    stopped_at = step_of(cut / CURRENT) or step_of(cut / PREVIOUS)
    assert 0 < stopped_at < STEPS
    assert read_status(cut).state == "running"
    last = start_run(cut, data)
    assert f"going on at step {stopped_at}\n" in last.finish() + last.stdout

    with np.load(whole / CURRENT) as expected, np.load(cut / CURRENT) as got:
        for name in set(expected.files) - {"state"}:  # which holds the time spent
            assert_array_equal(got[name], expected[name], err_msg=name)
    assert step_of(cut / CURRENT) == step_of(whole / CURRENT) == STEPS
    for name in (run_folder.LAST, run_folder.BEST):
        expected_weights, got_weights = weights_in(whole / name), weights_in(cut / name)
        assert list(got_weights) == list(expected_weights)
        for path, value in expected_weights.items():
            assert_array_equal(got_weights[path], value, err_msg=f"{name} {path}")
    assert scores_in(cut) == scores_in(whole)
    assert losses_by_step(cut) == losses_by_step(whole)
    assert list(losses_by_step(cut)) == list(range(1, STEPS + 1))
    previews = [path.name for path in sorted((whole / run_folder.PREVIEWS).iterdir())]
    assert [path.name for path in sorted((cut / run_folder.PREVIEWS).iterdir())] == previews
    for name in previews:
        assert (cut / run_folder.PREVIEWS / name).read_bytes() == (whole / run_folder.PREVIEWS / name).read_bytes()
    assert {path.name for path in (cut / run_folder.PLOTS).iterdir()} == {plot.file for plot in PLOTS}
    assert read_status(cut).state == "finished"
    assert not list(cut.rglob(f"{PARTIAL}*"))
