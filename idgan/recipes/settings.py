"""The settings of a recipe as a flat dict, and how they are changed."""

import ast
import contextlib
import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from idgan.data import DATASETS, Dataset, content_key
from idgan.errors import InvalidInputError
from idgan.networks import NETWORKS
from idgan.objectives import OBJECTIVES
from idgan.recipes.recipe import Recipe
from idgan.record import current_setting
from idgan.registry import Registry

__all__ = ["dataset_label", "defaults", "describe", "override"]


def describe(recipe: Any, prefix: str = "") -> dict[str, Any]:
    """A recipe, or a part of one, as a flat dict: dotted path -> plain value.

    The path `PART.type` has the registered name of a part's class, or the class name if it is not registered. A data
    set object is described by its name and its content (see `dataset_label`).
    """
    children = _children(recipe)
    if children is None:
        return {prefix: dataset_label(recipe) if _is_dataset(recipe) else recipe}
    if dataclasses.is_dataclass(recipe):
        children = {"type": _type_name(recipe)} | children
    parts = (describe(child, f"{prefix}.{name}" if prefix else name) for name, child in children.items())
    return {path: leaf for part in parts for path, leaf in part.items()}


def dataset_label(dataset: Dataset) -> str:
    """Registered name or class name of a data set object, and the first digits of its content key."""
    kind = type(dataset)
    name = DATASETS.name_of(kind) if isinstance(DATASETS, Registry) else None
    return f"{name or kind.__name__} {content_key(dataset)[:16]}"


def defaults(recipe: Any, prefix: str = "") -> dict[str, Any]:
    """The default value of each setting that has a plain one: dotted path -> value.

    A run of an older version lacks the settings that did not exist yet. It behaves as with their defaults.
    """
    found = {}
    if dataclasses.is_dataclass(recipe):
        plain = {
            item.name: item.default for item in dataclasses.fields(recipe) if item.default is not dataclasses.MISSING
        }
        found = {f"{prefix}{name}": value for name, value in plain.items() if _children(value) is None}
    for name, child in (_children(recipe) or {}).items():
        found |= defaults(child, f"{prefix}{name}.")
    return found


def override(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """A copy of `recipe` with changed settings.

    The order of the settings does not matter. A part of the recipe is checked when it has all of its settings.

    Args:
        settings: dotted path -> value, such as {"gan_stage.objective.id_weight": 1e-4}. Text is read as a Python
            literal. A value must have the type of the value it replaces. An integer is accepted for a float.

    Raises:
        InvalidInputError: the recipe has no such path, two paths name one setting, or the value has another type or is
            out of range.
    """
    paths: dict[str, str] = {}
    for path in settings:
        if (other := paths.setdefault(current_setting(path), path)) != path:
            raise InvalidInputError(f"{other} and {path} are two names of one setting; give one of them")
    return _with_settings(
        recipe, [_Setting(current_setting(path).split("."), value, path) for path, value in settings.items()]
    )


@dataclasses.dataclass(frozen=True)
class _Setting:
    """A `value` for the path `names` below some part of a recipe. `path` is what the caller wrote."""

    names: list[str]
    value: Any
    path: str

    def below(self) -> "_Setting":
        return dataclasses.replace(self, names=self.names[1:])


def _type_name(part: Any) -> str:
    kind = type(part)
    return NETWORKS.name_of(kind) or OBJECTIVES.name_of(kind) or kind.__name__


def _children(part: Any) -> dict[str, Any] | None:
    """The named children of a part of a recipe. None for a value without children: plain values and data sets.

    The children of a tuple of dataclasses have the names "0", "1", ...
    """
    if dataclasses.is_dataclass(part) and not _is_dataset(part):
        return {item.name: getattr(part, item.name) for item in dataclasses.fields(part)}
    if isinstance(part, tuple) and part and all(map(dataclasses.is_dataclass, part)):
        return {str(number): item for number, item in enumerate(part)}
    return part if isinstance(part, dict) else None


def _is_dataset(part: Any) -> bool:
    return hasattr(part, "images") and hasattr(part, "resolution")


def _with_settings(part: Any, settings: list[_Setting]) -> Any:
    """A copy of `part` with the values of all `settings`."""
    children, below = _children(part) or {}, dict[str, list[_Setting]]()
    for setting in settings:
        if setting.names:
            _check_child(setting, children)
            below.setdefault(setting.names[0], []).append(setting.below())
        else:
            part = _converted(part, setting.value, setting.path)
    if not below:
        return part
    changed = {name: _with_settings(children[name], group) for name, group in below.items()}
    if isinstance(part, tuple):
        return tuple((children | changed).values())
    return part | changed if isinstance(part, dict) else dataclasses.replace(part, **changed)


def _check_child(setting: _Setting, children: dict[str, Any]) -> None:
    """Check that the first name of `setting` is one of `children`.

    Raises:
        InvalidInputError: it is not.
    """
    name = setting.names[0]
    if name in children:
        return
    parent = setting.path.removesuffix(".".join(setting.names)).removesuffix(".")
    accepted = f"{name!r} is not one of {', '.join(children)}" if children else f"{parent!r} is a single value"
    close = get_close_matches(name[:100], children, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise InvalidInputError(f"no setting {setting.path!r}: {accepted}{hint}")


def _converted(old: Any, value: Any, path: str) -> Any:
    """`value` converted from text to the type of `old`."""
    if (children := _children(old)) is not None:
        raise InvalidInputError(
            f"{path} is a group of settings; name one of {', '.join(f'{path}.{name}' for name in children)}"
        )
    if isinstance(value, str) and not isinstance(old, str):
        with contextlib.suppress(ValueError, TypeError, SyntaxError):  # text that is no literal is refused below
            value = ast.literal_eval(value)
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(old):
        raise InvalidInputError(f"{path} must be of type {type(old).__name__}, like {old!r:.100}; got {value!r:.100}")
    return value
