"""The registry of recipes."""

from collections.abc import Callable

from idgan.errors import IdganError, InvalidInputError, UnknownModelError
from idgan.recipes.recipe import Recipe
from idgan.registry import Registry, import_object

__all__ = ["RECIPES", "recipe_of", "register_recipe"]

RECIPES: Registry[Callable[[], Recipe]] = Registry("recipe", UnknownModelError)
"""Name -> function without arguments that returns the `Recipe`. The package's names are those of the manifest."""

register_recipe = RECIPES.register


def recipe_of(name: str) -> Recipe:
    """The `Recipe` called `name`.

    Args:
        name: a registered name, or "module:name" of a `Recipe` or of a function without arguments that returns one. The
            module is imported, so such a text must come from the user and never from a file.

    Raises:
        UnknownModelError: no recipe has that name. The message lists the known names.
        InvalidInputError: "module:name" cannot be imported or is no recipe.
    """
    if name in RECIPES or ":" not in name:
        return RECIPES[name]()
    found = import_object(name)
    try:
        recipe = found() if callable(found) else found
    except IdganError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise InvalidInputError(f"{name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(recipe, Recipe):
        raise InvalidInputError(
            f"{name!r} must be a Recipe or a function without arguments that returns one, got {type(recipe).__name__}"
        )
    return recipe
