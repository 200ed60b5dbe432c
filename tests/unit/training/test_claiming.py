import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.pictures import write_shards
from training import CheckpointError, DataError, RecipeError, RunFolderError
from training.config import Recipe
from training.data.photographs import PhotographSet, open_photographs
from training.recipes import load_recipe
from training.run import run_folder
from training.run.claiming import claim, load_or_count_prior, note_photographs, note_refused

pytestmark = pytest.mark.training

RECIPE = load_recipe("tiny")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> PhotographSet:
    return open_photographs(write_shards(tmp_path_factory.mktemp("data"), train=4, val=2))


def test_a_folder_belongs_to_its_first_recipe(tmp_path: Path) -> None:
    digest = claim(tmp_path, RECIPE)
    assert digest == RECIPE.digest()
    assert Recipe.from_json((tmp_path / run_folder.RECIPE).read_text()) == RECIPE
    assert claim(tmp_path, RECIPE) == digest
    with pytest.raises(RecipeError, match="holds a run of another recipe"):
        claim(tmp_path, replace(RECIPE, seed=5))


def test_an_option_that_came_later_does_not_part_a_run_from_its_checkpoints(tmp_path: Path) -> None:
    fields = json.loads(RECIPE.to_json())
    del fields["evaluate_every"]
    (tmp_path / run_folder.RECIPE).write_text(json.dumps(fields))
    digest = claim(tmp_path, RECIPE)
    assert digest != RECIPE.digest()
    assert claim(tmp_path, RECIPE) == digest


@pytest.mark.parametrize("text", ["", "{", '{"name": "tiny"}', "\x00\x01", "[]"])
def test_a_broken_recipe_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / run_folder.RECIPE).write_text(text)
    with pytest.raises(RecipeError, match=r"recipe\.json is broken .*: remove it"):
        claim(tmp_path, RECIPE)


def test_a_folder_belongs_to_its_first_photographs(tmp_path: Path, photographs: PhotographSet) -> None:
    note_photographs(tmp_path, photographs)
    note_photographs(tmp_path, photographs)
    facts = json.loads((tmp_path / run_folder.PHOTOGRAPHS).read_text())
    (tmp_path / run_folder.PHOTOGRAPHS).write_text(json.dumps(facts | {"train": 5}))
    with pytest.raises(DataError, match=r"other photographs \(train differ\)"):
        note_photographs(tmp_path, photographs)


@pytest.mark.parametrize("text", ["", '{"train": 4', "[1]"])
def test_broken_notes_say_what_to_do(tmp_path: Path, photographs: PhotographSet, text: str) -> None:
    for name in (run_folder.PHOTOGRAPHS, run_folder.REFUSED):
        (tmp_path / name).write_text(text)
    with pytest.raises(RunFolderError, match=r"photographs\.json is broken .*: remove it, and it is made again"):
        note_photographs(tmp_path, photographs)
    with pytest.raises(RunFolderError, match=r"refused\.json is broken .*: remove it, and it is made again"):
        note_refused(tmp_path, {})


def test_refused_photographs_add_up_over_starts(tmp_path: Path) -> None:
    note_refused(tmp_path, {"b": "too small"})
    note_refused(tmp_path, {"a": "not a picture"})
    assert json.loads((tmp_path / run_folder.REFUSED).read_text()) == {"a": "not a picture", "b": "too small"}


def test_a_prior_is_counted_once(tmp_path: Path, photographs: PhotographSet) -> None:
    prior = load_or_count_prior(tmp_path, photographs, RECIPE, workers=1)
    assert prior.sum() == pytest.approx(1)
    np.save(tmp_path / run_folder.PRIOR, prior[::-1])
    assert (load_or_count_prior(tmp_path, photographs, RECIPE, workers=1) == prior[::-1]).all()
    (tmp_path / run_folder.PRIOR).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="remove it, and it is counted again"):
        load_or_count_prior(tmp_path, photographs, RECIPE, workers=1)
