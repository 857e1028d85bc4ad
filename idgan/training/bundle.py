"""The end of a run: one checkpoint file that loads, pictures, and measured results."""

import os
import platform
import shlex
import warnings

import torch

from idgan import __version__
from idgan.errors import CheckpointError
from idgan.evaluation.results import measure_into
from idgan.figures import sample_sheet, traversal_sheet
from idgan.files import sha256_of
from idgan.images import save_png
from idgan.metrics.result import installed
from idgan.recipes import RECIPES, describe, method_of, recipe_of
from idgan.training.checkpoint import save_state
from idgan.training.precision import has_bf16
from idgan.zoo.weights import read_checkpoint, write_checkpoint

__all__ = ["bundle"]

NETWORKS_FILE = "networks.safetensors"
SAMPLES = 10_000
"""Images behind a Fréchet distance at the end of a run, which should take about a minute; `idgan evaluate` takes the paper's 50,000."""


def bundle(run, measure=True):
    """Write a finished run's checkpoint, `samples.png`, `traversals.png` and, with `measure`, `results.json`.

    Its golden vectors are computed on the CPU. What is drawn and measured is what the file gives back. An encoder or a decoder that has not
    been trained is named in the checkpoint's `info["training"]["untrained"]` and is not measured. A run with networks that are not the
    package's gets `networks.safetensors` and `samples.png` instead, and a warning that says so.

    Bundled again, a run leaves its checkpoint as it is if nothing in it would differ (see `holds`), and what was measured of it on as many
    samples or more is not measured again.
    """
    if not run.config.of_the_package:
        keep_networks(run)
        return
    recipe = run.recipe
    training = {
        "recipe": recipe.name,
        "method": derivation(recipe)[0],
        "untrained": run.untrained(),
        "command": command_of(recipe, run.history.get("vae", {}).get("from"), run.given),
        "settings": run.settings,
        "seed": recipe.seed,
        "images": len(run.dataset),
        "data": run.given,
        "steps": {name: stage["steps"] for name, stage in run.history.items()},
        "stages": run.history,
        "wall_time_seconds": sum(stage["seconds"] for stage in run.history.values()),
        "versions": versions(),
        "hardware": hardware(run.group),
    }
    info = {"name": recipe.name, "data": recipe.data, "training": training}
    made, path = run.sampler(info=info).cpu(), run.result
    if not holds(path, made):
        write_checkpoint(path, made)
    sampler = read_checkpoint(path).to(run.group.device)
    save_png(sample_sheet(sampler, *sampler.codes(64, seed=0)), run.out / "samples.png")
    save_png(traversal_sheet(sampler, seed=0), run.out / "traversals.png")
    if measure:
        options = {"samples": SAMPLES, "accept_more_samples": True, "progress": run.progress}
        list(measure_into(run.out / "results.json", recipe.name, sha256_of(path), sampler, run.dataset, **options))


def holds(path, sampler):
    """Whether the checkpoint at `path` has the networks of `sampler` to the bit, the same bank, and was made by the same recipe.

    When and on what it was made may differ, and the bank by rounding: it is encoded anew, on other hardware or another number of threads.
    """
    try:
        there = read_checkpoint(path)
    except (FileNotFoundError, CheckpointError):
        return False
    if _made_by(sampler) != _made_by(there) or sampler.bank.mean.shape != there.bank.mean.shape:
        return False
    weights = there.state_dict()
    same = all(torch.equal(tensor, weights[name]) for name, tensor in sampler.state_dict().items())
    pairs = ((getattr(sampler.bank, part), getattr(there.bank, part)) for part in ("mean", "logvar"))
    return same and all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs)


def _made_by(sampler):
    """The recipe of `sampler`, as its file can tell it. (All other settings are the run directory's, which holds a run to them.)"""
    info, training = sampler.info, sampler.info.get("training", {})
    return [
        sampler.config,
        info.get("name"),
        info.get("data"),
        *map(training.get, ("recipe", "method", "untrained", "seed", "images", "steps")),
    ]


def keep_networks(run):
    """Write the networks of a finished run as they are, and a picture of them: for those that no checkpoint can hold."""
    save_state(run.out / NETWORKS_FILE, {"vae": run.vae.state_dict(), "generator": run.generator.state_dict()})
    save_png(run.picture(), run.out / "samples.png")
    kinds = " and ".join(type(config).__name__ for config in (run.recipe.vae, run.recipe.generator))
    warnings.warn(
        f"a checkpoint holds only the package's networks, and these are of {kinds}: "
        f"their weights are in {run.out / NETWORKS_FILE}, for idgan.training.checkpoint.load_state",
        stacklevel=3,
    )


def derivation(recipe):
    """The method that `recipe` is, and the settings in which it differs from what that method makes of the published recipe of its name.

    Returns:
        (name, dotted path -> value); the name is None where no method is like it, or no recipe of that name is published.
    """
    if recipe.name not in RECIPES:
        return None, {}
    published = recipe_of(recipe.name)
    there = describe(published)
    return method_of(recipe, published) or (
        None,
        {path: value for path, value in describe(recipe).items() if there.get(path) != value},
    )


def command_of(recipe, vae=None, data=None):
    """The command that trains `recipe`, on the `vae` of a run or checkpoint and on images given as `data`: its method, and every setting that
    differs from the published."""
    method, changes = derivation(recipe)
    parent = method in (None, "id-gan")
    words = [
        f"idgan train {recipe.name}",
        f"--out runs/{recipe.name}" if parent else f"--method {method} --out runs/{recipe.name}-{method}",
    ]
    words += [f"--{option} {shlex.quote(str(value))}" for option, value in (("vae", vae), ("data", data)) if value]
    return " ".join(words + [f"--set {path}={value}" for path, value in changes.items()])


def versions():
    """What the run ran with: name -> version of this package, of Python, and of the libraries that the result may depend on."""
    return {
        "idgan": __version__,
        "python": platform.python_version(),
        **installed("torch", "torchvision", "numpy", "safetensors"),
    }


def hardware(group):
    """What the run ran on, in a line; "no bf16" where fp32 took its place."""
    precision = "" if has_bf16(group.device) else ", no bf16"
    if group.device.type == "cuda":
        return f"{group.world_size} x {torch.cuda.get_device_name(group.device)}{precision}"
    threads, instructions = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {threads} threads, {instructions}{precision}"
