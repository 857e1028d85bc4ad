"""The weights manifest: every checkpoint by name. docs/manifest.md describes the schema."""

import fnmatch
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idgan.errors import InvalidInputError, ManifestError, UnknownModelError
from idgan.files import read_regular_file, write_atomically
from idgan.zoo.entries import Entry
from idgan.zoo.untrusted import MAX_BYTES, brief_ascii, parse_json, prefixing_errors, suggestion

__all__ = [
    "MODEL_NAME",
    "PACKAGE",
    "SCHEMA",
    "Manifest",
    "check_name",
    "info",
    "list_models",
    "package_manifest",
    "write_entry",
]

SCHEMA = 1
PACKAGE = Path(__file__).resolve().parents[1]
MODEL_NAME = r"[a-z0-9][a-z0-9-]{0,99}"


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
        with prefixing_errors(path):
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
                f"no checkpoint is called {brief_ascii(name)}{suggestion(name, known)}; "
                f"the names are {', '.join(known)}"
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


def check_name(name: str) -> str:
    """`name`, if a manifest accepts it as the name of a model.

    Raises:
        InvalidInputError: it does not.
    """
    if not re.fullmatch(MODEL_NAME, name):
        raise InvalidInputError(
            f"{brief_ascii(name)} cannot be a name in a manifest; "
            "names have at most 100 lower-case letters, digits and dashes, and no dash first"
        )
    return name


def write_entry(path: str | os.PathLike[str], name: str, entry: Entry) -> Path:
    """Insert or replace entry `name` in the manifest file at `path`, atomically. A missing file is created.

    Returns the path.
    """
    path = Path(path)
    entries = {**(Manifest.read(path).entries if path.exists() else {}), str(name): entry}
    document = {"schema": SCHEMA, "models": {key: entries[key].to_json() for key in sorted(entries)}}
    with prefixing_errors(f"entry {brief_ascii(name)}"):
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    _parse(text.encode())  # never write what cannot be read back
    return write_atomically(path, text)


def _parse(content: bytes) -> dict[str, Entry]:
    """Entries by name from the bytes of a manifest."""
    if len(content) > MAX_BYTES:
        raise ManifestError(f"larger than the {MAX_BYTES:,} bytes a manifest may have")
    document = parse_json(content)
    if (
        not isinstance(document, dict)
        or document.keys() != {"schema", "models"}
        or not isinstance(document["models"], dict)
    ):
        raise ManifestError('a manifest is an object {"schema": ' + str(SCHEMA) + ', "models": {name: entry}}')
    if type(document["schema"]) is not int or document["schema"] != SCHEMA:
        raise ManifestError(
            f"schema {brief_ascii(document['schema'])}; "
            f"this idgan reads schema {SCHEMA}: a newer file needs a newer idgan"
        )
    return {name: _read_entry(name, value) for name, value in document["models"].items()}


def _read_entry(name: str, value: object) -> Entry:
    try:
        check_name(name)
    except InvalidInputError as error:
        raise ManifestError(str(error)) from error
    with prefixing_errors(f"entry {name!r}"):
        return Entry.from_json(value)


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
        raise InvalidInputError(f'pattern must be text such as "celeba*", got {brief_ascii(pattern)}')
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
