"""The configs of the networks in a checkpoint: the VAE, the generator, and an encoder of the nuisance if it has one."""

import math
import types
import typing
from dataclasses import dataclass, fields
from typing import Any

from idgan.errors import InvalidInputError
from idgan.networks.modules import NETWORKS

__all__ = ["ModelConfig"]

TOP_LEVEL_PACKAGE = __name__.partition(".")[0]
PARTS = {
    "vae": ("c_dim", "image_channels", "resolution"),
    "generator": ("c_dim", "s_dim", "image_channels", "resolution"),
    "nuisance_encoder": ("s_dim", "image_channels", "resolution"),
}
"""Part of a model -> attributes that its config must have."""
OPTIONAL = "nuisance_encoder"
"""The part that a model may lack."""
MAX_INTEGER = 2**20
"""Largest magnitude of an integer in a checkpoint's config."""
MAX_LENGTH = 1000
"""Largest length of a string or tuple in a checkpoint's config."""
PLAIN = f"an integer up to {MAX_INTEGER:,}, a finite float, a bool, None, or up to {MAX_LENGTH} items (string, tuple)"
"""The values that a checkpoint's config can hold, in words."""


@dataclass(frozen=True)
class ModelConfig:
    """The configs of a VAE and of the generator distilled from it. They may be of any class (see `NetworkConfig`).

    Attributes:
        nuisance_encoder: config of an encoder q(s|x). None: the model has none.

    Raises:
        InvalidInputError: a config lacks an attribute, two configs disagree on a size, or a registered config has a
            value that a checkpoint cannot hold.
    """

    vae: Any
    generator: Any
    nuisance_encoder: Any = None

    def __post_init__(self) -> None:
        for part in self.parts:
            _check_part(part, getattr(self, part))
        for name in ("c_dim", "image_channels"):
            in_vae, in_generator = getattr(self.vae, name), getattr(self.generator, name)
            if in_vae != in_generator:
                raise InvalidInputError(f"{name} is {in_vae} in the VAE, {in_generator} in the generator")
        for name in ("s_dim", "image_channels") if self.nuisance_encoder is not None else ():
            in_encoder, in_generator = getattr(self.nuisance_encoder, name), getattr(self.generator, name)
            if in_encoder != in_generator:
                raise InvalidInputError(
                    f"{name} is {in_encoder} in the nuisance encoder, {in_generator} in the generator"
                )

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks: "vae", "generator" and, if there is one, "nuisance_encoder"."""
        return tuple(part for part in PARTS if part != OPTIONAL or getattr(self, part) is not None)

    @property
    def c_dim(self) -> int:
        return self.vae.c_dim

    @property
    def s_dim(self) -> int:
        return self.generator.s_dim

    @property
    def image_channels(self) -> int:
        return self.generator.image_channels

    @property
    def resolution(self) -> int:
        return self.generator.resolution

    @property
    def is_registered(self) -> bool:
        """Whether all networks are registered (`register_network`). Only then can a checkpoint hold the model."""
        return all(_type_name(getattr(self, part)) is not None for part in self.parts)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """As a JSON object.

        Raises:
            InvalidInputError: a network is not registered.
        """
        return {part: _to_dict(part, getattr(self, part)) for part in self.parts}

    @classmethod
    def from_dict(cls, values: object) -> "ModelConfig":
        """From the result of `to_dict`. The types of networks are looked up in `NETWORKS`, and every field is checked.

        Raises:
            InvalidInputError: a network is not registered, or a field is missing, unknown or not accepted.
        """
        if not isinstance(values, dict) or set(values) | {OPTIONAL} != set(PARTS):
            raise InvalidInputError(
                f"a model config has the parts vae and generator, and may have {OPTIONAL}, got {values!r:.200}"
            )
        return cls(**{part: _from_dict(part, value) for part, value in values.items()})


def _check_part(part: str, config: Any) -> None:
    """Check that `config` can describe the `part` of a model."""
    kind = type(config).__name__
    if missing := [name for name in PARTS[part] if not hasattr(config, name)]:
        raise InvalidInputError(f"{part} cannot be a {kind}: it has no {', '.join(missing)}")
    if part == OPTIONAL and hasattr(config, "c_dim"):
        raise InvalidInputError(f"{part} cannot be a {kind}: it has c_dim, which only a VAE and a generator have")
    if part == "vae" and hasattr(config, "s_dim"):
        raise InvalidInputError(f"vae cannot be a {kind}: it has s_dim, which only a generator has")
    if _type_name(config) is not None:
        for name, value in _field_values(config).items():
            if not _is_plain(value):
                raise InvalidInputError(f"{kind}.{name} must be {PLAIN}, got {value!r:.100}")


def _type_name(config: object) -> str | None:
    """The name under which the class of `config` is registered, or None."""
    return NETWORKS.name_of(type(config))


def _to_dict(part: str, config: Any) -> dict[str, Any]:
    """A network config as a JSON object: its registered name as "type", the package of a user, and its fields."""
    name = _type_name(config)
    if name is None:
        raise InvalidInputError(f"{part}: {type(config).__name__} is not registered; decorate it with register_network")
    package = NETWORKS.package_of(name)
    head = {"type": name} if package == TOP_LEVEL_PACKAGE else {"type": name, "package": package}
    return head | _field_values(config)


def _field_values(config: Any) -> dict[str, Any]:
    """The fields that `__init__` takes, with their values."""
    return {field.name: getattr(config, field.name) for field in fields(config) if field.init}


def _from_dict(part: str, values: object) -> Any:
    """The network config that `_to_dict` described."""
    if not isinstance(values, dict) or not isinstance(values.get("type"), str):
        raise InvalidInputError(f"{part} must be an object with the name of a network as type, got {values!r:.200}")
    name, package = values["type"], values.get("package", TOP_LEVEL_PACKAGE)
    if name not in NETWORKS:
        raise InvalidInputError(f"{part}: {_unknown(name, package)}")
    kind = NETWORKS[name]
    given = {key: value for key, value in values.items() if key not in ("type", "package")}
    expected = [field.name for field in fields(kind) if field.init]
    if set(given) != set(expected):
        raise InvalidInputError(
            f"{part}: {name} has the fields {', '.join(expected)}; got {', '.join(map(str, given)) or 'none'}"
        )
    given = {key: _from_json(value) for key, value in given.items()}
    hints = _type_hints(kind)
    for key, value in given.items():
        hint = hints.get(key, Any)
        if not _is_plain(value):
            raise InvalidInputError(f"{part}: {name}.{key} must be {PLAIN}, got {value!r:.100}")
        if not _has_type(value, hint):
            accepted = hint.__name__ if isinstance(hint, type) else str(hint)
            raise InvalidInputError(f"{part}: {name}.{key} must be of type {accepted}, got {value!r:.100}")
    try:
        return kind(**given)
    except Exception as error:  # a user's config may raise anything
        raise InvalidInputError(f"{part}: {name} refuses these values: {error}") from error


def _type_hints(kind: type[Any]) -> dict[str, Any]:
    """The type annotations of a class. Empty if one of them cannot be evaluated."""
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError):
        return {}


def _unknown(name: str, package: object) -> str:
    """The message for a type that is not registered."""
    if package == TOP_LEVEL_PACKAGE:
        return NETWORKS.unknown(name)
    return (
        f"the network {name!r:.100} is not registered. It comes from the package {package!r:.100}: install that "
        "package and import the module that registers the network (on the command line: --import MODULE)"
    )


def _from_json(value: Any) -> Any:
    """A JSON value with tuples in place of lists."""
    return tuple(_from_json(item) for item in value) if isinstance(value, list) else value


def _is_plain(value: object) -> bool:
    """Whether a checkpoint can hold `value` (see `PLAIN`)."""
    if isinstance(value, tuple):
        return len(value) <= MAX_LENGTH and all(map(_is_plain, value))
    if type(value) is int:
        return abs(value) <= MAX_INTEGER
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is str:
        return len(value) <= MAX_LENGTH
    return value is None or type(value) is bool


def _has_type(value: object, hint: Any) -> bool:
    """Whether a plain `value` fits the type annotation `hint`. An integer fits float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_has_type(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1:] == (Ellipsis,):
            arguments = arguments[:1] * len(value)
        return len(value) == len(arguments) and all(map(_has_type, value, arguments))
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint
