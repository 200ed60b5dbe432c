"""What a full disk, a broken file and a weight that is no number do to a run; on a network of three units."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.unit.training.test_checkpoint import built, step
from tests.unit.training.test_whole_files import files_up_to
from training import CheckpointError, NonFiniteLossError, RunFolderError
from training.config import Recipe
from training.network.averaging import averaged_weights, copy_averaged
from training.run import run_folder
from training.run.checkpoint import CURRENT, load_checkpoint, weights_digest
from training.run.history import read_rows
from training.run.journal import Journal, Progress
from training.run.keeping import Keeper, save_weights
from training.run.status import read_status
from training.whole_files import PARTIAL

pytestmark = pytest.mark.training

SCORES = {"kl": 1.5, "kl_prior": 1.9, "top1": float("nan")}


class Validator:
    """Scores a network without any photographs; by given KL, where there are some."""

    def __init__(self, *kl: float) -> None:
        self.kl = list(kl)

    def scores(self, _: keras.Model) -> dict[str, float]:
        return SCORES | ({"kl": self.kl.pop(0)} if self.kl else {})

    def preview(self, _: keras.Model) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)


def progress(number: int) -> Progress:
    return Progress(number, 9, 1, 30.0, 5.0, {"ab_loss": 1 / number}, 1e-3, 2.0)


class Kept:
    """A run of a tiny network that has got to step 3, with everything written."""

    def __init__(self, folder: Path, *validators: Any) -> None:
        self.validators = validators or (Validator(),)
        (folder / run_folder.RECIPE).write_text(Recipe(name="tiny").to_json())
        self.folder, self.model = folder, built()
        self.model.run_eagerly = True  # nothing to trace, much quicker
        self.journals: list[Journal] = []
        self.keeper = self.make_keeper(0)
        self.go_to(3)

    def make_keeper(self, start: int) -> Keeper:
        journal = Journal(self.folder, start=start)
        self.journals.append(journal)
        validator, *origin = self.validators
        return Keeper(
            self.folder, self.model, lambda: averaged_weights(self.model), validator, journal, np.inf, *origin
        )

    def go_to(self, number: int) -> None:
        step(self.model, number)
        self.keeper.journal.step(progress(number), seconds=0.1, images=4)
        self.keeper.evaluate({"epoch": 1, "step": number, "images": 4 * number, "minutes": 0.1})
        self.keeper.save(number, 1.0, "abc")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    for journal in made.journals:
        journal.end("stopped")


@contextmanager
def disk_full_at(victim: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the operating system refuse one file, by name, when it is to reach the disk."""
    fsync = os.fsync

    def refuse(number: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{number}")).name == f"{PARTIAL}{victim}":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        yield


@pytest.mark.parametrize(
    "victim",
    [
        "step0000006.png",
        run_folder.LAST,
        run_folder.BEST,
        run_folder.METRICS,
        run_folder.STATUS,
        run_folder.PAGE,
        CURRENT,
        "losses.svg",
    ],
)
def test_a_full_disk_at_any_file_is_an_error_and_the_same_again_mends_it(
    kept: Kept, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept.folder / run_folder.BEST).unlink()
    before = load_checkpoint(kept.folder, kept.model, "abc")
    digest = weights_digest(kept.model)
    kept.keeper.journal._drawn_at = -np.inf  # so that plots are due
    with disk_full_at(victim, monkeypatch), pytest.raises((RunFolderError, CheckpointError), match="No space left"):
        kept.go_to(6)
    kept.keeper.journal.end("failed", "RunFolderError: no space")
    assert not list(kept.folder.rglob(f"{PARTIAL}*"))
    assert before is not None
    assert load_checkpoint(kept.folder, kept.model, "abc") == before
    assert weights_digest(kept.model) == digest
    if victim not in (run_folder.STATUS, run_folder.PAGE):
        assert read_status(kept.folder).state == "failed"

    kept.keeper = kept.make_keeper(3)
    kept.go_to(6)
    assert [row["step"] for row in read_rows(kept.folder / run_folder.METRICS)] == [3, 6]
    assert [row["step"] for row in read_rows(kept.folder / run_folder.STEPS)] == [3, 6]


def test_a_full_disk_while_steps_are_noted_is_an_error(kept: Kept) -> None:
    kept.keeper.journal.step(progress(4), seconds=0.1, images=4)
    with (
        files_up_to((kept.folder / run_folder.STEPS).stat().st_size + 10),
        pytest.raises(RunFolderError, match="cannot write"),
    ):
        kept.keeper.save(4, 1.0, "abc")
    assert [row["step"] for row in read_rows(kept.folder / run_folder.STEPS)] == [3]  # half a line does not count


@pytest.mark.parametrize("size_bytes", [0, 1000, 20_000])
def test_weights_are_whole_or_the_old_ones(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "a.weights.h5"
    model = built()
    save_weights(model, path)
    old = path.read_bytes()
    with files_up_to(size_bytes), pytest.raises(RunFolderError, match=r"cannot write .*a\.weights\.h5"):
        save_weights(built(7), path)
    assert path.read_bytes() == old
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    save_weights(built(7), path)
    model.load_weights(path)
    assert weights_digest(model) == weights_digest(built(7))


def test_a_weight_that_is_no_number_stops_the_run_before_anything_is_kept(kept: Kept) -> None:
    files = (run_folder.LAST, run_folder.BEST, run_folder.METRICS, CURRENT)
    before = {name: (kept.folder / name).read_bytes() for name in files}
    kernel = kept.model.layers[0].kernel
    kernel.assign(np.full(kernel.shape, np.inf, np.float32))
    with pytest.raises(NonFiniteLossError, match=r"dense.*kernel is not finite at step 6"):
        kept.keeper.evaluate({"epoch": 1, "step": 6, "images": 24, "minutes": 0.1})
    assert {name: (kept.folder / name).read_bytes() for name in files} == before


def test_best_weights_are_those_of_the_lowest_kl_and_unknown_scores_are_null(kept: Kept) -> None:
    best = (kept.folder / run_folder.BEST).read_bytes()
    kept.go_to(6)  # as good, not better
    assert (kept.folder / run_folder.BEST).read_bytes() == best != (kept.folder / run_folder.LAST).read_bytes()
    row = read_rows(kept.folder / run_folder.METRICS)[-1]
    assert (row["kl"], row["top1"]) == (1.5, None)
    state = load_checkpoint(kept.folder, kept.model, "abc")
    assert state is not None
    assert state.best_kl == 1.5


def test_photographs_of_other_origin_decide_where_there_are_some(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Validator(1.5, 1.4, 1.3), Validator(1.8, 1.9, 1.7))
    try:
        first = (kept.folder / run_folder.BEST).read_bytes()
        kept.go_to(6)  # better at home alone
        assert (kept.folder / run_folder.BEST).read_bytes() == first
        kept.go_to(9)
        assert (kept.folder / run_folder.BEST).read_bytes() == (kept.folder / run_folder.LAST).read_bytes() != first
        rows = read_rows(kept.folder / run_folder.METRICS)
        assert [(row["kl"], row["origin_kl"]) for row in rows] == [(1.5, 1.8), (1.4, 1.9), (1.3, 1.7)]
        state = load_checkpoint(kept.folder, kept.model, "abc")
        assert state is not None
        assert state.best_kl == 1.7
    finally:
        kept.journals[0].end("stopped")


def test_the_journal_says_how_it_ended_and_writes_the_last_steps(kept: Kept) -> None:
    kept.keeper.journal.step(progress(4), seconds=0.1, images=4)
    kept.keeper.journal.end("stopped", "Interrupted.")
    assert (read_status(kept.folder).state, read_status(kept.folder).reason) == ("stopped", "Interrupted.")
    assert [row["step"] for row in read_rows(kept.folder / run_folder.STEPS)] == [3, 4]
    assert "Interrupted." in (kept.folder / run_folder.PAGE).read_text()


def test_a_file_of_rows_that_is_broken_stops_the_start(kept: Kept) -> None:
    (kept.folder / run_folder.METRICS).write_text('{"step": 1\n{"step": 3}\n')
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl is broken in line 1"):
        kept.make_keeper(3)


def test_a_twin_gets_the_averages_and_the_statistics() -> None:
    model, twin = built(), built(seed=5)
    for number in (1, 2, 3):
        step(model, number)
    copy_averaged(model, twin)
    with averaged_weights(model) as judged:
        statistics = [np.asarray(variable) for variable in judged.non_trainable_variables]
        assert weights_digest(twin) == weights_digest(judged)
    assert statistics
    assert json.dumps([value.tolist() for value in statistics]) == json.dumps(
        [np.asarray(variable).tolist() for variable in twin.non_trainable_variables]
    )


@pytest.mark.parametrize(
    ("step_number", "minutes", "said"),
    [
        (1, 1.0, "Only 1 step of 900 fit into 1 min, 40.0 s each: the network has learned next to nothing."),
        (49, 0.5, "Only 49 steps of 900 fit into 0.5 min, 0.8 s each"),
        (50, 1.0, ""),
        (1, None, ""),
    ],
)
def test_a_run_by_the_clock_that_took_few_steps_says_so(
    kept: Kept, step_number: int, minutes: float | None, said: str
) -> None:
    journal = kept.journals[0]
    told = Progress(step_number, 900, 1, 30.0, 5.0, {"ab_loss": 1.0}, 1e-3, 40.0)
    journal.step(told, seconds=40.0, images=4)
    assert journal.too_short(minutes).startswith(said)
    assert bool(journal.too_short(minutes)) == bool(said)
    journal.end("finished", journal.too_short(minutes))
    assert read_status(kept.folder).reason.startswith(said)
    assert said in (kept.folder / "index.html").read_text()


def test_a_run_that_is_short_by_itself_is_no_news(kept: Kept) -> None:
    kept.journals[0].step(progress(9), seconds=0.1, images=4)
    assert kept.journals[0].too_short(1.0) == ""
