"""The file of a checkpoint's results: written after each metric, so that measuring can be interrupted and continued."""

import json
import warnings
from itertools import count
from pathlib import Path

from idgan.errors import InvalidInputError
from idgan.evaluation.measure import measure
from idgan.files import sha256_of, write_atomically
from idgan.metrics import MetricResult

__all__ = ["measure_into", "read_results", "write_results"]


def measure_into(path, name, checkpoint, sampler, dataset, metrics=None, **options):
    """Yield what `measure` does, and keep all results of the `checkpoint` file, called `name`, in the JSON file `path`.

    Results that the file holds already are not measured again where all that determines them is the same: data, samples, seed, extractor,
    version. Where it is not, the new one takes the place of the old; results of metrics that are not asked for stay. Results of another
    checkpoint of that name, with another hash, are set aside: see `write_results`. `options`: those of `measure`.

    Raises:
        InvalidInputError: `path` holds something else, or results of another checkpoint of another name.
    """
    sha256 = sha256_of(checkpoint)
    kept = read_results(path, name, sha256)
    for result in measure(sampler, dataset, metrics, known=tuple(kept), **options):
        if result not in kept:
            kept = [old for old in kept if _slots(old).isdisjoint(_slots(result))] + [result]
            write_results(path, name, sha256, kept)
        yield result


def read_results(path, name, sha256):
    """The results (a list of `MetricResult`) that the file at `path` holds of the checkpoint of that hash; none if there is no file."""
    path = Path(path)
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text())
        results, owner = [MetricResult(**result) for result in found["metrics"]], found["name"]
        same = found["sha256"] == sha256
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInputError(
            f"{path} holds no results of this package; choose another file, or delete it to start again"
        ) from error
    if not same and owner != name:
        raise InvalidInputError(f"{path} holds the results of {owner}, not of {name}; choose another file")
    return results if same else []


def write_results(path, name, sha256, results):
    """Write `results`, of the checkpoint `name` whose file has the hash `sha256`, to `path` as JSON, atomically.

    A file that is there and is not of that hash is first copied to a free name beside it, results.1.json for results.json, with a warning.
    """
    path = Path(path)
    if path.exists() and not _is_of(path, sha256):
        aside = next(free for n in count(1) if not (free := path.with_name(f"{path.stem}.{n}{path.suffix}")).exists())
        write_atomically(aside, path.read_bytes())
        warnings.warn(
            f"{path} held the results of another checkpoint file of that name; they are now in {aside}", stacklevel=3
        )
    content = {"name": name, "sha256": sha256, "metrics": [result.to_dict() for result in results]}
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def _is_of(path, sha256):
    """Whether the file at `path` says that it is of the checkpoint of that hash."""
    try:
        return json.loads(path.read_text())["sha256"] == sha256
    except (ValueError, TypeError, KeyError):
        return False


def _slots(result):
    """What a file holds one result of: a metric under a prior on some features; for a result that does not say, a name and protocol."""
    request = result.details.get("request", {})
    asked = tuple(request.get(part) for part in ("metric", "prior", "extractor"))
    return {(result.name, result.protocol), *([asked] if request else [])}
