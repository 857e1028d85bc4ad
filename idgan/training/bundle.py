"""The end of a run: one checkpoint file, pictures, and measured results."""

import os
import platform
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from idgan import __version__
from idgan.data import DATASETS, Dataset
from idgan.errors import CheckpointError
from idgan.evaluation.dim_names import factor_names
from idgan.evaluation.results import RESULTS_FILE, measure_into
from idgan.figures import sample_sheet, traversal_sheet
from idgan.files import sha256_of
from idgan.images import default_batch_size, save_png
from idgan.metrics.result import installed
from idgan.networks import NETWORKS
from idgan.record import TrainingRecord
from idgan.registry import Registry
from idgan.sampler import Sampler
from idgan.training.checkpoint import save_state
from idgan.training.command import command_of, derivation, public_path
from idgan.training.distributed import process_group
from idgan.training.precision import has_bf16
from idgan.zoo.weights import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from idgan.training.run import Run

__all__ = ["NETWORKS_FILE", "bundle", "hardware", "is_same_checkpoint", "record_of", "save_networks", "versions"]

NETWORKS_FILE = "networks.safetensors"
SAMPLES = 10_000
"""Images for a Fréchet distance at the end of a run, which takes about a minute.

`idgan evaluate` takes the paper's 50,000. Where drawing them takes too long, it is a tenth or a hundredth.
"""
MAX_SECONDS = 1200.0
"""Longest time for drawing `SAMPLES` images and reading their codes. Each metric of images does that once."""


def bundle(run: "Run", measure: bool = True) -> None:
    """Write the checkpoint of a finished run, with names of its code dimensions if the data set has factors.

    Also writes `samples.png`, `traversals.png` and, with `measure`, `results.json`.

    Pictures and results are those of the written file. Its golden vectors are computed on the CPU. Untrained parts of
    the VAE are named in the record and not measured. A run with networks that are not registered gets
    `networks.safetensors` and `samples.png` instead, with a warning.

    An existing checkpoint stays as it is if it is the same (see `is_same_checkpoint`). Results of as many samples or
    more are kept too.
    """
    if run.result == run.out:
        save_networks(run)
        return
    info = {"name": run.recipe.name, "data": dataset_name(run.recipe.data), "training": record_of(run).to_dict()}
    sampler, path = run.sampler(info=info).cpu(), run.result
    if not is_same_checkpoint(path, sampler):
        if "encoder" not in sampler.untrained and run.dataset.factors is not None:
            sampler.info["dims"] = factor_names(sampler.vae, run.dataset, sampler.active_dims)
        write_checkpoint(path, sampler)
    sampler = read_checkpoint(path).to(run.group.device)
    save_png(sample_sheet(sampler, *sampler.codes(64, seed=0)), run.out / "samples.png")
    save_png(traversal_sheet(sampler, seed=0), run.out / "traversals.png")
    if measure:
        samples = affordable_samples(sampler)
        if samples < SAMPLES:
            warnings.warn(
                f"metrics are measured on {samples:,} images, because {SAMPLES:,} take more than "
                f"{MAX_SECONDS / 60:.0f} minutes each time on this device. For more: idgan evaluate {run.out}",
                stacklevel=2,
            )
        options: dict[str, Any] = {"samples": samples, "accept_more_samples": True, "progress": run.progress}
        list(measure_into(run.out / RESULTS_FILE, run.recipe.name, sha256_of(path), sampler, run.dataset, **options))


def affordable_samples(sampler: Sampler, max_seconds: float = MAX_SECONDS) -> int:
    """`SAMPLES`, a tenth or a hundredth of it: the most images that are drawn and read in `max_seconds`.

    The time of one batch is measured twice, and the shorter counts. A method without an encoder only draws.
    """
    c, s = sampler.codes(default_batch_size(sampler.resolution), seed=0)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        for images in sampler.render(c, s):
            if "encoder" not in sampler.untrained:
                images = sampler.posterior(images).mean
            images.cpu()  # waits for a GPU
        seconds.append(time.perf_counter() - started)
    for samples in (SAMPLES, SAMPLES // 10):
        if min(seconds) / len(c) * samples <= max_seconds:
            return samples
    return SAMPLES // 100


def record_of(run: "Run") -> TrainingRecord:
    """How a finished run was trained. Private paths are reduced to their last component."""
    recipe = run.recipe
    stages = {name: dict(stage) for name, stage in run.history.items()}
    origin = stages.get("vae", {}).get("from")
    if origin:
        stages["vae"]["from"] = public_path(origin)
    settings = {path: public_path(value) if isinstance(value, str) else value for path, value in run.settings.items()}
    return TrainingRecord(
        recipe=recipe.name,
        method=derivation(recipe, run.origin)[0],
        untrained=run.untrained(),
        command=command_of(recipe, origin=run.origin, vae=origin, data=run.data),
        settings=settings,
        identity=run.objective_identity() or None,
        seed=recipe.seed,
        images=len(run.dataset),
        data=run.data and public_path(run.data),
        steps={name: stage["steps"] for name, stage in stages.items()},
        stages=stages,
        wall_time_seconds=sum(stage["seconds"] for stage in stages.values()),
        versions=versions(),
        hardware=hardware(run.group),
        eyes=getattr(run.dataset, "eyes", None),
    )


def dataset_name(data: str | Dataset) -> str | None:
    """The name of a recipe's data set. For an object, the registered name of its class, or None."""
    if isinstance(data, str):
        return data
    return DATASETS.name_of(type(data)) if isinstance(DATASETS, Registry) else None


def is_same_checkpoint(path: Path, sampler: Sampler) -> bool:
    """Whether the checkpoint at `path` has the bits of the networks of `sampler`, the same bank, and the same recipe.

    Time and hardware may differ. The bank may differ by rounding, because other hardware or another number of threads
    encodes it differently.
    """
    try:
        stored = read_checkpoint(path)
    except (FileNotFoundError, CheckpointError):
        return False
    if _identity(sampler) != _identity(stored) or sampler.bank.mean.shape != stored.bank.mean.shape:
        return False
    weights = stored.state_dict()
    same = all(torch.equal(tensor, weights[name]) for name, tensor in sampler.state_dict().items())
    pairs = ((getattr(sampler.bank, part), getattr(stored.bank, part)) for part in ("mean", "logvar"))
    return same and all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs)


def _identity(sampler: Sampler) -> list[Any]:
    """What made `sampler`, as its file records it. The run directory holds a run to all other settings."""
    record = TrainingRecord.from_dict(sampler.info.get("training"))
    fields = (record.recipe, record.method, record.untrained, record.seed, record.images, record.steps)
    return [sampler.config, sampler.info.get("name"), sampler.info.get("data"), *fields]


def save_networks(run: "Run") -> None:
    """Write the state dicts of networks that a checkpoint cannot hold, and a picture, with a warning that says why."""
    path = run.out / NETWORKS_FILE
    networks = {"vae": run.vae, "generator": run.generator, "nuisance_encoder": run.nuisance_encoder}
    save_state(path, {part: network.state_dict() for part, network in networks.items() if network is not None})
    save_png(run.picture(), run.out / "samples.png")
    configs = (run.recipe.vae, run.recipe.generator)
    if unregistered := [type(config).__name__ for config in configs if NETWORKS.name_of(type(config)) is None]:
        reason = f"{' and '.join(unregistered)} must be registered with idgan.networks.register_network"
    else:
        reason = f"the generator is the decoder of {type(run.recipe.vae).__name__}, which has no as_generator()"
    warnings.warn(
        f"no {run.out / 'model.safetensors'} was written: {reason}. "
        f"The weights are in {path}, for idgan.training.checkpoint.load_state",
        stacklevel=3,
    )


def versions() -> dict[str, str]:
    """Name -> version of this package, of Python, and of libraries that influence the result."""
    return {
        "idgan": __version__,
        "python": platform.python_version(),
        **installed("torch", "torchvision", "numpy", "safetensors"),
    }


def hardware(group: process_group) -> str:
    """The hardware in one line. "no bf16" means that fp32 replaces bf16."""
    precision = "" if has_bf16(group.device) else ", no bf16"
    if group.device.type == "cuda":
        return f"{group.world_size} x {torch.cuda.get_device_name(group.device)}{precision}"
    threads, instructions = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {threads} threads, {instructions}{precision}"
