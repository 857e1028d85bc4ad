"""The command line that repeats a run, as its checkpoint records it."""

import shlex
from pathlib import Path
from typing import Any

from idgan.data import DATASETS
from idgan.recipes import METHODS, RECIPES, Recipe, describe, method_of, recipe_of

__all__ = ["command_of", "derivation", "public_path"]


def derivation(recipe: Recipe, origin: str | None = None) -> tuple[str | None, dict[str, Any]]:
    """The method that leads from the recipe `origin` to `recipe`, and the settings that still differ.

    Args:
        origin: name or "module:name" of a recipe. None takes the registered recipe of that name.

    Returns:
        (name, dotted path -> value). The name is None if no method leads to `recipe`, or if there is no recipe to start
        from.
    """
    origin = origin or (recipe.name if recipe.name in RECIPES else None)
    if origin is None:
        return None, {}
    parent = recipe_of(origin)
    if found := method_of(recipe, parent):
        return found
    settings = describe(parent)
    return None, {path: value for path, value in describe(recipe).items() if settings.get(path) != value}


def command_of(recipe: Recipe, *, origin: str | None = None, vae: str | None = None, data: str | None = None) -> str:
    """The command that trains `recipe`. If no command can, a sentence that names the caller's code that was used.

    Absolute paths are private. Only their last component is kept.

    Args:
        origin: name or "module:name" of the recipe that `recipe` derives from, see `derivation`.
        vae: model or run that provides the VAE instead of stage 1.
        data: path of the images.
    """
    origin = origin or (recipe.name if recipe.name in RECIPES else None)
    method, changes = derivation(recipe, origin)
    if own := _own_code(recipe, origin, method, changes):
        return f"No command repeats this training. It used code of the caller: {', '.join(own)}."
    assert origin and method
    name = origin.rpartition(":")[2]
    modules = _foreign_modules(recipe, origin, method)
    words = ["idgan", *(f"--import {module}" for module in modules), "train", shlex.quote(origin)]
    words += [f"--out runs/{name}"] if method == "id-gan" else [f"--method {method}", f"--out runs/{name}-{method}"]
    given = {"vae": vae, "data": data}
    words += [f"--{option} {shlex.quote(public_path(path))}" for option, path in given.items() if path]
    return " ".join(words + [f"--set {shlex.quote(f'{path}={_public(value)}')}" for path, value in changes.items()])


def public_path(path: str) -> str:
    """`path` as it may be published: only its last component if it is absolute or begins with ~ or .. ."""
    private = Path(path).is_absolute() or path.startswith(("~", ".."))
    return (Path(path).name or "PATH") if private else path


def _public(value: Any) -> Any:
    return public_path(value) if isinstance(value, str) else value


def _own_code(recipe: Recipe, origin: str | None, method: str | None, changes: dict[str, Any]) -> list[str]:
    """The parts of a training that a command line cannot name, in words."""
    own = []
    if origin is None:
        own.append(f"the recipe {recipe.name!r}")
    elif method is None:
        parts = [f"{path.removesuffix('.type')} {value}" for path, value in changes.items() if path.endswith(".type")]
        own += parts or [f"a change of the recipe {origin!r}"]
    elif _module(_entry(origin)) == "__main__" or _module(METHODS[method]) == "__main__":
        own.append(f"a script that defines the recipe {origin!r} or the method {method!r}")
    if not isinstance(recipe.data, str) and (origin is None or "data" in changes or method is None):
        own.append(f"a {type(recipe.data).__name__} object as the data set")
    return own


def _foreign_modules(recipe: Recipe, origin: str, method: str) -> list[str]:
    """Modules outside the package that register what the command names. An `origin` "module:name" imports its own."""
    entries = [_entry(origin), METHODS[method]]
    if isinstance(recipe.data, str) and recipe.data in DATASETS:
        entries.append(DATASETS[recipe.data])
    known = ("", origin.partition(":")[0]) if ":" in origin else ("",)
    modules = dict.fromkeys(map(_module, entries))
    return [module for module in modules if module not in known and module.partition(".")[0] != "idgan"]


def _entry(origin: str) -> Any:
    """The registered function of the recipe `origin`. None for "module:name", which imports its module itself."""
    return RECIPES[origin] if origin in RECIPES else None  # noqa: SIM401 (get raises the error of the registry)


def _module(entry: Any) -> str:
    return getattr(getattr(entry, "func", entry), "__module__", "") if entry is not None else ""
