"""The list of recipes: nothing in it is made up."""

import json

import pytest

from training import RecipeError, recipes
from training.catalog import Entry, catalog, catalog_json, catalog_table
from training.recipes import NOT_TRAINED, RecipeInfo, load_about, recipe_names

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
