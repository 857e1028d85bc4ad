"""The weights manifest: every checkpoint by name. docs/manifest.md describes the schema for people who write one."""

import difflib
import json
import math
import os
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from idgan.errors import ManifestError, UnknownModelError
from idgan.files import write_atomically

__all__ = ["SCHEMA", "DataSet", "Entry", "Manifest", "Weights", "package_manifest", "write_entry"]

SCHEMA = 1
MAX_BYTES = 4 << 20  # a manifest is read whole; nothing honest comes near
PACKAGE = Path(__file__).resolve().parents[1]

MODEL_NAME = r"[a-z0-9][a-z0-9-]{0,99}"
FILE_NAME = (
    r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,127}"  # no separator, no "..": it can only name a file in one folder
)
REPO_NAME = r"(?!.*(\.\.|--))[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
COMMIT = r"[0-9a-f]{40}"
SHA256 = r"[0-9a-f]{64}"
LICENCE = r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*"

TRAINING_FIELDS = ("recipe", "command", "seed", "steps", "versions", "hardware", "wall_time_seconds")


# ------------------------------------------------------------------ what a field accepts


def _takes(accepted, test):
    """The metadata of a dataclass field: what it accepts, in words and as a test of the value."""
    return {"accepted": accepted, "test": test}


def _matches(pattern):
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is(kind):
    return lambda value: isinstance(value, kind)


def _at_least(least):
    return lambda value: type(value) is int and value >= least  # a bool is no number here


def _is_line(value):
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _optional(test):
    return lambda value: value is None or test(value)


LINE = _takes("a line of text", _is_line)
POSITIVE = _takes("a positive integer", _at_least(1))
OBJECT = _takes("an object, or null", _optional(_is(dict)))
METRIC_TESTS = {
    "name": _is_line,
    "value": lambda value: type(value) in (int, float),
    "protocol": _is_line,
    "samples": _at_least(1),
    "seed": _optional(_at_least(0)),
    "versions": _is(dict),
}


@contextmanager
def _speaking_of(where):
    """Errors from within come out as ManifestError that begins with `where`."""
    try:
        yield
    except (OSError, RecursionError, TypeError, ValueError) as error:
        raise ManifestError(f"{where}: {error}") from error


class _Checked:
    """A dataclass that tests its fields when it is made, and reads itself from a JSON object."""

    def __post_init__(self):
        for spec in fields(self):
            value = getattr(self, spec.name)
            if not spec.metadata["test"](value):
                raise ManifestError(f"field {spec.name!r} is {_brief(value)}; it takes {spec.metadata['accepted']}")

    @classmethod
    def from_json(cls, value):
        """Make one from a JSON object; ManifestError names a missing, unknown or wrong field."""
        if not isinstance(value, dict):
            raise ManifestError(f"{_brief(value)} is not an object")
        known = [spec.name for spec in fields(cls)]
        for name in value:
            if name not in known:
                raise ManifestError(
                    f"unknown field {_brief(name)}{_nearest(name, known)}; the fields are {', '.join(known)}"
                )
        for spec in fields(cls):
            if spec.default is MISSING and spec.name not in value:
                raise ManifestError(f"field {spec.name!r} is missing; it takes {spec.metadata['accepted']}")
        return cls(**value)


# ------------------------------------------------------------------ the entries


@dataclass(frozen=True)
class DataSet(_Checked):
    """The data a checkpoint was trained on, and the terms that data came under."""

    name: str = field(metadata=LINE)
    license: str = field(metadata=LINE)


@dataclass(frozen=True)
class Weights(_Checked):
    """Where the bytes are and what they must be: a file inside the package (`embedded`), or one commit of a hub repository."""

    file: str = field(
        metadata=_takes("a plain file name ending in .safetensors", _matches(FILE_NAME + r"(?<=\.safetensors)"))
    )
    sha256: str = field(metadata=_takes("64 lower-case hex digits", _matches(SHA256)))
    bytes: int = field(metadata=POSITIVE)
    embedded: bool = field(default=False, metadata=_takes("true or false", _is(bool)))
    repo: str | None = field(default=None, metadata=_takes('"organisation/name"', _optional(_matches(REPO_NAME))))
    revision: str | None = field(
        default=None, metadata=_takes("a commit of 40 lower-case hex digits", _optional(_matches(COMMIT)))
    )

    def __post_init__(self):
        super().__post_init__()
        if {self.repo is None, self.revision is None} != {self.embedded}:
            raise ManifestError("give either 'embedded': true, or both 'repo' and 'revision'")

    def to_json(self):
        """The fields that say something, in order."""
        return {name: value for name, value in vars(self).items() if value is not None and value is not False}


@dataclass(frozen=True)
class Entry(_Checked):
    """One checkpoint. "released": its weights exist. "recipe": nobody has published any yet, `training` may say how to make them."""

    status: str = field(metadata=_takes('"released" or "recipe"', lambda value: value in ("released", "recipe")))
    description: str = field(metadata=LINE)
    license: str = field(metadata=_takes("an SPDX license expression for the weights", _matches(LICENCE)))
    data: DataSet = field(metadata=_takes("an object with name and license", _is(DataSet)))
    resolution: int = field(metadata=POSITIVE)
    image_channels: int = field(metadata=_takes("1 or 3", lambda value: type(value) is int and value in (1, 3)))
    c_dim: int = field(metadata=POSITIVE)
    s_dim: int = field(metadata=_takes("a non-negative integer", _at_least(0)))
    model: dict | None = field(default=None, metadata=OBJECT)
    weights: Weights | None = field(default=None, metadata=_takes("an object, or null", _optional(_is(Weights))))
    training: dict | None = field(default=None, metadata=OBJECT)
    metrics: tuple = field(default=(), metadata=_takes("a list of results", _is((list, tuple))))

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "metrics", tuple(self.metrics))
        for number, metric in enumerate(self.metrics):
            _check_metric(f"metrics[{number}]", metric)
        if self.status == "recipe" and self.weights is not None:
            raise ManifestError("field 'weights' must be null: the status is \"recipe\"")
        if self.status == "released" and None in (self.weights, self.training):
            raise ManifestError("fields 'weights' and 'training' must be given: the status is \"released\"")
        for name in TRAINING_FIELDS if self.training is not None else ():
            if self.training.get(name) is None:
                raise ManifestError(
                    f"field 'training.{name}' is missing; training records {', '.join(TRAINING_FIELDS)}"
                )

    @classmethod
    def from_json(cls, value):
        """Make an entry from its JSON object."""
        if isinstance(value, dict):
            value = dict(value)
            for name, part in (("data", DataSet), ("weights", Weights)):
                if value.get(name) is not None:
                    with _speaking_of(f"in {name!r}"):
                        value[name] = part.from_json(value[name])
        return super().from_json(value)

    def to_json(self):
        """The JSON object `from_json` reads, fields in order."""
        parts = {
            "data": vars(self.data),
            "weights": self.weights and self.weights.to_json(),
            "metrics": list(self.metrics),
        }
        return {**vars(self), **parts}


def _check_metric(where, metric):
    """A result as `MetricResult.to_dict` writes it: the six fields that make it comparable; others are kept as they are."""
    if not isinstance(metric, dict):
        raise ManifestError(f"field '{where}' is {_brief(metric)}; it takes an object")
    for name, test in METRIC_TESTS.items():
        if name not in metric or not test(metric[name]):
            found = f"is {_brief(metric[name])}" if name in metric else "is missing"
            raise ManifestError(f"field '{where}.{name}' {found}; a result has {', '.join(METRIC_TESTS)}")


# ------------------------------------------------------------------ the manifest


@dataclass(frozen=True)
class Manifest:
    """Checkpoints by name: `manifest["dsprites"]` is an `Entry`."""

    entries: dict

    @classmethod
    def load(cls):
        """The package's manifest, overlaid with those that IDGAN_MANIFEST names (as in PATH, the first that knows a name wins)."""
        paths = [path for path in os.environ.get("IDGAN_MANIFEST", "").split(os.pathsep) if path]
        entries = {}
        for path in (package_manifest(), *reversed(paths)):
            entries.update(cls.read(path).entries)
        return cls(dict(sorted(entries.items())))

    @classmethod
    def read(cls, path):
        """The manifest in the file at `path`. ManifestError names the file, the entry and the field that break the schema."""
        with _speaking_of(path), open(path, "rb") as file:
            return cls(_parse(file.read(MAX_BYTES + 1)))

    def names(self):
        """Every name, sorted."""
        return sorted(self.entries)

    def __getitem__(self, name):
        try:
            return self.entries[name]
        except (KeyError, TypeError):
            raise UnknownModelError(
                f"no checkpoint is called {_brief(name)}{_nearest(name, self.names())}; the names are {', '.join(self.names())}"
            ) from None


def package_manifest():
    """Path of the manifest that ships with this package: inside it in a wheel, beside it in a checkout or a torch.hub archive."""
    for folder in (PACKAGE, PACKAGE.parent):
        if (path := folder / "weights_manifest.json").is_file():
            return path
    raise ManifestError(f"weights_manifest.json is neither in {PACKAGE} nor beside it; reinstall idgan")


def write_entry(path, name, entry):
    """Insert or replace entry `name` in the manifest file at `path` (made when missing), sorted, in one atomic step. Returns the path."""
    path = Path(path)
    entries = {**(Manifest.read(path).entries if path.exists() else {}), str(name): entry}
    document = {"schema": SCHEMA, "models": {key: entries[key].to_json() for key in sorted(entries)}}
    with _speaking_of(f"entry {_brief(name)}"):
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    _parse(text.encode())  # what is written is what can be read
    return write_atomically(path, text)


# ------------------------------------------------------------------ JSON, strictly


def _parse(content):
    """Entries by name from the bytes of a manifest."""
    if len(content) > MAX_BYTES:
        raise ManifestError(f"larger than the {MAX_BYTES:,} bytes a manifest may have")
    with _speaking_of("not valid JSON"):
        document = json.loads(
            content, object_pairs_hook=_without_duplicates, parse_float=_finite, parse_constant=_finite
        )
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
    return {name: _entry(name, value) for name, value in document["models"].items()}


def _entry(name, value):
    if not _matches(MODEL_NAME)(name):
        raise ManifestError(f"entry {_brief(name)}: names are lower-case letters, digits and dashes")
    with _speaking_of(f"entry {name!r}"):
        return Entry.from_json(value)


def _without_duplicates(pairs):
    if len(dict(pairs)) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ManifestError(f"the key {_brief(twice)} appears twice in one object")
    return dict(pairs)


def _finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise ManifestError(f"the number {_brief(text)} is not finite")
    return number


def _nearest(name, known):
    near = difflib.get_close_matches(name[:100].lower(), known, 1) if isinstance(name, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def _brief(value):
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # thousands of digits, or of nested lists
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
