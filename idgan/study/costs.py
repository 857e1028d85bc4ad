"""The time that the missing runs of a study take on this machine."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from idgan.recipes import Recipe
from idgan.study.study import Study
from idgan.training.estimate import Noise, cost_of, largest_batch, seconds_per_step

__all__ = ["flop_rate", "plan_of", "training_flops", "training_seconds"]


def plan_of(study: Study, make: Callable[[Study], Iterable[Any]]) -> Study:
    """A copy of `study` that trains and measures nothing, after `make` asked it for its runs.

    Its `absent`, `needed` and `extractors` say what `make` will train, whose data sets it will read, and which features
    it will compute.
    """
    reader = Study(study.scale, study.out.parent, study.seeds, study.data, study.extractor, train=False)
    for _ in make(reader):
        pass
    return reader


def training_flops(recipe: Recipe) -> float:
    """Operations of all stages of `recipe`."""
    return sum(stage.steps * cost_of(recipe, name).flops for name, stage in recipe.stages.items())


def flop_rate(recipe: Recipe, device: str | torch.device) -> float | None:
    """Operations per second in a step of the last stage of `recipe` on `device`, measured in seconds.

    Returns:
        None if not even an image at a time fits into the memory.
    """
    name, stage = list(recipe.stages.items())[-1]
    cost = cost_of(recipe, name)
    timed = largest_batch(recipe, name, cost, device)
    if timed is None:
        return None
    share = timed.stages[name].batch_size / stage.batch_size
    return share * cost.flops / seconds_per_step(timed, name, Noise(timed), device)


def training_seconds(runs: Mapping[Path, Recipe], device: str | torch.device) -> float | None:
    """Seconds that training all `runs` takes on `device`, without metrics.

    One rate is measured for each recipe, at the run with the most operations. The operations of all its runs are
    counted.

    Returns:
        None if a run does not fit into the memory.
    """
    flops: dict[str, dict[Path, float]] = {}
    for path, recipe in runs.items():
        flops.setdefault(recipe.name, {})[path] = training_flops(recipe)
    seconds = 0.0
    for each in flops.values():
        rate = flop_rate(runs[max(each, key=each.__getitem__)], device)
        if rate is None:
            return None
        seconds += sum(each.values()) / rate
    return seconds
