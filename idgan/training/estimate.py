"""The cost of training a recipe: parameters, floating-point operations, memory and time. Nothing is written."""

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from idgan.data import Dataset
from idgan.objectives import Objective
from idgan.recipes import Recipe, Stage, override
from idgan.training.distributed import process_group
from idgan.training.loop import Trainer, gradients, phases_at
from idgan.training.precision import float32_products
from idgan.training.setup import batches_of, library_defaults, seeded

__all__ = ["Cost", "Noise", "cost_of", "largest_batch", "objective_of", "parameters_of", "seconds_per_step"]

MAX_SECONDS = 10.0
"""A step is not timed again after this time."""
REPEATS = 5
MEMORY_SHARE = 0.5
"""Share of the free memory that tensors may take. A process on a CPU took up to twice the size of its tensors."""


class Noise(Dataset):
    """A data set of uniform noise in the shape of a recipe's images. It replaces a data set that is not available."""

    def __init__(self, recipe: Recipe) -> None:
        self.resolution = recipe.generator.resolution
        self.image_channels = recipe.vae.image_channels
        self._images = torch.empty(0)

    def __len__(self) -> int:
        return 10_000

    def images(self, indices: torch.Tensor, rng: torch.Generator | None = None) -> torch.Tensor:
        """The same noise for all `indices`. It is kept, so that a timed step does not make it again."""
        if (len(self._images), self._images.device) != (len(indices), indices.device):
            shape = (len(indices), self.image_channels, self.resolution, self.resolution)
            with seeded(0):
                self._images = torch.rand(shape, device=indices.device)
        return self._images


def objective_of(recipe: Recipe, name: str) -> Any:
    """The objective of the stage `name` on networks with random weights."""
    with seeded(recipe.seed):
        vae, generator, discriminator = (recipe.build(part) for part in ("vae", "generator", "discriminator"))
        return recipe.build_objective(name, vae, generator, discriminator)


@library_defaults()
def parameters_of(recipe: Recipe) -> dict[str, int]:
    """Network -> number of parameters, in the order of training, for the networks that a stage of `recipe` uses."""
    with torch.device("meta"):
        objectives = [objective_of(recipe, name) for name in recipe.stages]
    return {
        name: sum(p.numel() for p in network.parameters())
        for objective in objectives
        for name, network in _networks(objective)
    }


def _networks(objective: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in objective.named_children():
        if isinstance(child, Objective):
            yield from _networks(child)
        else:
            yield name, child


# ------------------------------------------------------------------ operations and memory


@dataclass(frozen=True)
class Cost:
    """The cost of a step of a stage.

    Attributes:
        flops: operations of matrix products and convolutions, where a multiplication with its addition counts two. They
            include all phases, forward and backward (R1 backward twice). The value is a mean over steps with R1 and
            without.
        memory: maximum bytes of tensors at one time, in float32: weights, gradients, moments, moving average, images
            and values for the backward pass. Libraries, kernels, images read ahead and the program itself need more.
        fixed: the part of `memory` that does not depend on the batch size.
    """

    flops: float
    memory: int
    fixed: int


@library_defaults()
def cost_of(recipe: Recipe, name: str) -> Cost:
    """The `Cost` of the stage `name`, from the shapes of everything that its phases compute. Nothing is computed."""
    stage = recipe.stages[name]
    with torch.device("meta"):
        objective = objective_of(recipe, name).train()
    batches = batches_of(recipe, name, Noise(recipe), process_group("meta"))
    fixed = sum(tensor.nbytes for tensor in objective.state_dict().values())
    for phase in objective.phases:
        fixed += (1 + _moments(stage.optimizers[phase])) * sum(p.nbytes for p in objective.parameters_of(phase))
    if stage.ema_decay:
        fixed += sum(tensor.nbytes for tensor in objective.generator.state_dict().values())

    interval = _r1_interval(stage)
    start = _first_full_step(objective, stage)
    flops, memory = [], []
    for step in (start + kind for kind in _kinds_of_steps(interval)):
        objective.zero_grad()
        with _Shapes() as shapes:
            batch = batches(step)
            parts = batch.split(stage.accumulation_steps)
            for phase in objective.phases:
                gradients(objective, phase, parts, objective.parameters_of(phase))
        flops.append(shapes.flops)
        memory.append(shapes.maximum)
    gradient_bytes = sum(p.grad.nbytes for p in objective.parameters() if p.grad is not None)
    return Cost(_mean(flops, interval), fixed - gradient_bytes + max(memory), fixed)


def _r1_interval(stage: Stage) -> int:
    """Interval in steps between R1 penalties. 1 if R1 is off or at every step."""
    return getattr(stage.objective, "r1_interval", 1) if getattr(stage.objective, "r1_weight", 0) > 0 else 1


def _kinds_of_steps(interval: int) -> tuple[int, ...]:
    """One step of each kind: with R1, and without if there are such steps."""
    return (0, 1) if interval > 1 else (0,)


def _mean(values: Sequence[float], interval: int) -> float:
    """Mean over steps. `values[0]` is for every `interval`-th step, `values[-1]` for all others."""
    return (values[0] + (interval - 1) * values[-1]) / interval


def _moments(optimizer: Any) -> int:
    """Number of tensors of a parameter's size that an optimizer keeps for the parameter."""
    parameter = nn.Parameter(torch.zeros(3))
    built = optimizer.build([parameter])
    parameter.grad = torch.zeros(3)
    built.step()
    return sum(tensor.shape == parameter.shape for tensor in built.state[parameter].values())


class _Shapes(TorchDispatchMode):
    """Counts operations like `torch.utils.flop_counter`, and the bytes of tensors that are created inside.

    `FlopCounterMode` of that module follows modules and fails at the gradient within R1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.current = self.maximum = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if (count := flop_registry.get(function.overloadpacket)) is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self.current += size
            self.maximum = max(self.maximum, self.current)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.current -= size


# ------------------------------------------------------------------ time


@library_defaults()
def seconds_per_step(
    recipe: Recipe,
    name: str,
    dataset: Dataset,
    device: str | torch.device,
    *,
    compile: bool | str | Callable[..., Any] = False,
) -> float:
    """Seconds of a step of the stage `name` on `device`, as a mean over steps with R1 and without.

    Each kind of step is timed up to `REPEATS` times, and the median counts. The first step warms up and does not count,
    unless it takes more than `MAX_SECONDS`.
    """
    stage = recipe.stages[name]
    group = process_group(device)
    batches = batches_of(recipe, name, dataset, group)
    objective = objective_of(recipe, name).to(group.device)
    trainer = Trainer(stage, objective, batches, None, identity={}, report=None, compile=compile)
    interval = _r1_interval(stage)
    start = _first_full_step(objective, stage)
    with float32_products(tf32=stage.precision == "tf32"):
        seconds = [_seconds(trainer, start + step) for step in _kinds_of_steps(interval)]
    return _mean(seconds, interval)


def _first_full_step(objective: Objective, stage: Stage) -> int:
    """The first step with R1 at which all phases run. 0 if there is none."""
    phases = list(objective.phases)
    steps = range(0, stage.steps, _r1_interval(stage))
    return next((step for step in steps if phases_at(objective, step) == phases), 0)


def _seconds(trainer: Trainer, step: int) -> float:
    times: list[float] = []
    while len(times) <= REPEATS and sum(times) < MAX_SECONDS:
        started = time.perf_counter()
        logged = trainer.train_step(trainer.batches(step))
        for phase in phases_at(trainer.objective, step):
            logged[phase].item()  # waits for a GPU
        times.append(time.perf_counter() - started)
    times = sorted(times[1:] or times)
    return times[len(times) // 2]


def largest_batch(recipe: Recipe, name: str, cost: Cost, device: str | torch.device) -> Recipe | None:
    """`recipe` with the batch of the stage `name` halved until it fits into the memory of `device`.

    Args:
        cost: the cost of the whole batch.

    Returns:
        The recipe, or None if not even the smallest batch fits.
    """
    free, stage = _free_memory(device), recipe.stages[name]
    size = stage.batch_size
    while free is not None and cost.fixed + (cost.memory - cost.fixed) * size / stage.batch_size > MEMORY_SHARE * free:
        if size % 2 or (size // 2) % stage.accumulation_steps:
            return None
        size //= 2
    return override(recipe, {f"{name}_stage.batch_size": size})


def _free_memory(device: str | torch.device) -> int | None:
    """Free bytes on `device`. None if this is unknown."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as file:
            (line,) = [line for line in file if line.startswith("MemAvailable:")]
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # not Linux
        return None
