"""One function a checkpoint, returning its frozen `Recipe`; a variant is its parent, replaced."""

from idgan.errors import UnknownModelError
from idgan.recipes.methods import METHODS, apply_method, method_of
from idgan.recipes.natural import cars_64, celeba_64, celeba_64_w16, celeba_128, celeba_256, celebahq_1024, chairs_64
from idgan.recipes.recipe import Adam, Recipe, RMSprop, Stage, defaults, describe, override
from idgan.recipes.synthetic import color_dsprites, dsprites, noisy_dsprites, scream_dsprites

__all__ = [
    "METHODS",
    "RECIPES",
    "Adam",
    "RMSprop",
    "Recipe",
    "Stage",
    "apply_method",
    "defaults",
    "describe",
    "method_of",
    "override",
    "recipe_of",
]

SYNTHETIC = (dsprites, color_dsprites, noisy_dsprites, scream_dsprites)
NATURAL = (celeba_64, celeba_64_w16, celeba_128, celeba_256, celebahq_1024, chairs_64, cars_64)
RECIPES = {recipe.__name__.replace("_", "-"): recipe for recipe in SYNTHETIC + NATURAL}
"""Name -> function that returns the recipe. The names are those of the manifest and, with underscores, of hubconf.py."""


def recipe_of(name):
    """The `Recipe` called `name`.

    Raises:
        UnknownModelError: there is none; the message lists those that there are.
    """
    if name not in RECIPES:
        raise UnknownModelError(f"no recipe is called {name!r}; the recipes are {', '.join(sorted(RECIPES))}")
    return RECIPES[name]()
