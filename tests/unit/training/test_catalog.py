"""The list of recipes: nothing in it is made up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from training import RecipeError, recipes
from training.catalog import Entry, catalog, catalog_json, catalog_table
from training.network.cost import network_cost
from training.recipes import NOT_TRAINED, RecipeInfo, load_about, load_recipe, recipe_names

pytestmark = pytest.mark.training

ENTRIES = (
    Entry("fresh", "a network nobody trained", 34_740_000, 82.94, "", ""),
    Entry("known", "a trained one", 1_250_000, 0.25, "27 images/s", "KL 1.453 nats"),
)


def test_the_table_says_what_was_measured_and_what_was_not() -> None:
    lines = catalog_table(ENTRIES, width=200).splitlines()
    fresh, known = (next(line for line in lines if line.startswith(name)) for name in ("fresh", "known"))
    for part in ("a network nobody trained", "34.74 M", "82.9", "not measured", NOT_TRAINED):
        assert part in fresh
    for part in ("1.25 M", "0.2", "27 images/s", "KL 1.453 nats"):
        assert part in known


def test_in_json_what_nobody_measured_is_null() -> None:
    rows = json.loads(catalog_json(ENTRIES))
    assert list(rows) == ["fresh", "known"]
    assert rows["fresh"] == {
        "what": "a network nobody trained",
        "parameters": 34_740_000,
        "gflops": 82.94,
        "speed": None,
        "scores": None,
    }


@pytest.mark.parametrize("name", recipe_names())
def test_what_a_recipe_says_its_network_costs_is_what_is_counted_on_it(name: str) -> None:
    about, cost = load_about(name), network_cost(load_recipe(name).model)
    assert (about.parameters, about.gflops) == (cost.parameters, round(cost.gflops, 2))


def test_the_list_needs_no_framework() -> None:
    """In a process of its own: TensorFlow takes many seconds to load, and talks."""
    command = [sys.executable, "-X", "importtime", "-m", "training.cli", "list", "--json"]
    result = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert tuple(json.loads(result.stdout)) == recipe_names()
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "training.catalog" in imported
    assert not imported & {"keras", "tensorflow", "jax", "torch", "h5py", "matplotlib"}
    assert all(line.startswith("import time:") for line in result.stderr.splitlines())


def test_a_cost_that_nobody_counted_is_not_made_up() -> None:
    entry = Entry("mine", "somebody's own", 0, 0.0, "", "")
    assert "not counted" in catalog_table((entry,), width=200)
    assert json.loads(catalog_json((entry,)))["mine"]["parameters"] is None


def test_every_recipe_is_listed_with_the_cost_of_its_network() -> None:
    entries = {entry.name: entry for entry in catalog()}
    assert tuple(entries) == recipe_names()
    assert all(entry.what and entry.parameters > 0 and entry.gflops > 0 for entry in entries.values())
    # A wider decoder, within what a default may cost; a head of 182 classes on 256 channels more.
    assert entries["first_light"].gflops < entries["default"].gflops < 12
    assert entries["default"].parameters < 15e6
    more = entries["seg_scene_context_unet"].parameters - entries["scene_context_unet"].parameters
    assert more == 182 * (256 + 1)


def test_scores_name_their_measurement_or_are_empty() -> None:
    """The recipes that take a GPU and days have no scores until somebody has run them."""
    assert load_about("zhang").scores == load_about("mleu").scores == ""
    assert "KL 1.453" in load_about("first_light").scores


def test_a_recipe_that_says_nothing_about_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("training.recipes.tiny.ABOUT")
    with pytest.raises(RecipeError, match=r"tiny\.py must define ABOUT"):
        load_about("tiny")
    monkeypatch.setattr("training.recipes.tiny.ABOUT", RecipeInfo("x"), raising=False)
    assert recipes.load_about("tiny").what == "x"
