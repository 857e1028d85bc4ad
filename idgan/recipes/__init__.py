"""Recipes: one function for each checkpoint, which returns its frozen `Recipe`.

Methods derive other recipes from them.
"""

from idgan.recipes.methods import METHODS, apply_method, method_of, register_method
from idgan.recipes.natural import (
    cars_64,
    cars_64_w32,
    celeba_64,
    celeba_64_w16,
    celeba_64_w32,
    celeba_128,
    celeba_128_w16,
    celeba_256,
    celebahq_1024,
    chairs_64,
)
from idgan.recipes.recipe import Adam, Recipe, RMSprop, Stage
from idgan.recipes.registry import RECIPES, recipe_of, register_recipe
from idgan.recipes.settings import dataset_label, defaults, describe, override
from idgan.recipes.synthetic import color_dsprites, dsprites, noisy_dsprites, scream_dsprites

__all__ = [
    "METHODS",
    "RECIPES",
    "Adam",
    "RMSprop",
    "Recipe",
    "Stage",
    "apply_method",
    "cars_64",
    "cars_64_w32",
    "celeba_64",
    "celeba_64_w16",
    "celeba_64_w32",
    "celeba_128",
    "celeba_128_w16",
    "celeba_256",
    "celebahq_1024",
    "chairs_64",
    "color_dsprites",
    "dataset_label",
    "defaults",
    "describe",
    "dsprites",
    "method_of",
    "noisy_dsprites",
    "override",
    "recipe_of",
    "register_method",
    "register_recipe",
    "scream_dsprites",
]
