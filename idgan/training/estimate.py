"""What training a recipe would cost: parameters, floating-point operations, memory, and time. Nothing is written."""

import time
import weakref
from dataclasses import dataclass, replace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from idgan.objectives import Objective
from idgan.training.distributed import process_group
from idgan.training.loop import Trainer, gradients
from idgan.training.precision import float32_products
from idgan.training.run import batches_of, seeded

__all__ = ["Cost", "Noise", "cost_of", "largest_batch", "parameters_of", "seconds_a_step"]

PATIENCE = 10.0  # seconds; a kind of step is timed again as long as it took less
REPEATS = 5
ROOM = 0.5  # of the free memory, which tensors may take: with kernels and what the allocator holds, a process on a CPU took up to twice that


class Noise:
    """A data set of uniform noise, of the shape of a recipe's images: it takes the place of one that is not at hand."""

    def __init__(self, recipe):
        self.resolution = getattr(recipe.generator, "resolution", recipe.vae.resolution)
        self.image_channels = recipe.vae.image_channels
        self._images = torch.empty(0)

    def __len__(self):
        return 10_000

    def images(self, indices, rng=None):
        if (len(self._images), self._images.device) != (
            len(indices),
            indices.device,
        ):  # made once, to cost nothing in a step that is timed
            shape = (len(indices), self.image_channels, self.resolution, self.resolution)
            with seeded(0):
                self._images = torch.rand(shape, device=indices.device)
        return self._images


def objective_of(recipe, name):
    """The objective of the stage called `name`, on networks with random weights."""
    with seeded(recipe.seed):
        vae, generator, discriminator = recipe.build("vae"), recipe.build("generator"), recipe.build("discriminator")
        objective = getattr(recipe, f"{name}_stage").objective
        return objective.build(vae) if name == "vae" else objective.build(vae, generator, discriminator)


def parameters_of(recipe):
    """How many parameters each network has that a stage of `recipe` uses, as a dict in the order of training."""
    with torch.device("meta"):
        objectives = [objective_of(recipe, name) for name in recipe.stages]
    return {
        name: sum(p.numel() for p in network.parameters())
        for objective in objectives
        for name, network in _networks(objective)
    }


def _networks(objective):
    for name, child in objective.named_children():
        if isinstance(child, Objective):
            yield from _networks(child)
        else:
            yield name, child


# ------------------------------------------------------------------ operations and memory


@dataclass(frozen=True)
class Cost:
    """What a step of a stage costs.

    Attributes:
        flops: operations of matrix products and convolutions, two a multiplication with its addition, over all phases, forward and backward
            (R1 backward twice); a mean over steps with R1 and without.
        memory: the most bytes that tensors take at a time: weights, gradients, moments, moving average, images and what backward needs. In
            float32; what libraries, kernels, images read ahead and the program itself need comes on top.
        fixed: how much of `memory` does not depend on the batch.
    """

    flops: float
    memory: int
    fixed: int


def cost_of(recipe, name):
    """The `Cost` of the stage called `name`, from the shapes of all that its phases compute; nothing is computed."""
    stage = getattr(recipe, f"{name}_stage")
    with torch.device("meta"):
        objective = objective_of(recipe, name).train()
    batches = batches_of(recipe, name, Noise(recipe), process_group("meta"))
    fixed = sum(tensor.nbytes for tensor in objective.state_dict().values())
    for phase in objective.phases:
        fixed += (1 + _moments(stage.optimizers[phase])) * sum(p.nbytes for p in objective.parameters_of(phase))
    if stage.ema_decay:
        fixed += sum(tensor.nbytes for tensor in objective.generator.state_dict().values())

    period = _period(stage)
    flops, memory = [], []
    for step in (0, 1) if period > 1 else (0,):
        objective.zero_grad()
        with _Shapes() as shapes:
            batch = batches(step)
            parts = batch.split(stage.accumulation_steps)
            for phase in objective.phases:
                gradients(objective, phase, parts, objective.parameters_of(phase))
        flops.append(shapes.flops)
        memory.append(shapes.most)
    gradient_bytes = sum(p.grad.nbytes for p in objective.parameters() if p.grad is not None)
    return Cost(_mean(flops, period), fixed - gradient_bytes + max(memory), fixed)


def _period(stage):
    """At every how manieth step `stage` has R1."""
    return getattr(stage.objective, "r1_interval", 1) if getattr(stage.objective, "r1_weight", 0) > 0 else 1


def _mean(values, period):
    """The mean over steps of what is `values[0]` at every `period`-th and `values[-1]` at all others."""
    return (values[0] + (period - 1) * values[-1]) / period


def _moments(optimizer):
    """How many tensors of the size of a parameter an optimizer, given by its config, keeps for it."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    built = optimizer.build([parameter])
    parameter.grad = torch.zeros(3)
    built.step()
    return sum(tensor.shape == parameter.shape for tensor in built.state[parameter].values())


class _Shapes(TorchDispatchMode):
    """Counts the operations of what runs inside, as `torch.utils.flop_counter` does, and the bytes of the tensors made there.

    (The `FlopCounterMode` of that module follows modules, and stumbles over the gradient within R1.)
    """

    def __init__(self):
        super().__init__()
        self.flops = self.now = self.most = 0
        self._alive = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if (count := flop_registry.get(function.overloadpacket)) is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=made)
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return made

    def _note(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key, size):
        self._alive.discard(key)
        self.now -= size


# ------------------------------------------------------------------ time


def seconds_a_step(recipe, name, dataset, device, *, compile=False):
    """How long a step of the stage called `name` takes on `device`, on images of `dataset`: a mean over steps with R1 and without.

    Each kind of step is timed up to `REPEATS` times, after a first time that does not count unless it took more than `PATIENCE`; the median
    is what counts.
    """
    stage = getattr(recipe, f"{name}_stage")
    group = process_group(device)
    batches = batches_of(recipe, name, dataset, group)
    trainer = Trainer(
        stage, objective_of(recipe, name).to(group.device), batches, None, identity={}, report=None, compile=compile
    )
    with float32_products(tf32=stage.precision == "tf32"):
        kinds = [_seconds(trainer, step) for step in ((0, 1) if _period(stage) > 1 else (0,))]
    return _mean(kinds, _period(stage))


def _seconds(trainer, step):
    times = []
    while len(times) <= REPEATS and sum(times) < PATIENCE:
        started = time.perf_counter()
        logged = trainer.train_step(trainer.batches(step))
        logged[[*trainer.objective.phases][-1]].item()  # a GPU has then finished too
        times.append(time.perf_counter() - started)
    times = sorted(times[1:] or times)
    return times[len(times) // 2]


def largest_batch(recipe, name, cost, device):
    """`recipe` with the batch of the stage called `name` halved until the `cost` of the whole batch fits into the memory of `device`.

    Returns:
        That recipe, or None where not even the smallest batch fits.
    """
    room, stage = _free_memory(device), getattr(recipe, f"{name}_stage")
    size = stage.batch_size
    while room is not None and cost.fixed + (cost.memory - cost.fixed) * size / stage.batch_size > ROOM * room:
        if size % 2 or (size // 2) % stage.accumulation_steps:
            return None
        size //= 2
    return replace(recipe, **{f"{name}_stage": replace(stage, batch_size=size)})


def _free_memory(device):
    """Bytes that tensors on `device` could still take, None where this is not known."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as file:
            (line,) = [line for line in file if line.startswith("MemAvailable:")]
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # not Linux
        return None
