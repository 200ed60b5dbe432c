"""Named runs: one module a recipe, its docstring a promise of command, duration and scores.

A module defines ``RECIPE``, what to do, and ``ABOUT``, what a reader of the list of recipes wants to know.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from training import RecipeError
from training.config import Recipe

NOT_TRAINED: Final = "not trained yet"

COUNTED_SIDE_PX: Final = 256
"""Side of the picture that a network's operations are counted for; papers count at this size."""


@dataclass(frozen=True)
class RecipeInfo:
    """What a reader of the list of recipes wants to know.

    Attributes:
        what: the system, in a few words.
        parameters: number of weights of the network in training, with one scene, as `training.network.cost` counts; 0
            where nobody counted. Written down, so that a list of recipes need not build their networks; a test counts.
        gflops: floating-point operations for one picture of `COUNTED_SIDE_PX`, in billions, from there, too.
        speed: measured training speed and where; empty where nobody measured.
        scores: measured scores and after how long; empty where nobody trained it.
    """

    what: str
    parameters: int = 0
    gflops: float = 0.0
    speed: str = ""
    scores: str = ""


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        RecipeError: there is no such recipe, or its module does not define it.
    """
    recipe = _module(name).RECIPE
    if not isinstance(recipe, Recipe) or recipe.name != name:
        raise RecipeError(f"training/recipes/{name}.py must define RECIPE, named {name!r}")
    return recipe


def load_about(name: str) -> RecipeInfo:
    """Return what a recipe's module says about it.

    Raises:
        RecipeError: there is no such recipe, or its module says nothing.
    """
    about = getattr(_module(name), "ABOUT", None)
    if not isinstance(about, RecipeInfo):
        raise RecipeError(f"training/recipes/{name}.py must define ABOUT, a RecipeInfo")
    return about


def _module(name: str) -> ModuleType:
    if name not in recipe_names():
        raise RecipeError(f"no recipe {name!r}; there are: {', '.join(recipe_names())}")
    return importlib.import_module(f"training.recipes.{name}")
