"""The weights manifest: every checkpoint by name. docs/manifest.md describes the schema."""

import difflib
import errno
import fnmatch
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from idgan.dims import as_names
from idgan.errors import InvalidInputError, ManifestError, UnknownModelError
from idgan.files import read_regular_file, write_atomically

__all__ = [
    "CONFIG_FILE",
    "SCHEMA",
    "DataSet",
    "Entry",
    "Manifest",
    "SavedModel",
    "Weights",
    "info",
    "list_models",
    "package_manifest",
    "printable",
    "read_saved_model",
    "write_entry",
]

SCHEMA = 1
CONFIG_FILE = "config.json"
"""Name of the file beside a saved checkpoint that says what is known about it, see `SavedModel`."""
MAX_BYTES = 4 << 20
"""Largest manifest that is read."""
MAX_INTEGER = 2**63 - 1
PACKAGE = Path(__file__).resolve().parents[1]

MODEL_NAME = r"[a-z0-9][a-z0-9-]{0,99}"
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


@contextmanager
def _prefixing_errors(where: object) -> Iterator[None]:
    """Turn errors into a ManifestError with a message that begins with `where`."""
    try:
        yield
    except (OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ManifestError(f"{printable(where)}: {error}") from error


C = TypeVar("C", bound="_Checked")


class _Checked:
    """A dataclass that checks its fields when it is made, and can be read from a JSON object."""

    def __post_init__(self) -> None:
        for spec in fields(self):  # type: ignore[arg-type]
            value = getattr(self, spec.name)
            if not spec.metadata["check"](value):
                raise ManifestError(f"field {spec.name!r} is {_brief(value)}; accepted: {spec.metadata['accepted']}")

    @classmethod
    def from_json(cls: type[C], value: Any) -> C:
        """Make one from a JSON object.

        Raises:
            ManifestError: names the missing, unknown or wrong field.
        """
        if not isinstance(value, dict):
            raise ManifestError(f"{_brief(value)} is not an object")
        known = [spec.name for spec in fields(cls)]  # type: ignore[arg-type]
        value = {OLD_FIELDS.get(name, name): content for name, content in value.items()}
        for name in value:
            if name not in known:
                raise ManifestError(
                    f"unknown field {_brief(name)}{_suggestion(name, known)}; the fields are {', '.join(known)}"
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
    with _prefixing_errors("field 'dims'"):
        as_names(value.dims, value.c_dim)


def _with_parts(value: Any) -> Any:
    """A JSON object of an `Entry` or a `SavedModel` with its parts made into objects."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    parts: tuple[tuple[str, type[DataSet] | type[Weights]], ...] = (("data", DataSet), ("weights", Weights))
    for name, part in parts:
        if value.get(name) is not None:
            with _prefixing_errors(f"in {name!r}"):
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
    with _prefixing_errors(path):
        return SavedModel.from_json(_parse_json(read_regular_file(path, MAX_BYTES)))


def _check_metric(where: str, metric: object) -> None:
    """Check a result as `MetricResult.to_dict` writes it.

    It must have the fields that make it comparable, and may have others.
    """
    if not isinstance(metric, dict):
        raise ManifestError(f"field '{where}' is {_brief(metric)}; accepted: an object")
    for name, check in METRIC_CHECKS.items():
        if name not in metric or not check(metric[name]):
            found = f"is {_brief(metric[name])}" if name in metric else "is missing"
            raise ManifestError(f"field '{where}.{name}' {found}; a result has {', '.join(METRIC_CHECKS)}")


def _check_training(training: dict[str, Any]) -> None:
    for name in TRAINING_FIELDS:
        if training.get(name) is None:
            raise ManifestError(f"field 'training.{name}' is missing; training records {', '.join(TRAINING_FIELDS)}")


# ------------------------------------------------------------------ the manifest


@dataclass(frozen=True)
class Manifest:
    """Checkpoints by name: `manifest["dsprites"]` is an `Entry`."""

    entries: dict[str, Entry]

    @classmethod
    def load(cls) -> "Manifest":
        """The package's manifest together with those in IDGAN_MANIFEST, a list of paths as in PATH.

        The first file with a name wins.

        Raises:
            ManifestError: a file is damaged. The message names the file and says what to do.
        """
        paths = [path for path in os.environ.get("IDGAN_MANIFEST", "").split(os.pathsep) if path]
        entries = {**_read_or_advise(cls, package_manifest(), "Reinstall idgan").entries}
        for path in reversed(paths):
            entries.update(_read_or_advise(cls, path, "Repair the file, or take it out of IDGAN_MANIFEST").entries)
        return cls(dict(sorted(entries.items())))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Manifest":
        """The manifest in the file at `path`.

        Raises:
            ManifestError: names the file, the entry and the field.
        """
        with _prefixing_errors(path):
            return cls(_parse(read_regular_file(path, MAX_BYTES)))

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self.entries)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self.entries[name]
        except (KeyError, TypeError):
            known = self.names()
            raise UnknownModelError(
                f"no checkpoint is called {_brief(name)}{_suggestion(name, known)}; the names are {', '.join(known)}"
            ) from None


def _read_or_advise(cls: type[Manifest], path: str | Path, advice: str) -> Manifest:
    try:
        return cls.read(path)
    except ManifestError as error:
        raise ManifestError(f"{error}. {advice}") from error


def package_manifest() -> Path:
    """Path of the package's manifest: in the package in a wheel, next to it in a checkout or a torch.hub archive."""
    for folder in (PACKAGE, PACKAGE.parent):
        if (path := folder / "weights_manifest.json").is_file():
            return path
    raise ManifestError(f"weights_manifest.json is missing in {PACKAGE} and {PACKAGE.parent}; reinstall idgan")


def write_entry(path: str | os.PathLike[str], name: str, entry: Entry) -> Path:
    """Insert or replace entry `name` in the manifest file at `path`, atomically. A missing file is created.

    Returns the path.
    """
    path = Path(path)
    entries = {**(Manifest.read(path).entries if path.exists() else {}), str(name): entry}
    document = {"schema": SCHEMA, "models": {key: entries[key].to_json() for key in sorted(entries)}}
    with _prefixing_errors(f"entry {_brief(name)}"):
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    _parse(text.encode())  # never write what cannot be read back
    return write_atomically(path, text)


# ------------------------------------------------------------------ JSON, strictly


def _parse(content: bytes) -> dict[str, Entry]:
    """Entries by name from the bytes of a manifest."""
    if len(content) > MAX_BYTES:
        raise ManifestError(f"larger than the {MAX_BYTES:,} bytes a manifest may have")
    document = _parse_json(content)
    if (
        not isinstance(document, dict)
        or document.keys() != {"schema", "models"}
        or not isinstance(document["models"], dict)
    ):
        raise ManifestError('a manifest is an object {"schema": ' + str(SCHEMA) + ', "models": {name: entry}}')
    if type(document["schema"]) is not int or document["schema"] != SCHEMA:
        raise ManifestError(
            f"schema {_brief(document['schema'])}; this idgan reads schema {SCHEMA}: a newer file needs a newer idgan"
        )
    return {name: _read_entry(name, value) for name, value in document["models"].items()}


def _parse_json(content: bytes) -> Any:
    with _prefixing_errors("not valid JSON"):
        return json.loads(
            content,
            object_pairs_hook=_without_duplicates,
            parse_int=_checked_integer,
            parse_float=_finite_number,
            parse_constant=_finite_number,
        )


def _read_entry(name: str, value: object) -> Entry:
    if not _matching(MODEL_NAME)(name):
        raise ManifestError(f"entry {_brief(name)}: names are lower-case letters, digits and dashes")
    with _prefixing_errors(f"entry {name!r}"):
        return Entry.from_json(value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ManifestError(f"the key {_brief(twice)} appears twice in one object")
    return dict(pairs)


def _checked_integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise ManifestError(f"the number {_brief(text)} is too large")
    return int(text)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ManifestError(f"the number {_brief(text)} is not finite")
    return number


# ------------------------------------------------------------------ text in messages


def printable(value: object) -> str:
    """`value` as text that is safe to print: control characters, line breaks and lone surrogates are escaped."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _suggestion(name: object, known: list[str]) -> str:
    """ " (did you mean ...?)" for the name in `known` that is closest to `name`, or ""."""
    near = difflib.get_close_matches(name[:100].lower(), known, 1) if isinstance(name, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def _brief(value: object) -> str:
    """`value` in ASCII, cut to 60 characters."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # thousands of digits, or of nested lists
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def list_models(pattern: str | None = None, *, pretrained: bool = False, status: str | None = None) -> list[str]:
    """Names of checkpoints in the manifest, sorted.

    Args:
        pattern: only names that match this shell pattern, such as "celeba*" or "*-64".
        pretrained: only those with weights. This is the status "released".
        status: only those with this status, "released" or "recipe".
    """
    if status not in (None, "released", "recipe"):
        raise InvalidInputError(f"status must be released, recipe or None, got {status!r}")
    if pattern is not None and not isinstance(pattern, str):
        raise InvalidInputError(f'pattern must be text such as "celeba*", got {_brief(pattern)}')
    manifest = Manifest.load()
    return [
        name
        for name in manifest.names()
        if (pattern is None or fnmatch.fnmatchcase(name, pattern))
        and status in (None, manifest[name].status)
        and (not pretrained or manifest[name].status == "released")
    ]


def info(name: str) -> dict[str, Any]:
    """The manifest entry of checkpoint `name` as a dict: status, licenses, shapes, training, metrics."""
    return Manifest.load()[name].to_json()
