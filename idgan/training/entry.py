"""The public `train`: from a recipe to a checkpoint."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from idgan.data import Dataset, open_dataset
from idgan.errors import InvalidInputError, RunError
from idgan.files import user_path
from idgan.networks.modules import usable_device
from idgan.recipes import Recipe, apply_method, override, recipe_of
from idgan.registry import load_plugins
from idgan.training.bundle import bundle
from idgan.training.callbacks import Callback
from idgan.training.distributed import process_group
from idgan.training.run import Run
from idgan.training.setup import STAGES, check_images, cpu_settings, library_defaults

__all__ = ["check_stage", "train"]


def train(
    recipe: str | Recipe,
    out: str | Path,
    *,
    method: str = "id-gan",
    stage: str = "all",
    vae: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    data: str | Path | Dataset | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
    save_seconds: float = 60.0,
    measure: bool = True,
    compile: bool | str | Callable[..., Any] = False,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train a recipe into the directory `out`: stage 1 in `out/vae`, stage 2 in `out/gan`, then checkpoint, pictures
    and `results.json`.

    The same call resumes an interrupted run. A finished stage is not repeated. On a CPU, the result is bit-identical to
    that of an uninterrupted run, if `threads` and `compile` stay the same.

    **Data of your own.** `data` takes any object that satisfies `idgan.data.Dataset`. So does the field `data` of a
    `Recipe`.

    **Networks of your own.** A `Recipe` takes any frozen dataclass of plain values with `build()` as a network config.
    It needs these attributes:

    - `vae`: `c_dim`, `image_channels` and the `resolution` that the encoder sees. The network has `encode(x) ->
    Posterior` for x in [0, 1].
      For stage 1 it also has `decode_logits(c)`, pixel logits, and `decode(c)`, images in [0, 1].
    - `generator`: `c_dim`, `s_dim`, `image_channels` and `resolution`. The network maps cat([s, c]) to images in [-1,
    1].
    - `discriminator`: none. The network maps images in [-1, 1] to logits (N,).

    If `vae_stage` is None, the encoder is used as its `build()` returns it. If the configs are registered with
    `idgan.networks.register_network`, the run ends with a checkpoint. Otherwise it ends with `networks.safetensors`,
    from which `idgan.training.checkpoint.load_state` returns the state dicts "vae" and "generator" (the moving
    average).

    Args:
        recipe: a name (see `idgan.recipes.RECIPES`), "module:name" of a recipe of your own, or a `Recipe`.
        method: name of the method that is applied to the recipe, see `idgan.recipes.METHODS`.
        stage: "all", "vae" or "gan".
        vae: a VAE that replaces stage 1: anything `idgan.load` takes, or a run directory with a finished stage 1.
        settings: dotted path in the recipe -> value, such as {"gan_stage.steps": 5000, "seed": 1}.
        data: a path for the recipe's data set, or a `Dataset` object that replaces it.
        device: "auto" (CUDA if available), "cpu", "cuda", "cuda:1". Under torchrun, each process takes its own GPU.
        threads: CPU threads. None keeps PyTorch's number.
        progress: show the progress on stderr.
        save_seconds: seconds between two saves of the training state.
        measure: compute the metrics at the end, which takes minutes.
        compile: True compiles the networks with `torch.compile`. A string or a function is its backend. Steps with R1
            are not compiled.
        callbacks: objects whose methods are called at steps and stages, see `idgan.training.Callback`.

    Returns:
        The path of the checkpoint, which `idgan.load` takes. With stage "vae", or with networks that are not
        registered, the path of the directory.

    Raises:
        UnknownModelError, InvalidInputError: unknown recipe, method, setting or stage, or networks that do not fit each
            other or the images.
        RunMismatchError: `out` holds a run with other settings or other data. The message lists the differences.
        RunError: `out` holds something else, or a file of the run is damaged.
        DivergedError: training has diverged. The last saved state is intact.
    """
    load_plugins()
    origin = recipe if isinstance(recipe, str) else None
    parent = recipe_of(recipe) if isinstance(recipe, str) else recipe
    parent, files = with_data(parent, data)
    chosen = override(apply_method(parent, method), settings or {})
    check_stage(chosen, stage, vae)
    out = user_path(out)
    _check_writable(out)
    with cpu_settings(threads), library_defaults():
        dataset = open_dataset(chosen.data, files)
        check_images(chosen, dataset, chosen.stages if stage == "all" else (stage,))
        with process_group(usable_device(device)) as group:
            run = Run(
                chosen,
                out,
                dataset,
                group,
                vae=vae,
                origin=origin,
                data=files,
                progress=progress,
                save_seconds=save_seconds,
                compile=compile,
                callbacks=callbacks,
            )
            if vae is None and stage in ("all", "vae") and "vae" in chosen.stages:
                run.train_vae()
            if stage == "vae":
                return run.out
            run.take_vae()
            if "gan" in chosen.stages:
                run.train_gan()
        if group.rank == 0:
            bundle(run, measure)
        return run.result


def with_data(recipe: Recipe, data: str | Path | Dataset | None) -> tuple[Recipe, str | Path | None]:
    """`recipe` with `data` as its data set if that is a `Dataset` object, and the path of the files if it is a path.

    Raises:
        InvalidInputError: `data` is no data set, or a path for a recipe that has a `Dataset` object.
    """
    if data is not None and not isinstance(data, (str, Path)):
        return replace(recipe, data=data), None
    if data is not None and not isinstance(recipe.data, str):
        kind = type(recipe.data).__name__
        raise InvalidInputError(
            f"data is {str(data)!r}, but recipe {recipe.name} has a {kind} object, which needs no path"
        )
    return recipe, data


def _check_writable(out: Path) -> None:
    """Check that the directory `out` can be created and written, before anything else takes time.

    Raises:
        RunError: it cannot.
    """
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise RunError(f"{out} cannot be a run directory, because {existing} is a file; choose another directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RunError(f"{out} cannot be written, because {existing} is read-only; choose another directory")


def check_stage(recipe: Recipe, stage: str, vae: str | Path | None = None) -> None:
    """Check that `recipe` has the `stage`, and that a given `vae` leaves something to train.

    Raises:
        InvalidInputError: it does not.
    """
    if stage not in ("all", *STAGES):
        raise InvalidInputError(f"stage must be all, {' or '.join(STAGES)}, got {stage!r}")
    if stage != "all" and stage not in recipe.stages:
        (only,) = recipe.stages
        raise InvalidInputError(f"this method has no stage {stage!r}; its only stage is {only!r}")
    if vae is not None and (stage == "vae" or len(recipe.stages) < 2):
        left = "stage 'vae' has nothing left to train" if stage == "vae" else "this method has no stage 2"
        raise InvalidInputError(f"the VAE {vae} replaces stage 1, but {left}")
