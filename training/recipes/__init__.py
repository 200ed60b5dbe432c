"""Named runs: one module a recipe, its docstring a promise of command, duration and scores."""

import importlib
import pkgutil

from training import RecipeError
from training.config import Recipe


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        RecipeError: there is no such recipe.
    """
    if name not in recipe_names():
        raise RecipeError(f"no recipe {name!r}; there are: {', '.join(recipe_names())}")
    recipe = importlib.import_module(f"training.recipes.{name}").RECIPE
    if not isinstance(recipe, Recipe) or recipe.name != name:
        raise RecipeError(f"training/recipes/{name}.py must define RECIPE, named {name!r}")
    return recipe
