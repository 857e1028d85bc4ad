"""What the zoo knows about a checkpoint: `Entry` of the manifest, `SavedModel` of a `config.json`, and their parts."""

import errno
import os
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from idgan.dims import as_names
from idgan.errors import ManifestError
from idgan.files import read_regular_file
from idgan.zoo.untrusted import MAX_BYTES, MAX_INTEGER, brief_ascii, parse_json, prefixing_errors, suggestion

__all__ = [
    "COMMIT",
    "CONFIG_FILE",
    "FILE_NAME",
    "REPO_NAME",
    "SHA256",
    "DataSet",
    "Entry",
    "SavedModel",
    "Weights",
    "read_saved_model",
]

CONFIG_FILE = "config.json"
"""Name of the file beside a saved checkpoint that says what is known about it, see `SavedModel`."""

FILE_NAME = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
"""A file in one folder: no separator and no ".."."""
REPO_NAME = r"(?!.*(\.\.|--))[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
COMMIT = r"[0-9a-f]{40}"
SHA256 = r"[0-9a-f]{64}"
LICENSE = r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*"

OLD_FIELDS = {"licence": "license"}
"""Names of fields in files of older versions -> their names now."""
TRAINING_FIELDS = ("recipe", "command", "seed", "steps", "versions", "hardware", "wall_time_seconds")

PLACES = "give one of 'embedded': true, 'beside': true, or both 'repo' and 'revision'"

Check = Callable[[Any], bool]


# ------------------------------------------------------------------ what a field accepts


def _accepting(accepted: str, check: Check) -> dict[str, Any]:
    """Metadata of a dataclass field: what it accepts, in words and as a check of the value."""
    return {"accepted": accepted, "check": check}


def _matching(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _instance_of(kind: type | tuple[type, ...]) -> Check:
    return lambda value: isinstance(value, kind)


def _integer_from(minimum: int) -> Check:
    return lambda value: type(value) is int and minimum <= value <= MAX_INTEGER  # True is no number


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_INTEGER  # type: ignore[arg-type]


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_table(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(_is_line, value)) and all(map(check, value.values()))


def _is_list(check: Check) -> Check:
    return lambda value: isinstance(value, (list, tuple)) and all(map(check, value))


LINE = _accepting("a line of text", _is_line)
POSITIVE = _accepting("a positive integer", _integer_from(1))
NOT_NEGATIVE = _accepting("a non-negative integer", _integer_from(0))
CHANNELS = _accepting("1 or 3", lambda value: type(value) is int and value in (1, 3))
SPDX = "an SPDX license expression for the weights"
RESULTS = _accepting("a list of results", _instance_of((list, tuple)))
OBJECT = _accepting("an object, or null", _or_none(_instance_of(dict)))
DIMENSIONS = _accepting("a list of dimensions, or null", _or_none(_is_list(_integer_from(0))))
NUMBERS = _accepting("a list of numbers, or null", _or_none(_is_list(_is_number)))
COUNTS = _accepting("an object of non-negative integers, or null", _or_none(_is_table(_integer_from(0))))
METRIC_CHECKS: dict[str, Check] = {
    "name": _is_line,
    "value": _is_number,
    "protocol": _is_line,
    "samples": _integer_from(1),
    "seed": _or_none(_integer_from(0)),
    "versions": _instance_of(dict),
}


C = TypeVar("C", bound="_Checked")


class _Checked:
    """A dataclass that checks its fields when it is made, and can be read from a JSON object."""

    def __post_init__(self) -> None:
        for spec in fields(self):  # type: ignore[arg-type]
            value = getattr(self, spec.name)
            if not spec.metadata["check"](value):
                raise ManifestError(
                    f"field {spec.name!r} is {brief_ascii(value)}; accepted: {spec.metadata['accepted']}"
                )

    @classmethod
    def from_json(cls: type[C], value: Any) -> C:
        """Make one from a JSON object.

        Raises:
            ManifestError: names the missing, unknown or wrong field.
        """
        if not isinstance(value, dict):
            raise ManifestError(f"{brief_ascii(value)} is not an object")
        known = [spec.name for spec in fields(cls)]  # type: ignore[arg-type]
        value = {OLD_FIELDS.get(name, name): content for name, content in value.items()}
        for name in value:
            if name not in known:
                raise ManifestError(
                    f"unknown field {brief_ascii(name)}{suggestion(name, known)}; the fields are {', '.join(known)}"
                )
        for spec in fields(cls):  # type: ignore[arg-type]
            if spec.default is MISSING and spec.name not in value:
                raise ManifestError(f"field {spec.name!r} is missing; accepted: {spec.metadata['accepted']}")
        return cls(**value)


# ------------------------------------------------------------------ the entries


@dataclass(frozen=True)
class DataSet(_Checked):
    """The training data of a checkpoint, and the license of that data. `id` is its name in `idgan.data`, if any."""

    name: str = field(metadata=LINE)
    license: str = field(metadata=LINE)
    id: str | None = field(default=None, metadata=_accepting("a line of text, or null", _or_none(_is_line)))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, without fields that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Weights(_Checked):
    """Where the file is and what it must contain.

    It is inside the package (`embedded`), in the folder `weights` of the source tree (`beside` the package, not in a
    wheel), or at one commit of a hub repository. A `config.json` gives no place: it lies beside the file.
    """

    file: str = field(
        metadata=_accepting("a plain file name ending in .safetensors", _matching(FILE_NAME + r"(?<=\.safetensors)"))
    )
    sha256: str = field(metadata=_accepting("64 lower-case hex digits", _matching(SHA256)))
    bytes: int = field(metadata=POSITIVE)
    embedded: bool = field(default=False, metadata=_accepting("true or false", _instance_of(bool)))
    beside: bool = field(default=False, metadata=_accepting("true or false", _instance_of(bool)))
    repo: str | None = field(default=None, metadata=_accepting('"organization/name"', _or_none(_matching(REPO_NAME))))
    revision: str | None = field(
        default=None, metadata=_accepting("a commit of 40 lower-case hex digits", _or_none(_matching(COMMIT)))
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.repo is None) != (self.revision is None) or self.embedded + self.beside + (self.repo is not None) > 1:
            raise ManifestError(PLACES)

    @property
    def has_place(self) -> bool:
        """Whether the fields say where the file is."""
        return self.embedded or self.beside or self.repo is not None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, without fields that are false or None."""
        return {name: value for name, value in vars(self).items() if value is not None and value is not False}


@dataclass(frozen=True)
class Entry(_Checked):
    """One checkpoint. Status "released": its weights exist. Status "recipe": nobody has published weights yet."""

    status: str = field(metadata=_accepting('"released" or "recipe"', lambda value: value in ("released", "recipe")))
    description: str = field(metadata=LINE)
    license: str = field(metadata=_accepting(SPDX, _matching(LICENSE)))
    data: DataSet = field(metadata=_accepting("an object with name and license", _instance_of(DataSet)))
    resolution: int = field(metadata=POSITIVE)
    image_channels: int = field(metadata=CHANNELS)
    c_dim: int = field(metadata=POSITIVE)
    s_dim: int = field(metadata=NOT_NEGATIVE)
    recipe_steps: dict[str, int] | None = field(default=None, metadata=COUNTS)
    active_dims: tuple[int, ...] | None = field(default=None, metadata=DIMENSIONS)
    dim_kl: tuple[float, ...] | None = field(default=None, metadata=NUMBERS)
    parameters: dict[str, int] | None = field(default=None, metadata=COUNTS)
    model: dict[str, Any] | None = field(default=None, metadata=OBJECT)
    dims: dict[str, int] | None = field(default=None, metadata=OBJECT)
    weights: Weights | None = field(
        default=None, metadata=_accepting("an object, or null", _or_none(_instance_of(Weights)))
    )
    training: dict[str, Any] | None = field(default=None, metadata=OBJECT)
    metrics: tuple[dict[str, Any], ...] = field(default=(), metadata=RESULTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        _settle_lists(self)
        if self.weights is not None and not self.weights.has_place:
            raise ManifestError(f"in 'weights': {PLACES}")
        if self.status == "recipe" and self.weights is not None:
            raise ManifestError("field 'weights' must be null: the status is \"recipe\"")
        if self.status == "released" and (self.weights is None or self.training is None):
            raise ManifestError("fields 'weights' and 'training' must be given: the status is \"released\"")
        if self.training is not None:
            _check_training(self.training)

    @classmethod
    def from_json(cls, value: Any) -> "Entry":
        """Make an entry from its JSON object."""
        return super().from_json(_with_parts(value))

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads, fields in order. Optional facts that are not given are left out."""
        values = _plain(self)
        return {name: value for name, value in values.items() if value is not None or name not in FACTS}


@dataclass(frozen=True)
class SavedModel(_Checked):
    """The content of the `config.json` beside a saved checkpoint: what is known about the file.

    Attributes:
        name: name of the model, or None.
        description: one sentence.
        license: SPDX license expression for the weights. None: not stated.
        data: the training data. None: not stated.
        resolution, image_channels, c_dim, s_dim: shapes of images and codes.
        recipe_steps: stage -> steps of the recipe, None if the model follows no recipe of the package.
        active_dims: the active code dimensions, the most informative first.
        dims: name -> code dimension.
        model: the network configs, as `ModelConfig.to_dict` writes them.
        weights: file name, hash and size.
        changed_from: sha256 of the checkpoint that was loaded and changed to make this one, or None.
        training: training record, or None.
        metrics: results that were measured on this very file.
    """

    description: str = field(metadata=LINE)
    resolution: int = field(metadata=POSITIVE)
    image_channels: int = field(metadata=CHANNELS)
    c_dim: int = field(metadata=POSITIVE)
    s_dim: int = field(metadata=NOT_NEGATIVE)
    model: dict[str, Any] = field(metadata=_accepting("an object", _instance_of(dict)))
    weights: Weights = field(metadata=_accepting("an object with file, sha256 and bytes", _instance_of(Weights)))
    name: str | None = field(default=None, metadata=_accepting("a line of text, or null", _or_none(_is_line)))
    license: str | None = field(default=None, metadata=_accepting(f"{SPDX}, or null", _or_none(_matching(LICENSE))))
    data: DataSet | None = field(
        default=None, metadata=_accepting("an object with name and license, or null", _or_none(_instance_of(DataSet)))
    )
    recipe_steps: dict[str, int] | None = field(default=None, metadata=COUNTS)
    active_dims: tuple[int, ...] | None = field(default=None, metadata=DIMENSIONS)
    dims: dict[str, int] | None = field(default=None, metadata=OBJECT)
    changed_from: str | None = field(
        default=None, metadata=_accepting("64 lower-case hex digits, or null", _or_none(_matching(SHA256)))
    )
    training: dict[str, Any] | None = field(default=None, metadata=OBJECT)
    metrics: tuple[dict[str, Any], ...] = field(default=(), metadata=RESULTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        _settle_lists(self)

    @classmethod
    def from_json(cls, value: Any) -> "SavedModel":
        """Make one from a JSON object. Unknown fields, which other tools or newer versions may add, are left out."""
        if isinstance(value, dict):
            value = {spec.name: value[spec.name] for spec in fields(cls) if spec.name in value}
        return super().from_json(_with_parts(value))

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads. It also names this library, as hubs expect."""
        return {"library_name": "idgan", **_plain(self)}


FACTS = ("recipe_steps", "active_dims", "dim_kl", "parameters", "dims")
"""Fields of an entry that state facts on a checkpoint, so that they are known without reading its file."""


def _settle_lists(value: Entry | SavedModel) -> None:
    """Turn lists into tuples, and check names and results."""
    for name in ("active_dims", "dim_kl", "metrics"):
        if isinstance(given := getattr(value, name, None), list):
            object.__setattr__(value, name, tuple(given))
    for number, metric in enumerate(value.metrics):
        _check_metric(f"metrics[{number}]", metric)
    with prefixing_errors("field 'dims'"):
        as_names(value.dims, value.c_dim)


def _with_parts(value: Any) -> Any:
    """A JSON object of an `Entry` or a `SavedModel` with its parts made into objects."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    parts: tuple[tuple[str, type[DataSet] | type[Weights]], ...] = (("data", DataSet), ("weights", Weights))
    for name, part in parts:
        if value.get(name) is not None:
            with prefixing_errors(f"in {name!r}"):
                value[name] = part.from_json(value[name])
    return value


def _plain(value: Entry | SavedModel) -> dict[str, Any]:
    """The fields of `value` in order, as JSON values."""
    plain = {name: list(item) if isinstance(item, tuple) else item for name, item in vars(value).items()}
    plain["data"] = value.data and value.data.to_json()
    plain["weights"] = value.weights and value.weights.to_json()
    return plain


def read_saved_model(path: str | os.PathLike[str]) -> SavedModel:
    """The content of the `config.json` at `path`.

    Raises:
        ManifestError: it is damaged or not of this package. The message names the file and the field.
        FileNotFoundError: there is no such file.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    with prefixing_errors(path):
        return SavedModel.from_json(parse_json(read_regular_file(path, MAX_BYTES)))


def _check_metric(where: str, metric: object) -> None:
    """Check a result as `MetricResult.to_dict` writes it.

    It must have the fields that make it comparable, and may have others.
    """
    if not isinstance(metric, dict):
        raise ManifestError(f"field '{where}' is {brief_ascii(metric)}; accepted: an object")
    for name, check in METRIC_CHECKS.items():
        if name not in metric or not check(metric[name]):
            found = f"is {brief_ascii(metric[name])}" if name in metric else "is missing"
            raise ManifestError(f"field '{where}.{name}' {found}; a result has {', '.join(METRIC_CHECKS)}")


def _check_training(training: dict[str, Any]) -> None:
    for name in TRAINING_FIELDS:
        if training.get(name) is None:
            raise ManifestError(f"field 'training.{name}' is missing; training records {', '.join(TRAINING_FIELDS)}")
