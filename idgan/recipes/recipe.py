"""What a recipe is: everything that determines a checkpoint, as frozen dataclasses."""

import ast
import dataclasses
from dataclasses import dataclass, field

import torch

from idgan.errors import InvalidInputError
from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, VAEConfig

__all__ = ["Adam", "RMSprop", "Recipe", "Stage", "describe", "override"]


@dataclass(frozen=True)
class Adam:
    """Adam with learning rate `lr` and decay rates `beta1`, `beta2`."""

    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999

    def build(self, parameters):
        return torch.optim.Adam(parameters, self.lr, betas=(self.beta1, self.beta2), fused=True)


@dataclass(frozen=True)
class RMSprop:
    """RMSprop with learning rate `lr` and smoothing constant `alpha`."""

    lr: float = 1e-4
    alpha: float = 0.99

    def build(self, parameters):
        return torch.optim.RMSprop(parameters, self.lr, alpha=self.alpha, foreach=True)


@dataclass(frozen=True)
class Stage:
    """One of the two stages of training.

    Attributes:
        objective: config of an objective (`idgan.objectives`), whose phases name the optimisers.
        optimizers: phase -> `Adam` or `RMSprop`.
        steps: how many batches.
        batch_size: images a step, over all processes.
        precision: "fp32", or "bf16" for autocast (losses stay in float32).
        ema_decay: of the generator's moving average, a step; 0 for none.
        flip, dequantise: horizontal flips; U(0, 1)/256 noise on pixels.
        select_every: stage 1 keeps the weights with the best MIG, measured every so many steps; 0 keeps the last ones.
    """

    objective: object
    optimizers: dict
    steps: int
    batch_size: int = 64
    precision: str = "fp32"
    ema_decay: float = 0.0
    flip: bool = False
    dequantise: bool = False
    select_every: int = 0


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a checkpoint: data, networks, the two stages and the seed."""

    name: str
    data: str
    vae_stage: Stage
    gan_stage: Stage
    vae: VAEConfig = field(default_factory=VAEConfig)
    generator: object = field(default_factory=ConvGeneratorConfig)
    discriminator: object = field(default_factory=ConvDiscriminatorConfig)
    seed: int = 0
    bank_size: int = 4096
    """Posteriors of training images that are kept with the weights, so that codes can be drawn from the aggregated posterior."""


def describe(value, prefix=""):
    """A recipe as a flat dict, dotted path -> plain value; the class of each part stands under `path.type`."""
    if dataclasses.is_dataclass(value):
        parts = {"type": type(value).__name__} | {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    elif isinstance(value, dict):
        parts = value
    else:
        return {prefix: value}
    return {path: leaf for name, part in parts.items() for path, leaf in describe(part, f"{prefix}.{name}" if prefix else name).items()}


def override(recipe, settings):
    """A copy of `recipe` with `settings` applied: dotted path -> value, such as {"gan_stage.objective.id_weight": 1e-4}.

    Values given as text are read as Python literals and must be of the kind they replace.

    Raises:
        InvalidInputError: a path that the recipe does not have, or a value of another kind.
    """
    for path, value in settings.items():
        recipe = _replaced(recipe, path.split("."), value, path)
    return recipe


def _replaced(part, names, value, path):
    if not names:
        return _like(part, value, path)
    name, rest = names[0], names[1:]
    if isinstance(part, dict) and name in part:
        return {**part, name: _replaced(part[name], rest, value, path)}
    if dataclasses.is_dataclass(part) and name in (known := [item.name for item in dataclasses.fields(part)]):
        return dataclasses.replace(part, **{name: _replaced(getattr(part, name), rest, value, path)})
    known = list(part) if isinstance(part, dict) else known if dataclasses.is_dataclass(part) else []
    raise InvalidInputError(f"no setting {path!r}: {name!r} is not one of {', '.join(known) or 'nothing, the path ends earlier'}")


def _like(old, value, path):
    """`value`, read from text if it is text, as the kind of `old`."""
    if dataclasses.is_dataclass(old) or isinstance(old, dict):
        raise InvalidInputError(f"{path} is a group of settings; name one of: {', '.join(describe(old, path))}")
    if isinstance(value, str) and not isinstance(old, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            pass
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(old):
        raise InvalidInputError(f"{path} must be of type {type(old).__name__}, like {old!r}; got {value!r}")
    return value
