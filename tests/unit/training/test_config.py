import dataclasses
import json

import pytest

from training import RecipeError
from training.config import DataConfig, LossConfig, ModelConfig, OptimizerConfig, Recipe
from training.recipes import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_survives_json(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.digest() == recipe.digest()


def test_every_option_counts_in_the_digest() -> None:
    base = Recipe("a")
    changed = [
        dataclasses.replace(base, epochs=5),
        dataclasses.replace(base, seed=1),
        dataclasses.replace(base, data=DataConfig(offset=7.0)),
        dataclasses.replace(base, data=DataConfig(repeat=(("voc", 2),))),
        dataclasses.replace(base, model=ModelConfig(dropout=0.1)),
        dataclasses.replace(base, loss=LossConfig(rebalance=True)),
        dataclasses.replace(base, optimizer=OptimizerConfig(ema=0.9)),
    ]
    assert len({recipe.digest() for recipe in (base, *changed)}) == len(changed) + 1


WRONG = [
    lambda: Recipe("a", epochs=0),
    lambda: Recipe("a", batch_size=0),
    lambda: Recipe("a", size=100),
    lambda: DataConfig(crop_px=100),
    lambda: DataConfig(crop_px=0),
    lambda: DataConfig(crop_sides=(128, 100)),
    lambda: DataConfig(smallest_crop=0.0),
    lambda: DataConfig(crop_probability=1.5),
    lambda: DataConfig(contrast=1.0),
    lambda: DataConfig(offset=-1.0),
    lambda: DataConfig(noise=-1.0),
    lambda: DataConfig(blur_px=-1.0),
    lambda: DataConfig(gray_chroma=-1.0),
    lambda: DataConfig(repeat=(("voc", 2), ("coco", 0))),
    lambda: DataConfig(validation_pictures=0),
    lambda: DataConfig(prior_pictures=0),
    lambda: ModelConfig(decoder_channels=(8, 8)),
    lambda: ModelConfig(encoder="unet"),
    lambda: ModelConfig(encoder="unet", unet_channels=(8, 8), decoder_channels=()),
    lambda: ModelConfig(frozen_stages=-1),
    lambda: ModelConfig(dropout=1.0),
    lambda: LossConfig(neighbors=0),
    lambda: LossConfig(neighbors=314),
    lambda: LossConfig(sigma=0.0),
    lambda: LossConfig(ab=-1.0),
    lambda: LossConfig(label_smoothing=1.0),
    lambda: LossConfig(ties="ball_tree"),
    lambda: LossConfig(rebalance_lambda=1.1),
    lambda: LossConfig(rebalance_lambda=-0.1),
    lambda: LossConfig(rebalance_alpha=-1.0),
    lambda: OptimizerConfig(learning_rate=0.0),
    lambda: OptimizerConfig(clip_norm=0.0),
    lambda: OptimizerConfig(encoder_factor=-0.1),
    lambda: OptimizerConfig(weight_decay=-0.1),
    lambda: OptimizerConfig(beta_1=1.0),
    lambda: OptimizerConfig(beta_2=1.0),
    lambda: OptimizerConfig(warmup=1.0),
    lambda: OptimizerConfig(ema=1.0),
]


@pytest.mark.parametrize("place", range(len(WRONG)))
def test_options_that_make_no_sense_are_refused(place: int) -> None:
    with pytest.raises(RecipeError):
        WRONG[place]()


def test_broken_recipe_files_are_refused() -> None:
    text = Recipe("a").to_json()
    unknown = json.loads(text) | {"color": "red"}
    missing = {key: value for key, value in json.loads(text).items() if key != "loss"}
    for broken in ("", "[]", "{", text[:-20], json.dumps(unknown), json.dumps(missing)):
        with pytest.raises(RecipeError):
            Recipe.from_json(broken)


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'nothing'; there are: .*first_light.*tiny"):
        load_recipe("nothing")
    with pytest.raises(RecipeError):
        load_recipe("../config")


def test_the_default_recipe_does_not_rebalance() -> None:
    """Rebalancing in the loss is the red noise; it is corrected at decoding instead."""
    assert not load_recipe("first_light").loss.rebalance
    assert load_recipe("first_light").model == ModelConfig()


def test_options_are_set_one_by_one() -> None:
    base = load_recipe("tiny")
    changed = base.with_options(
        ["loss.rebalance=true", "optimizer.name=sgd", "epochs=7", "optimizer.clip_norm=null", "data.offset=3"]
    )
    assert (changed.loss.rebalance, changed.optimizer.name, changed.epochs) == (True, "sgd", 7)
    assert changed.optimizer.clip_norm is None
    assert changed.data == dataclasses.replace(base.data, offset=3)
    assert changed.model == base.model
    assert base.with_options(["model.decoder_channels=[8, 8, 8, 8]"]).model.decoder_channels == (8, 8, 8, 8)
    assert base.with_options(["evaluate_every=5"]).evaluate_every == 5
    assert base.with_options([]) == base


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("loss.rebalnce=true", "loss.rebalance"),
        ("loss=1", "loss.rebalance"),
        ("nowhere.rebalance=true", "loss.rebalance"),
        ("loss.rebalance", "loss.rebalance"),
        ("loss.rebalance=yes", "true or false"),
        ("epochs=many", "a whole number"),
        ("epochs=1.5", "a whole number"),
        ("data.offset=true", "a number"),
        ("model.decoder_channels=8", "a list"),
        ("evaluate_every=soon", "a number"),
        ("optimizer.name=adagrad", "adamw, adam, rmsprop, sgd"),
        ("loss.ties=kd_tree", "lowest_index, ball_tree"),
        ("data.crop_px=100", "a multiple of 32"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_right(assignment: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe("tiny").with_options([assignment])
