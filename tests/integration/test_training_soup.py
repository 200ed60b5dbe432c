import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.synthetic_run import make_run
from tests.unit.training.pictures import write_shards
from training import RecipeError, RunFolderError
from training.network.model import build_model
from training.recipes import load_recipe
from training.run import run_folder
from training.run.soup import average, measure_normalization

pytestmark = pytest.mark.training

SCENES = ("beach", "meadow")
TINY = load_recipe("tiny")
RECIPE = replace(TINY, data=replace(TINY.data, scenes="scene"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    first, second = (make_run(root / name, seed=seed, scenes=SCENES, recipe=RECIPE) for seed, name in enumerate("ab"))
    (first / run_folder.BEST).rename(first / run_folder.LAST)
    return first, second, write_shards(root / "data", train=8, val=2)


def test_weights_are_averaged_and_statistics_measured(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, second, data = runs
    average(first, second, 0.25, data, tmp_path / "mean")
    made = run_folder.open_run(tmp_path / "mean").load_model()
    parts = [run_folder.open_run(first).load_model(run_folder.LAST), run_folder.open_run(second).load_model()]
    for got, ours, theirs in zip(*(model.trainable_variables for model in (made, *parts)), strict=True):
        np.testing.assert_allclose(got, 0.25 * ours.numpy() + 0.75 * theirs.numpy(), atol=1e-6, err_msg=got.path)
    mean, mixed = (model.get_layer("encoder_level1_a_norm").moving_mean.numpy() for model in (made, parts[0]))
    assert np.abs(mean - mixed).max() > 0.1
    note = json.loads((tmp_path / "mean" / run_folder.START).read_text())
    assert note == {"run": "a", "share": 0.25, "other": "b"}
    np.testing.assert_array_equal(run_folder.open_run(tmp_path / "mean").prior, run_folder.open_run(first).prior)


def test_measured_statistics_are_the_means_of_the_batches() -> None:
    model = build_model(RECIPE.model, scenes=2)
    rng = np.random.default_rng(2)
    batches = [rng.uniform(low, 100, (4, 64, 64, 1)).astype(np.float32) for low in (0, 50, 90)]
    norm = model.get_layer("encoder_level1_a_norm")
    momentum = norm.momentum
    measure_normalization(model, batches)
    before = keras.Model(model.input, norm.input)
    expected = np.mean([np.asarray(before(batch)).mean(axis=(0, 1, 2)) for batch in batches], axis=0)
    np.testing.assert_allclose(norm.moving_mean.numpy(), expected, atol=1e-4)
    assert norm.momentum == momentum


def test_a_share_out_of_range_and_a_folder_that_holds_something_are_refused(
    runs: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    first, second, data = runs
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(RecipeError, match="between 0 and 1"):
            average(first, second, share, data, tmp_path / "mean")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="is not empty"):
        average(first, second, 0.5, data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
