"""The file of a checkpoint's results. It is written after each metric, so an interrupted measurement can continue."""

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from idgan.data import Dataset
from idgan.errors import InvalidInputError
from idgan.evaluation.measure import measure
from idgan.files import read_json, read_regular_file, write_atomically
from idgan.metrics import MetricResult
from idgan.sampler import Sampler

__all__ = ["RESULTS_FILE", "check_output", "measure_into", "read_results", "result_from", "write_results"]

RESULTS_FILE = "results.json"
"""Name of the file in a run directory that holds what was measured on its checkpoint."""


def measure_into(
    path: str | os.PathLike[str],
    name: str,
    sha256: str,
    sampler: Sampler,
    dataset: Dataset | None,
    metrics: str | Iterable[str] | None = None,
    **options: Any,
) -> Iterator[MetricResult]:
    """Yield what `measure` yields, and keep all results of a checkpoint in the JSON file `path`.

    A result in the file is not measured again if everything that determines it is the same: data, samples, seed,
    extractor and version. Otherwise the new result replaces it. Results of other metrics stay. Results of another file
    of the same checkpoint name are moved aside (see `write_results`).

    Args:
        path: the file. Missing parent directories are created.
        name: name of the checkpoint.
        sha256: hash of the checkpoint's file.
        options: options of `measure`.

    Raises:
        InvalidInputError: `path` cannot be written, holds something else, or holds results of another checkpoint.
    """
    check_output(path)
    kept = read_results(path, name, sha256)
    for result in measure(sampler, dataset, metrics, previous_results=tuple(kept), **options):
        if result not in kept:
            kept = [old for old in kept if _slots(old).isdisjoint(_slots(result))] + [result]
            try:
                write_results(path, name, sha256, kept)
            except OSError:
                yield result  # before the error, so that the caller gets it
                raise
        yield result


def check_output(path: str | os.PathLike[str]) -> None:
    """Check that the file `path` can be written. Missing parent directories are created.

    Raises:
        InvalidInputError: it is a directory, or its directory cannot be created or written.
    """
    path = Path(path)
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory; name a file for the results, such as {path / RESULTS_FILE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(
            f"results cannot be written to {path} ({error.strerror}); choose another file"
        ) from error


def read_results(path: str | os.PathLike[str], name: str, sha256: str) -> list[MetricResult]:
    """The results in the file `path` of the checkpoint with hash `sha256`. Empty if there is no file.

    Raises:
        InvalidInputError: the file is damaged, holds something else, or results of another checkpoint name.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        found = read_json(path)
        results = [result_from(item) for item in found["metrics"]]
        owner, same = found["name"], found["sha256"] == sha256
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInputError(
            f"{path} holds no results of this package, or is damaged; choose another file, or delete it to start again"
        ) from error
    if not same and owner != name:
        raise InvalidInputError(f"{path} holds the results of {owner}, not of {name}; choose another file")
    return results if same else []


def result_from(item: dict[str, Any]) -> MetricResult:
    """A `MetricResult` from its dict in a file.

    Raises:
        TypeError, ValueError: a field is missing, unknown or of another type.
    """
    result = MetricResult(**item)
    if not (isinstance(result.details, dict) and isinstance(result.details.get("request", {}), dict)):
        raise TypeError("details must be an object")
    texts = isinstance(result.name, str) and isinstance(result.protocol, str)
    if not texts or isinstance(result.value, bool) or not isinstance(result.value, (int, float)):
        raise TypeError("name and protocol must be text, value a number")
    if result.details.get("request", {}).get("prior") == "posterior":  # its name in older versions
        result.details["request"]["prior"] = "aggregated"
    return result


def write_results(path: str | os.PathLike[str], name: str, sha256: str, results: Iterable[MetricResult]) -> None:
    """Write `results` of the checkpoint `name`, with file hash `sha256`, to `path` as JSON, atomically.

    A file of another hash is first copied to a new file, such as results.1.json, with a warning.
    """
    path = Path(path)
    if path.exists() and not _is_of(path, sha256):
        aside = next(free for n in count(1) if not (free := path.with_name(f"{path.stem}.{n}{path.suffix}")).exists())
        write_atomically(aside, read_regular_file(path))
        warnings.warn(
            f"{path} held the results of another checkpoint file of that name; they are now in {aside}", stacklevel=3
        )
    content = {"name": name, "sha256": sha256, "metrics": [result.to_dict() for result in results]}
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def _is_of(path: Path, sha256: str) -> bool:
    """Whether the file at `path` holds results of the checkpoint with hash `sha256`."""
    try:
        return bool(read_json(path)["sha256"] == sha256)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _slots(result: MetricResult) -> set[tuple[Any, ...]]:
    """Keys of a result: (name, protocol), and (metric, prior, extractor) if known. A file has one result per key."""
    request = result.details.get("request", {})
    asked = tuple(request.get(part) for part in ("metric", "prior", "extractor"))
    return {(result.name, result.protocol), *([asked] if request else [])}
