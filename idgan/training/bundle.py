"""The end of a run: one checkpoint file that loads, pictures, measured results, and its manifest entry."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from idgan import __version__
from idgan.figures import sample_sheet, traversal_sheet
from idgan.files import sha256_of, write_atomically
from idgan.images import save_png
from idgan.recipes import RECIPES, describe, recipe_of
from idgan.training.evaluation import evaluate
from idgan.training.loop import has_bf16
from idgan.zoo.weights import CHECKPOINT_FILE, read_checkpoint, write_checkpoint

__all__ = ["bundle"]


def bundle(run, measure=True):
    """Write a finished run's checkpoint, `samples.png`, `traversals.png` and, with `measure`, `results.json`; -> path of the checkpoint.

    Its golden vectors are computed on the CPU. What is drawn and measured is what the file gives back.
    """
    recipe = run.recipe
    training = {
        "recipe": recipe.name,
        "command": command_of(recipe, run.history["vae"].get("from")),
        "settings": run.settings,
        "seed": recipe.seed,
        "steps": {name: stage["steps"] for name, stage in run.history.items()},
        "stages": run.history,
        "wall_time_seconds": sum(stage["seconds"] for stage in run.history.values()),
        "versions": versions(),
        "hardware": hardware(run.group),
    }
    info = {"name": recipe.name, "data": recipe.data, "training": training}
    path = write_checkpoint(run.out / CHECKPOINT_FILE, run.sampler(info=info).cpu())
    sampler = read_checkpoint(path).to(run.group.device)
    save_png(sample_sheet(sampler, *sampler.codes(64, seed=0)), run.out / "samples.png")
    save_png(traversal_sheet(sampler, seed=0), run.out / "traversals.png")
    if measure:
        results = [result.to_dict() for result in evaluate(sampler, run.source, progress=run.progress)]
        write_results(run.out / "results.json", recipe.name, path, results)
    return path


def command_of(recipe, vae=None):
    """The command that trains `recipe`, on the `vae` of a run or checkpoint: with every setting in which it differs from the published one."""
    settings = describe(recipe)
    published = describe(recipe_of(recipe.name)) if recipe.name in RECIPES else settings
    changes = [f"--set {path}={value}" for path, value in settings.items() if published.get(path) != value]
    return " ".join([f"idgan train {recipe.name} --out runs/{recipe.name}", *([f"--vae {vae}"] if vae else []), *changes])


def write_results(path, name, checkpoint, results):
    """Write metric results (dicts) of the checkpoint file to `path` as JSON, atomically."""
    write_atomically(path, json.dumps({"name": name, "sha256": sha256_of(checkpoint), "metrics": results}, indent=2) + "\n")


def versions():
    """What the run ran with: name -> version of this package, of Python, and of the libraries that the result may depend on."""
    libraries = {name: _version(name) for name in ("torch", "torchvision", "numpy", "safetensors")}
    return {"idgan": __version__, "python": platform.python_version(), **libraries}


def hardware(group):
    """What the run ran on, in a line; "no bf16" where fp32 took its place."""
    precision = "" if has_bf16(group.device) else ", no bf16"
    if group.device.type == "cuda":
        return f"{group.world_size} x {torch.cuda.get_device_name(group.device)}{precision}"
    threads, instructions = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {threads} threads, {instructions}{precision}"


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
