"""Whole runs of small recipes, in this process: what lies in the run folder, and what stops a run."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from chroma import signature
from tests.unit.training.pictures import encode, landscape, write_shards
from training import CheckpointError, DataError, NonFiniteLossError, RecipeError, RunFolderError
from training.cli import TrainingDisplay
from training.config import DataConfig, ModelConfig, OptimizerConfig, Recipe
from training.network.averaging import averaged_weights
from training.network.losses import compile_model
from training.network.model import build_model
from training.network.optimization import build_optimizer
from training.run import run_folder
from training.run.checkpoint import load_checkpoint, weights_digest
from training.run.locking import LOCK, only_process
from training.run.preview import ACROSS, COLUMNS, TITLE_PX
from training.run.status import read_status
from training.run.train import Progress, RunOptions, train

pytestmark = pytest.mark.training

RECIPE = Recipe(
    name="small",
    epochs=2,
    batch_size=4,
    size=64,
    data=DataConfig(crop_px=64, scenes="scene", validation_pictures=6),
    model=ModelConfig(
        encoder="unet",
        pretrained=False,
        unet_channels=(4, 8, 8, 8),
        decoder_channels=(8, 8),
        head_channels=8,
        regression_channels=4,
        global_features=4,
    ),
    optimizer=OptimizerConfig(learning_rate=3e-3, ema=0.9),
)
"""A U-Net of four levels; it learns nothing, but quickly."""
STEPS = 6
"""Two epochs of 12 photographs, 4 a step."""


class Finished:
    """A finished run and everything it told."""

    def __init__(self, folder: Path) -> None:
        self.data = write_shards(folder / "data", train=12, val=7, broken=("train003", "val002"))
        self.options = RunOptions(self.data, folder / "run")
        self.progress: list[Progress] = []
        self.rows: list[dict[str, Any]] = []
        self.folder = train(RECIPE, self.options, watch=self.progress.append, report=self.rows.append)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("finished"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_file_of_the_run_folder_is_there(finished: Finished) -> None:
    expected = {
        run_folder.RECIPE,
        run_folder.PHOTOGRAPHS,
        run_folder.PRIOR,
        run_folder.LAST,
        run_folder.BEST,
        run_folder.METRICS,
        run_folder.REFUSED,
        run_folder.PREVIEWS,
    }
    expected |= {run_folder.STEPS, run_folder.PLOTS, run_folder.TENSORBOARD, run_folder.STATUS, run_folder.PAGE, LOCK}
    expected |= {"checkpoint.npz", "checkpoint.previous.npz"}
    assert {path.name for path in finished.folder.iterdir()} == expected
    assert {path.name for path in (finished.folder / run_folder.PLOTS).iterdir()} == {
        "scores.svg",
        "losses.svg",
        "pace.svg",
    }
    assert len(list((finished.folder / run_folder.TENSORBOARD).iterdir())) == 1


def test_the_steps_are_written_down_as_means(finished: Finished) -> None:
    rows = read_lines(finished.folder / run_folder.STEPS)
    assert [(row["step"], row["steps"]) for row in rows] == [(3, 3), (6, 3)]
    for row, part in zip(rows, (finished.progress[:3], finished.progress[3:]), strict=True):
        for name in ("ab_logits_loss", "ab_loss", "scene_logits_loss", "loss"):
            assert row[name] == pytest.approx(np.mean([told.losses[name] for told in part]), rel=1e-4)
        assert row["learning_rate"] == pytest.approx(part[-1].learning_rate, rel=1e-4)
        assert row["images_per_s"] > 0
    rates = [told.learning_rate for told in finished.progress]
    assert rates[0] < rates[1] > rates[2] > rates[3] > rates[4] > rates[5] > 0


def test_the_status_and_the_page_say_how_it_ended(finished: Finished) -> None:
    status = read_status(finished.folder)
    assert (status.state, status.reason, status.step, status.steps) == ("finished", "", STEPS, STEPS)
    assert status.images_per_s > 0
    assert keras.backend.backend() in status.machine["engine"]
    page = (finished.folder / run_folder.PAGE).read_text()
    for shown in ("finished", "train003", "previews/step0000006.png", "plots/losses.svg", "smallest_crop"):
        assert shown in page, shown
    assert 'http-equiv="refresh"' not in page


def test_progress_counts_steps_epochs_and_losses(finished: Finished) -> None:
    assert [told.step for told in finished.progress] == list(range(1, STEPS + 1))
    assert [told.epoch for told in finished.progress] == [1, 1, 1, 2, 2, 2]
    assert {told.steps for told in finished.progress} == {STEPS}
    assert finished.progress[-1].left_s == 0
    assert all(told.images_per_s > 0 for told in finished.progress)
    for told in finished.progress:
        assert set(told.losses) == {"ab_logits_loss", "ab_loss", "scene_logits_loss", "loss"}
        weighted = told.losses["ab_logits_loss"] + 5 * told.losses["ab_loss"] + 0.1 * told.losses["scene_logits_loss"]
        assert told.losses["loss"] == pytest.approx(weighted, rel=1e-4)


def test_the_losses_are_those_of_each_step_alone(finished: Finished) -> None:
    """Not running means: the first cross-entropy is that of a network that knows nothing, and no two are equal."""
    values = [told.losses["ab_logits_loss"] for told in finished.progress]
    assert values[0] == pytest.approx(np.log(313), abs=1.0)
    assert len(set(values)) == STEPS


def test_each_epoch_is_scored_once_beside_the_rows_that_learn_nothing(finished: Finished) -> None:
    rows = read_lines(finished.folder / run_folder.METRICS)
    assert rows == finished.rows
    assert [(row["epoch"], row["step"], row["images"]) for row in rows] == [(1, 3, 12), (2, 6, 24)]
    for row in rows:
        assert {"kl", "kl_prior", "top1", "top1_majority", "within20", "within20_gray", "rmse_gray", "ece"} <= set(row)
        assert all(row[name] is not None for name in row)
        assert 0 <= row["top1"] <= 1
    for name in ("kl_prior", "top1_majority", "within20_gray", "rmse_gray"):
        assert rows[0][name] == rows[1][name]  # validation is the same each time


def test_photographs_that_could_not_be_read_are_listed(finished: Finished) -> None:
    refused = json.loads((finished.folder / run_folder.REFUSED).read_text())
    assert refused == {"train003": "not a picture", "val002": "not a picture"}


def test_what_was_trained_on_is_written_down(finished: Finished) -> None:
    facts = json.loads((finished.folder / run_folder.PHOTOGRAPHS).read_text())
    assert facts["scenes"] == ["beach", "meadow"]
    assert (facts["train"], facts["val"]) == (12, 7)
    assert (facts["backend"], facts["keras"]) == (keras.backend.backend(), keras.__version__)
    prior = np.load(finished.folder / run_folder.PRIOR)
    assert prior.shape == (313,)
    assert prior.sum() == pytest.approx(1)


def test_the_preview_shows_each_way_to_decode(finished: Finished) -> None:
    previews = finished.folder / run_folder.PREVIEWS
    assert sorted(path.name for path in previews.iterdir()) == ["step0000003.png", "step0000006.png"]
    preview = cv2.imread(str(previews / "step0000006.png")).astype(int)
    lines = preview.reshape(2 * 6, TITLE_PX + 64, ACROSS, 64, 3)  # two a sample
    titles, pictures = lines[:, :TITLE_PX], lines[:, TITLE_PX:]
    assert titles.min() < 100 < titles.mean()
    shown = {name: pictures[place // ACROSS :: 2, :, place % ACROSS] for place, name in enumerate(COLUMNS)}
    assert np.ptp(shown["gray"], axis=-1).max() <= 2
    assert np.ptp(shown["truth"], axis=-1).mean() > 30
    for name in set(COLUMNS) - {"gray"}:
        # The regression has hardly begun.
        assert np.abs(shown[name] - shown["gray"]).mean() > (0.2 if name == "regression" else 1), name
    assert np.abs(shown["argmax"] - shown["annealed .38"]).mean() > 1
    assert np.abs(shown["regression"] - shown["annealed .38"]).mean() > 1


def test_the_kept_weights_are_the_moving_average(finished: Finished) -> None:
    model = build_model(RECIPE.model, scenes=2)
    compile_model(model, build_optimizer(RECIPE.optimizer), RECIPE.loss, np.full(313, 1 / 313))
    model.optimizer.build(model.trainable_variables)
    state = load_checkpoint(finished.folder, model, RECIPE.digest())
    assert state is not None
    assert state.step == STEPS
    assert state.best_kl == pytest.approx(min(row["kl"] for row in finished.rows), abs=1e-5)
    last = run_folder.open_run(finished.folder).load_model(run_folder.LAST)
    assert weights_digest(model) != weights_digest(last)
    with averaged_weights(model):
        assert weights_digest(model) == weights_digest(last)


def test_a_run_folder_opens_again(finished: Finished) -> None:
    opened = run_folder.open_run(finished.folder)
    assert (opened.recipe, opened.scenes, opened.run_id) == (RECIPE, ("beach", "meadow"), "run")
    assert_array_equal(opened.prior, np.load(finished.folder / run_folder.PRIOR))
    assert opened.evaluation() == {}
    better = min(finished.rows, key=lambda row: row["kl"])["epoch"]
    same = weights_digest(opened.load_model(run_folder.BEST)) == weights_digest(opened.load_model(run_folder.LAST))
    assert same == (better == 2)
    with pytest.raises(CheckpointError, match="has not finished an epoch"):
        opened.load_model("other.weights.h5")


def test_the_same_command_again_changes_nothing(finished: Finished) -> None:
    before = {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()}
    told: list[Progress] = []
    train(RECIPE, finished.options, watch=told.append)
    assert told == []
    assert {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()} == before


def test_another_recipe_or_other_photographs_are_refused(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="holds a run of another recipe"):
        train(replace(RECIPE, seed=1), finished.options)
    with pytest.raises(RecipeError, match="holds a run of another recipe"):
        train(RECIPE, replace(finished.options, epochs=9))
    fewer = write_shards(tmp_path, train=11, val=7)
    with pytest.raises(DataError, match="started with other photographs"):
        train(RECIPE, replace(finished.options, data=fewer))


def test_a_folder_that_another_process_holds_is_refused(finished: Finished) -> None:
    with only_process(finished.folder), pytest.raises(RunFolderError, match="in use by another process"):
        train(RECIPE, finished.options)


def test_a_broken_weights_file_is_a_checkpoint_error(finished: Finished) -> None:
    broken = finished.folder.parent / "broken.weights.h5"
    broken.write_bytes((finished.folder / run_folder.LAST).read_bytes()[:3000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        run_folder.open_run(finished.folder).load_model("../broken.weights.h5")
    with pytest.raises(CheckpointError, match="is not a run folder"):
        run_folder.open_run(finished.data)


def test_a_broken_prior_says_what_to_do(finished: Finished) -> None:
    path = finished.folder / run_folder.PRIOR
    whole = path.read_bytes()
    for broken in (whole[:40], b""):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"prior\.npy cannot be read .* remove it"):
            train(RECIPE, finished.options)
    path.unlink()
    train(RECIPE, finished.options)
    assert path.read_bytes() == whole


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_head(tmp_path: Path) -> None:
    data = write_shards(tmp_path / "data", train=12, val=2)
    recipe = replace(RECIPE, optimizer=OptimizerConfig(learning_rate=1e30, warmup=0.0))
    told: list[Progress] = []
    options = RunOptions(data, tmp_path / "run", checkpoint_every_steps=1)
    with pytest.raises(NonFiniteLossError, match=r"^(ab_logits_loss|ab_loss) is (nan|inf) at step \d"):
        train(recipe, options, watch=told.append)
    assert all(np.isfinite(list(progress.losses.values())).all() for progress in told)
    assert json.loads((tmp_path / "run" / run_folder.REFUSED).read_text()) == {}
    status = read_status(tmp_path / "run")
    assert status.state == "failed"
    assert re.match(r"NonFiniteLossError: (ab_logits_loss|ab_loss) is (nan|inf) at step \d", status.reason)
    assert "NonFiniteLossError" in (tmp_path / "run" / run_folder.PAGE).read_text()


def test_a_run_by_the_clock_stops_in_time_and_stays_stopped(tmp_path: Path) -> None:
    data = write_shards(tmp_path / "data", train=12, val=3)
    options = RunOptions(data, tmp_path / "run", minutes=1e-4, epochs=50)
    told: list[Progress] = []
    train(RECIPE, options, watch=told.append)
    assert len(told) == 1
    assert told[0].left_s == 0
    assert [row["step"] for row in read_lines(tmp_path / "run" / run_folder.METRICS)] == [1]
    assert (tmp_path / "run" / run_folder.BEST).exists()
    train(RECIPE, options, watch=told.append)
    assert len(told) == 1


def gray_validation(folder: Path) -> Path:
    """A plain folder whose validation pictures, as the hash has it, are all gray."""
    from training.data.photographs import open_photographs

    folder.mkdir()
    for seed in range(9):
        (folder / f"{seed}.jpg").write_bytes(encode(landscape(seed)))
    for photo in open_photographs(folder).split("val"):
        (photo.container / photo.member).write_bytes(encode(np.full((64, 64, 3), 120, np.uint8)))
    return folder


def test_a_validation_without_color_ends_with_weights_and_unknown_scores(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []

    def report(row: dict[str, Any]) -> None:
        TrainingDisplay().scores(row)
        rows.append(row)

    train(RECIPE, RunOptions(gray_validation(tmp_path / "data"), tmp_path / "run"), report=report)
    assert [(row["kl"], row["scene_top1"]) for row in rows] == [(None, None)] * 2
    opened = run_folder.open_run(tmp_path / "run")
    assert opened.scenes == ("unknown",)
    heads = opened.load_model(run_folder.BEST).predict_on_batch(np.full((1, 32, 32, 1), 50, np.float32))
    assert heads[signature.SCENE_LOGITS].shape == (1, 1)


def test_without_photographs_nothing_starts_and_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    no_validation = write_shards(tmp_path / "no_validation", train=2, val=0)
    for data, reason in (
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "empty", "no photographs in"),
        (no_validation, "no photographs in the val split"),
    ):
        with pytest.raises(DataError, match=reason):
            train(RECIPE, RunOptions(data, tmp_path / "run"))
        assert not (tmp_path / "run").exists()


def test_training_learns(tmp_path: Path) -> None:
    """Sky above, meadow below: a hundred steps are enough to see it."""
    data = write_shards(tmp_path / "data", train=16, val=2)
    every = replace(RECIPE.data, repeat=(("day", 50), ("night", 50)))
    recipe = replace(RECIPE, epochs=1, batch_size=8, data=every, optimizer=OptimizerConfig(learning_rate=1e-2, ema=0.9))
    told: list[Progress] = []
    train(recipe, RunOptions(data, tmp_path / "run"), watch=told.append)
    assert len(told) == 100

    def mean_loss(name: str, part: slice) -> float:
        return float(np.mean([progress.losses[name] for progress in told[part]]))

    assert mean_loss("ab_logits_loss", slice(-10, None)) < mean_loss("ab_logits_loss", slice(0, 5)) - 1.5
    assert mean_loss("ab_loss", slice(-10, None)) < 0.5 * mean_loss("ab_loss", slice(0, 5))
    assert mean_loss("scene_logits_loss", slice(-10, None)) < mean_loss("scene_logits_loss", slice(0, 5))


def test_a_run_starts_from_anothers_weights(finished: Finished, tmp_path: Path) -> None:
    still = replace(RECIPE, epochs=1, optimizer=OptimizerConfig(learning_rate=1e-12, ema=0.0, weight_decay=0.0))
    options = RunOptions(finished.data, tmp_path / "run", start_from=finished.folder)
    train(still, options)
    expected, got = (run_folder.open_run(folder).load_model() for folder in (finished.folder, tmp_path / "run"))
    for variable, other in zip(expected.trainable_variables, got.trainable_variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), other.numpy(), atol=1e-6, err_msg=variable.path)
    note = json.loads((tmp_path / "run" / run_folder.START).read_text())
    assert note["run"] == finished.folder.name
    assert len(note["sha256"]) == 64
    train(still, options)
    with pytest.raises(RecipeError, match="was started from the weights of run, with other weights than now"):
        train(still, replace(options, start_from=None))
    with pytest.raises(RecipeError, match="was started without --from"):
        train(RECIPE, replace(finished.options, start_from=tmp_path / "run"))


def test_a_start_that_does_not_fit_leaves_nothing_behind(finished: Finished, tmp_path: Path) -> None:
    options = RunOptions(finished.data, tmp_path / "run", start_from=finished.folder)
    wider = replace(RECIPE, model=replace(RECIPE.model, head_channels=16))
    coarse = replace(RECIPE, data=replace(RECIPE.data, scenes="scene_coarse"))
    for recipe, changed, error, reason in (
        (wider, options, RecipeError, "has another network: its weights do not fit recipe 'small'"),
        (coarse, options, RecipeError, "knows other scenes"),
        (RECIPE, replace(options, start_from=tmp_path / "nowhere"), CheckpointError, "is not a run folder"),
    ):
        with pytest.raises(error, match=reason):
            train(recipe, changed)
        assert not (tmp_path / "run").exists()
