"""Registries: names for data sets, networks, objectives, methods, metrics, feature extractors and recipes.

A room creates one `Registry` for each kind and registers its own entries. A third package registers more entries from
its own modules. It announces those modules in the entry-point group `idgan.plugins`.
"""

import difflib
import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from idgan.errors import IdganError, InvalidInputError, brief

__all__ = ["PLUGIN_GROUP", "Registry", "first_parameter", "import_object", "load_plugins"]

PLUGIN_GROUP = "idgan.plugins"
"""Entry-point group in which a package names the modules that register its entries."""

T = TypeVar("T")
Entry = TypeVar("Entry")


class Registry(Mapping[str, T], Generic[T]):
    """Registered objects of one kind by name, in the order of registration.

    Args:
        kind: what an entry is, in the singular, for messages: "data set".
        error: class of the error for an unknown name.
    """

    def __init__(self, kind: str, error: type[IdganError] = InvalidInputError) -> None:
        self.kind = kind
        self.error = error
        self._entries: dict[str, T] = {}

    def register(self, name: str | None = None) -> Callable[[Entry], Entry]:
        """Decorator that registers a class or function under `name`. Without a name, its own `__name__` is taken.

        Raises:
            InvalidInputError: another object has that name already.
        """

        def add(entry: Entry) -> Entry:
            self.add(name or entry.__name__, entry)  # type: ignore[attr-defined, arg-type]
            return entry

        return add

    def add(self, name: str, entry: T) -> None:
        """Register `entry` under `name`.

        Raises:
            InvalidInputError: another object has that name already.
        """
        known = self._entries.get(name)
        if known is not None and _origin(known) != _origin(entry):
            raise InvalidInputError(
                f"the {self.kind} {name!r} is registered already, by {_origin(known)}; choose another name"
            )
        self._entries[name] = entry

    def name_of(self, entry: object) -> str | None:
        """The name under which `entry` is registered, or None."""
        return next((name for name, known in self._entries.items() if known is entry), None)

    def package_of(self, name: str) -> str:
        """The top-level package that registered `name`."""
        return _origin(self[name]).partition(".")[0]

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise self.error(self.unknown(name)) from None

    def unknown(self, name: object) -> str:
        """The message for a name that is not registered: the closest known name, and all known names."""
        close = difflib.get_close_matches(name[:100], self._entries, n=1) if isinstance(name, str) else []
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"no {self.kind} is called {brief(name)}; {hint}known: {', '.join(self._entries)}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries


def first_parameter(function: Callable[..., object]) -> inspect.Parameter | None:
    """The first parameter of a function or constructor, or None. `*args` and `**kwargs` do not count."""
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return next((item for item in inspect.signature(function).parameters.values() if item.kind in named), None)


def _origin(entry: object) -> str:
    """Module and name of a registered object, which a second import of its module does not change."""
    return f"{getattr(entry, '__module__', '')}.{getattr(entry, '__qualname__', repr(entry))}"


@functools.cache
def load_plugins() -> None:
    """Import the modules that installed packages announce in `PLUGIN_GROUP`, once a process.

    A module that cannot be imported brings a warning that names it.
    """
    for point in entry_points(group=PLUGIN_GROUP):
        try:
            point.load()
        except (Exception, SystemExit) as error:  # a plug-in may raise anything; the package works without it
            warnings.warn(f"the plug-in {point.name} ({point.value}) cannot be imported: {error}", stacklevel=2)


def import_object(spec: str) -> Any:
    """The object that "module:name" names, or the module that "module" names. The current directory is searched last.

    Call it only with text that a user typed or passed, never with text from a file.

    Raises:
        InvalidInputError: the module cannot be imported, or has no such object.
    """
    module_name, _, name = spec.partition(":")
    if "" not in sys.path and "." not in sys.path:
        sys.path.append("")  # a console script does not search the current directory
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise InvalidInputError(f"the module {module_name!r} cannot be imported: {reason}") from error
    try:
        return getattr(module, name) if name else module
    except Exception as error:
        raise InvalidInputError(f"the module {module_name!r} has no {name!r}") from error
