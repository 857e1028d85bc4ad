"""From a finished run to a checkpoint that others load: its manifest entry, and its place in the package."""

import json
from pathlib import Path

from idgan.errors import RunError
from idgan.files import sha256_of, write_atomically
from idgan.zoo.manifest import Entry, Manifest, Weights, package_manifest, write_entry
from idgan.zoo.weights import CHECKPOINT_FILE, read_checkpoint

__all__ = ["embed", "entry_of"]

RESULTS_FILE = "results.json"


def entry_of(run, weights):
    """The manifest `Entry` of the finished run in the directory `run`, whose file is where `weights` (a `Weights`) says.

    Description and licences are those that the package's manifest gives the recipe; everything else is read from the run.

    Raises:
        RunError: the run has no checkpoint, no results, or results of another checkpoint.
        UnknownModelError: its recipe is not in the package's manifest.
    """
    run = Path(run)
    for name in (CHECKPOINT_FILE, RESULTS_FILE):
        if not (run / name).is_file():
            raise RunError(f"{run} has no {name}: finish it with `idgan train`, and measure it with `idgan evaluate {run}`")
    results = json.loads((run / RESULTS_FILE).read_text())
    if results["sha256"] != sha256_of(run / CHECKPOINT_FILE):
        raise RunError(f"{run / RESULTS_FILE} belongs to another checkpoint; measure this one: `idgan evaluate {run}`")
    sampler = read_checkpoint(run / CHECKPOINT_FILE)
    training = sampler.info["training"]
    recipe = Manifest.read(package_manifest())[training["recipe"]]
    return Entry(
        status="released",
        description=recipe.description,
        licence=recipe.licence,
        data=recipe.data,
        resolution=sampler.resolution,
        image_channels=sampler.image_channels,
        c_dim=sampler.c_dim,
        s_dim=sampler.s_dim,
        model=sampler.config.to_dict(),
        weights=weights,
        training=training,
        metrics=results["metrics"],
    )


def embed(run, checkout):
    """Make the finished run in the directory `run` the embedded checkpoint of its recipe, in the source tree `checkout`; -> its `Entry`."""
    path = Path(run) / CHECKPOINT_FILE
    if not path.is_file():
        raise RunError(f"{run} has no {CHECKPOINT_FILE}: finish it with `idgan train`")
    content = path.read_bytes()
    name = read_checkpoint(path).info["training"]["recipe"]
    weights = Weights(file=f"{name}.safetensors", sha256=sha256_of(path), bytes=len(content), embedded=True)
    entry = entry_of(run, weights)
    write_atomically(Path(checkout) / "idgan" / "weights" / weights.file, content)
    write_entry(Path(checkout) / "weights_manifest.json", name, entry)
    return entry
