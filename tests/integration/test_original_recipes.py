"""The recipes of the original systems train, on every backend."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.coco_tree import SCENES, make_coco_stuff
from tests.original_recipes import NAMES, narrow, narrow_backbones, train_losses
from tests.starter import Starter
from training.recipes import load_recipe
from training.run import run_folder
from training.run.run_folder import open_run
from training.run.train import Progress, RunOptions, train

pytestmark = pytest.mark.training

STEPS = 5

# The first is the second without a head.
TRAIN = """
import json, sys
from tests.original_recipes import NAMES, narrow_backbones, train_losses

with narrow_backbones():
    print(json.dumps({name: train_losses(name, steps=int(sys.argv[1])) for name in NAMES[1:]}))
"""


def check(name: str, losses: dict[str, list[float]]) -> None:
    """Every loss is finite, and what the recipe minimizes falls."""
    assert set(losses) == {"loss", *(f"{head}_loss" for head in narrow(name).model.heads)}
    for head, values in losses.items():
        assert len(values) == STEPS
        assert np.isfinite(values).all(), f"{name}: {head} is {values}"
    assert losses["loss"][-1] < losses["loss"][0], f"{name}: {losses['loss']}"
    assert losses["ab_logits_loss"][-1] < losses["ab_logits_loss"][0], f"{name}: {losses['ab_logits_loss']}"
    if name == "zhang":
        # Its regression and scene heads have weight 0: nothing trains them, and the sum is the classification's.
        assert losses["loss"] == pytest.approx(losses["ab_logits_loss"], rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_of_the_original_trains(name: str) -> None:
    with narrow_backbones():
        losses = train_losses(name, steps=STEPS)
    check(name, losses)


@pytest.mark.parametrize(
    "backend", [pytest.param("torch", marks=pytest.mark.torch), pytest.param("jax", marks=pytest.mark.jax)]
)
def test_the_recipes_of_the_original_train_on_another_backend(backend: str, starter: Callable[[str], Starter]) -> None:
    child = starter(backend).code(TRAIN, STEPS)
    child.finish()
    trained = json.loads(child.stdout.splitlines()[-1])
    assert tuple(trained) == NAMES[1:]
    for name, losses in trained.items():
        check(name, losses)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_of_the_original_runs_on_a_miniature_coco_stuff(name: str, tmp_path: Path) -> None:
    """Photographs, label maps and scene probabilities in; a run folder that opens again out."""
    recipe = narrow(name)
    recipe = replace(
        recipe,
        epochs=1,
        batch_size=4,
        size=64,
        data=replace(recipe.data, crop_px=64, validation_pictures=4),
        model=replace(recipe.model, segmentation_classes=load_recipe(name).model.segmentation_classes),
    )
    steps: list[Progress] = []
    with narrow_backbones():
        folder = train(recipe, RunOptions(make_coco_stuff(tmp_path / "coco"), tmp_path / "run"), watch=steps.append)
        network = open_run(folder).load_model()
    assert len(steps) == 3
    for step in steps:
        assert set(step.losses) == {"loss", *(f"{head}_loss" for head in recipe.model.heads)}
        assert all(np.isfinite(value) for value in step.losses.values())
        # Scenes are known and labels are there, or the recipe would only seem to train.
        assert step.losses["scene_logits_loss"] > 0
        assert "segmentation_logits" not in recipe.model.heads or 0 < step.losses["segmentation_logits_loss"] <= 1
    assert set(network.output) == set(recipe.model.heads)
    assert network.output["scene_logits"].shape[-1] == len(SCENES)
    last = json.loads((folder / run_folder.METRICS).read_text().splitlines()[-1])
    assert last["kl"] > 0
    assert ("segmentation_dice" in last) == ("segmentation_logits" in recipe.model.heads)
