"""One function a checkpoint, returning its frozen `Recipe`; a variant is its parent, replaced."""

from idgan.recipes.recipe import Adam, Recipe, RMSprop, Stage, describe, override
from idgan.recipes.synthetic import dsprites

__all__ = ["RECIPES", "Adam", "RMSprop", "Recipe", "Stage", "describe", "override"]

RECIPES = {recipe.__name__.replace("_", "-"): recipe for recipe in (dsprites,)}
"""Name -> function that returns the recipe. The names are those of the manifest and, with underscores, of hubconf.py."""
