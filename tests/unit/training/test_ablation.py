"""The ablation's rows: from the original to ours, one group of options at a time."""

import dataclasses
import json

import pytest

from training import RecipeError
from training.config import Recipe
from training.judge.ablation import ORIGINAL, OURS, ROWS, SHARED, SMALL, ablation_recipes, table
from training.recipes import load_recipe

pytestmark = pytest.mark.training


def nameless(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, name="any")


def options_of(recipe: Recipe) -> dict[str, object]:
    fields = json.loads(recipe.to_json())
    return {
        f"{section}.{option}": value
        for section, part in fields.items()
        if isinstance(part, dict)
        for option, value in part.items()
    }


def test_the_first_row_is_the_original_and_the_last_is_ours() -> None:
    recipes = ablation_recipes()
    assert len(recipes) == len(ROWS)
    assert nameless(recipes[0]) == nameless(load_recipe(ORIGINAL).with_options(SHARED + SMALL))
    last, ours = recipes[-1], load_recipe(OURS).with_options(SHARED)
    assert options_of(last) == options_of(ours)


def test_each_row_changes_what_it_says_and_nothing_else() -> None:
    recipes = ablation_recipes()
    for before, after, row in zip(recipes[:-1], recipes[1:], ROWS[1:], strict=True):
        old, new = options_of(before), options_of(after)
        changed = {path for path in old if old[path] != new[path]}
        assert changed, row.name
        assert all(path in row.options or path.partition(".")[0] in row.options for path in changed), row.name


def test_rows_share_what_they_are_told_to_share() -> None:
    recipes = ablation_recipes(("steps=7", "data.crop_px=64"))
    assert {recipe.steps for recipe in recipes} == {7}
    assert {recipe.data.crop_px for recipe in recipes} == {64}
    with pytest.raises(RecipeError, match="options are"):
        ablation_recipes(("stepps=7",))


def test_the_table_has_a_line_a_row_and_the_decoders_of_the_last_network() -> None:
    validation = {"kl": 1.5, "top1": 0.33, "top1_majority": 0.31, "within20": 0.8}
    scores = {"psnr": 22.0, "colorfulness_ratio": 0.6, "false_red": 0.1, "worst_false_red": 2.0, "tvq": 0.7}
    ways = {name: scores for name in ("v0", "v1", "default", "original")}
    rows = [
        {"name": row.name, "change": row.change, "validation": validation, "top1_deviation": 0.001, "pictures": ways}
        for row in ROWS
    ]
    lines = table({"rows": rows}).splitlines()
    assert len(lines) == 2 + len(ROWS) + 3
    assert "| 1.500 | 0.330 (0.310) | 0.0010 | 0.800 | 22.00 | 0.60 | 0.10 | 2.0 | 0.70 |" in lines[-1]
