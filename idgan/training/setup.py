"""Setup that runs, cost estimates and benchmarks share: PyTorch's global state, initial weights, and batches."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext

import torch

from idgan.data import Batches, Dataset
from idgan.errors import InvalidInputError
from idgan.memory import kept_memory
from idgan.recipes import Recipe
from idgan.rng import seeded_rng
from idgan.training.distributed import process_group

__all__ = ["STAGES", "batches_of", "check_images", "cpu_settings", "library_defaults", "seeded"]

STAGES = ("vae", "gan")
"""Names of the stages in the order of training."""


@contextmanager
def cpu_settings(threads: int | None = None) -> Iterator[None]:
    """Use `threads` CPU threads (None: no change), flush denormals to zero, and keep freed memory for the next step.

    Denormals are slow. See `kept_memory` for the rest.
    """
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads or before)
    try:
        with kept_memory():
            yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


@contextmanager
def library_defaults() -> Iterator[None]:
    """Turn gradients on, and set PyTorch's default dtype to float32 and its default device to the CPU.

    A caller's `torch.no_grad`, `set_default_dtype` or `set_default_device` therefore has no influence on a result.
    """
    dtype = torch.get_default_dtype()
    on_cpu = torch.empty(0).device.type == "cpu"
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad(), nullcontext() if on_cpu else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Start PyTorch's global generator from `seed`, for initial weights and random layers. Restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(seeded_rng(seed).get_state())
        yield


def check_images(recipe: Recipe, dataset: Dataset, stages: Collection[str]) -> None:
    """Check that the networks of `recipe` take the images of `dataset`.

    Stage 1 takes images of any size, because it resizes them. Stage 2 compares them with images of the generator.

    Args:
        stages: the stages to train, "vae" and "gan".

    Raises:
        InvalidInputError: the networks are for images with another number of channels or, in stage 2, of another size.
    """
    channels, side = dataset.image_channels, dataset.resolution
    for part in ("vae", "generator") if "gan" in stages else ("vae",):
        expected = getattr(recipe, part).image_channels
        if channels != expected:
            raise InvalidInputError(
                f"the images of the data set have {channels} channels, and the {part} of recipe {recipe.name} is for "
                f"{expected}. Use a recipe or images with the other number, or set vae.image_channels, "
                "generator.image_channels and discriminator.image_channels"
            )
    if "gan" in stages and side != recipe.generator.resolution:
        raise InvalidInputError(
            f"the images of the data set are {side}x{side}, and the generator of recipe {recipe.name} draws "
            f"{recipe.generator.resolution}x{recipe.generator.resolution}. Resize the images, or use a recipe whose "
            "generator and discriminator have their size"
        )


def batches_of(recipe: Recipe, name: str, dataset: Dataset, group: process_group) -> Batches:
    """The batches of the stage `name` for one process of `group`.

    Raises:
        InvalidInputError: the processes and their parts cannot share a batch equally.
    """
    stage = recipe.stages[name]
    return Batches(
        dataset,
        stage.batch_size,
        seed=len(STAGES) * recipe.seed + STAGES.index(name),
        rank=group.rank,
        world_size=group.world_size,
        parts=stage.accumulation_steps,
        flip=stage.flip,
        dequantize=stage.dequantize,
        device=group.device,
    )
