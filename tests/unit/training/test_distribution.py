from pathlib import Path

import keras
import numpy as np
import pytest

from tests.unit.training.pictures import write_shards
from training import DistributionError, RecipeError
from training.data.batches import BatchMaker
from training.data.photographs import open_photographs
from training.recipes import load_recipe
from training.run.distribution import Cluster, Team, join, one_device
from training.run.train import RunOptions, train

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("processes", "index", "coordinator", "reason"),
    [
        (0, 0, None, "process-index"),
        (2, 2, "host:1", r"--process-index must be in \[0, 1\] for --processes 2"),
        (2, -1, "host:1", "--process-index must be"),
        (1, 1, None, r"must be in \[0, 0\]"),
        (2, 0, None, "need --coordinator HOST:PORT"),
        (2, 0, "host", "need --coordinator HOST:PORT"),
        (2, 0, ":99", "need --coordinator HOST:PORT"),
        (2, 0, "host:port", "need --coordinator HOST:PORT"),
    ],
)
def test_options_that_do_not_fit_are_refused(processes: int, index: int, coordinator: str | None, reason: str) -> None:
    with pytest.raises(DistributionError, match=reason):
        Cluster(processes, index, coordinator)


def test_good_options_are_taken() -> None:
    assert Cluster().processes == 1
    assert Cluster(3, 2, "[::1]:9876").index == 2


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX can")
def test_another_backend_is_refused_before_anything_is_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(DistributionError, match="several devices need KERAS_BACKEND=jax, it is"):
        join(Cluster(), batch_size=4)
    options = RunOptions(tmp_path / "nowhere", tmp_path / "run", cluster=Cluster())
    with pytest.raises(DistributionError, match="KERAS_BACKEND=jax"):
        train(load_recipe("tiny"), options)
    assert list(tmp_path.iterdir()) == []


def test_a_distributed_run_does_not_go_by_the_clock(tmp_path: Path) -> None:
    options = RunOptions(tmp_path, tmp_path / "run", minutes=1.0, cluster=Cluster())
    with pytest.raises(RecipeError, match="leave --minutes out"):
        train(load_recipe("tiny"), options)


def test_the_shares_of_a_batch_make_up_the_batch(tmp_path: Path) -> None:
    photographs = open_photographs(write_shards(tmp_path, train=10, val=1))
    chosen = photographs.split("train")

    def maker(index: int, parts: int) -> BatchMaker:
        config = load_recipe("tiny").data
        return BatchMaker(photographs, chosen, config, batch_size=4, seed=3, share=(index, parts))

    whole, parts = maker(0, 1), [maker(index, 2) for index in range(2)]
    assert all(part.steps_per_epoch == whole.steps_per_epoch == 2 for part in parts)
    for step in (0, 1, 5):
        expected, got = whole.batch(step), [part.batch(step) for part in parts]
        assert sum((part.keys for part in got), ()) == expected.keys
        assert [len(part.keys) for part in got] == [2, 2]
        np.testing.assert_array_equal(np.concatenate([part.lightness for part in got]), expected.lightness)
        np.testing.assert_array_equal(np.concatenate([part.ab for part in got]), expected.ab)


def test_a_single_process_gives_arrays_to_itself_and_lets_errors_through() -> None:
    team = Team(1, 0, 2)
    made = team.from_first(lambda: {"a": np.arange(3.0)})
    assert made["a"].dtype == np.float64
    with pytest.raises(ZeroDivisionError):
        team.from_first(lambda: {"a": np.array(1 // 0)})


def test_one_device_puts_back_what_was_there() -> None:
    before = keras.distribution.distribution()
    with pytest.raises(KeyError), one_device():
        raise KeyError
    assert keras.distribution.distribution() is before
