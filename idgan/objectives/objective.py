"""What an objective is: named phases, each with a loss and the parameters that it updates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from idgan.networks.modules import check_config_class, in_build_mode
from idgan.networks.protocols import Network
from idgan.registry import Registry

__all__ = [
    "OBJECTIVES",
    "Losses",
    "Objective",
    "ObjectiveConfig",
    "Phases",
    "TrainingBatch",
    "TrainingImages",
    "TrainingObjective",
    "register_objective",
]


@dataclass
class Losses:
    """The result of one phase.

    Attributes:
        total: scalar tensor to minimize.
        logged: name -> scalar tensor, for the log.
    """

    total: Tensor
    logged: dict[str, Tensor] = field(default_factory=dict)


Phases = Mapping[str, Callable[[Any], Losses]]
"""Name of a phase -> function from a batch to its `Losses`, in the order of a training step."""

Value = TypeVar("Value")


class TrainingBatch(Protocol):
    """The images of one training step and its noise.

    Attributes:
        x: images (N, C, H, W) in [0, 1].
        step: number of the step, from 0.
        data_size: number of training images.
        parts: number of batches into which the step is split (gradient accumulation).
    """

    x: Tensor
    step: int
    data_size: int
    parts: int

    def normal(self, width: int) -> Tensor:
        """N(0, I) noise, (N, width)."""
        ...

    def uniform(self, width: int) -> Tensor:
        """U(0, 1) noise, (N, width)."""
        ...

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """The result of `make()`. Later calls with the same name return the same object."""
        ...

    def pooled(self, name: str, value: Tensor) -> Tensor | None:
        """The mean of the scalar `value` over all parts of the step. None before the last part."""
        ...


class TrainingImages(Protocol):
    """Images and random numbers for changes between two steps, see `idgan.data.Batches`."""

    def rng(self, step: int) -> Generator:
        """A CPU generator that is a function of the seed and the step."""
        ...

    def images(self, count: int, rng: Generator) -> Tensor:
        """`count` images (N, C, H, W) in [0, 1], drawn by `rng`."""
        ...


class TrainingObjective(Protocol):
    """What the training loop needs. An objective is a `torch.nn.Module` with these attributes.

    `Objective` has defaults for all of them except `phases`. All adaptive state must be in buffers, so that
    `state_dict()` is enough to resume. If a stage keeps a moving average, the objective has the attribute `generator`.

    An objective may also have the methods `lr_factor(phase, step)` and `between_steps(step, batches, optimizers)`.
    `Objective` describes them. Without them, learning rates change in a cooldown only, and networks in steps only.

    Attributes:
        prior: distribution of the generator's codes: "aggregated" (the encoder's aggregated posterior) or "normal"
            (N(0, I)).
    """

    prior: str

    @property
    def phases(self) -> Phases: ...

    def losses(self, phase: str, batch: Any) -> Losses:
        """`Losses` of `phase` on `batch`."""
        ...

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """The parameters that `phase` updates."""
        ...

    def differentiates_twice(self, phase: str, step: int) -> bool:
        """Whether the losses of `phase` at `step` contain gradients (R1). Compiled networks do not support that."""
        ...


class ObjectiveConfig(Protocol):
    """A frozen dataclass of settings with `build`.

    Stage 1 calls `build(vae)`. Stage 2 calls `build(vae, generator, discriminator)`.
    """

    @property
    def build(self) -> Callable[..., TrainingObjective]: ...


OBJECTIVES: Registry[type[Any]] = Registry("objective")
"""Name -> config class of an objective."""

ConfigClass = TypeVar("ConfigClass", bound=type[Any])


def register_objective(name: str | None = None) -> Callable[[ConfigClass], ConfigClass]:
    """Decorator that registers the config class of an objective under `name`, by default its own name.

    Afterwards `build()` runs in `idgan.networks.modules.build_mode`.

    Raises:
        InvalidInputError: the class is not a frozen dataclass with `build`, or another class has the name.
    """

    def register(config_class: ConfigClass) -> ConfigClass:
        check_config_class(config_class)
        OBJECTIVES.add(name or config_class.__name__, config_class)
        config_class.build = in_build_mode(config_class.build)
        return config_class

    return register


class Objective(nn.Module):
    """Base class of the objectives. It is convenient, not required (see `TrainingObjective`).

    A subclass defines `phases`. By default a phase has the name of the network that it updates.
    """

    prior: str = "aggregated"
    """Distribution of the generator's codes: "aggregated" or "normal"."""

    @property
    def phases(self) -> Phases:
        """Name -> function from a batch to `Losses`. A training step runs all phases in this order."""
        raise NotImplementedError(f"{type(self).__name__} must define phases")

    def losses(self, phase: str, batch: Any) -> Losses:
        """`Losses` of `phase` on `batch`."""
        return self.phases[phase](batch)

    def identity(self) -> dict[str, str]:
        """What the result depends on besides state and settings, such as frozen weights: name -> plain value.

        A run stores it and refuses other values. An objective without this method has no such values.
        """
        return {}

    def skips_phase(self, phase: str, step: int) -> bool:
        """Whether `phase` is left out of `step`. An objective without this method runs all phases."""
        return False

    def differentiates_twice(self, phase: str, step: int) -> bool:
        """Whether the losses of `phase` at `step` contain gradients (R1). Compiled networks do not support that."""
        return False

    def lr_factor(self, phase: str, step: int) -> float:
        """Factor of the learning rate of `phase` at `step`."""
        return 1.0

    def between_steps(
        self, step: int, batches: TrainingImages, optimizers: Mapping[str, Optimizer]
    ) -> dict[str, object]:
        """Change the networks without gradients. By default, nothing changes.

        The training loop calls it before the first step and after each step. A change must be a function of the state,
        the seed and the step. Then a resumed run ends with the same bits.

        Args:
            step: number of finished steps.
            batches: source of images and random numbers.
            optimizers: phase -> optimizer.

        Returns:
            Name -> plain value, for the log.
        """
        return {}

    def networks(self, phase: str) -> Sequence[Network]:
        """The networks that `phase` updates. All other networks get no gradients in it."""
        return [getattr(self, phase)]

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """The parameters that `phase` updates."""
        return list(self._parameters_of(phase))

    def _parameters_of(self, phase: str) -> Iterator[nn.Parameter]:
        for network in self.networks(phase):
            yield from network.parameters()
