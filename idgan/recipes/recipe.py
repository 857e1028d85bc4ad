"""What a recipe is: everything that determines a checkpoint, as frozen dataclasses."""

import ast
import contextlib
import dataclasses
from dataclasses import dataclass, field

import torch

from idgan.errors import InvalidInputError, check_integer, check_range
from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, VAEConfig, he_normal
from idgan.record import current_setting

__all__ = ["Adam", "RMSprop", "Recipe", "Stage", "defaults", "describe", "override"]

INITS = ("torch", "he")
PRECISIONS = ("fp32", "tf32", "bf16")
TOLD = {
    "vae": ("c_dim", "image_channels", "resolution"),
    "generator": ("c_dim", "s_dim", "image_channels", "resolution"),
    "discriminator": (),
}
"""What the config of each network must tell of it."""


@dataclass(frozen=True)
class Adam:
    """Adam with learning rate `lr`, above 0, and decay rates `beta1`, `beta2`, from 0 to below 1.

    Raises:
        InvalidInputError: one of them is out of range.
    """

    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999

    def __post_init__(self):
        check_range(0, exclusive=True, lr=self.lr)
        check_range(0, 1, beta1=self.beta1, beta2=self.beta2)

    def build(self, parameters):
        return torch.optim.Adam(parameters, self.lr, betas=(self.beta1, self.beta2), fused=True)


@dataclass(frozen=True)
class RMSprop:
    """RMSprop with learning rate `lr`, above 0, and smoothing constant `alpha`, from 0 to below 1.

    Raises:
        InvalidInputError: one of them is out of range.
    """

    lr: float = 1e-4
    alpha: float = 0.99

    def __post_init__(self):
        check_range(0, exclusive=True, lr=self.lr)
        check_range(0, 1, alpha=self.alpha)

    def build(self, parameters):
        return torch.optim.RMSprop(parameters, self.lr, alpha=self.alpha, foreach=True)


@dataclass(frozen=True)
class Stage:
    """A stage of training: one of the two, or the only one.

    Attributes:
        objective: config of an objective (`idgan.objectives`), whose phases name the optimizers.
        optimizers: phase -> `Adam` or `RMSprop`.
        steps: how many batches.
        batch_size: images a step, over all processes.
        precision: "fp32"; "tf32" for matrix products and convolutions with 10 bits of mantissa, on CUDA devices that have them (elsewhere it
            is fp32); or "bf16" for autocast where the device has such arithmetic (losses stay in float32).
        ema_decay: of the generator's moving average, a step; 0 for none.
        flip, dequantize: horizontal flips; U(0, 1)/256 noise on pixels.
        select_every: stage 1 keeps the most disentangled weights (MIG and FactorVAE metric), every so many steps; 0: the last ones.
        accumulation_steps: into how many parts each process divides its share of a batch, to hold one at a time in memory. Their gradients add up to
            those of the whole, as far as they do on several processes (`idgan.training.distributed`).

    Raises:
        InvalidInputError: a precision of another name, a count that is too small, or an `ema_decay` that is not from 0 to below 1.
    """

    objective: object
    optimizers: dict
    steps: int
    batch_size: int = 64
    precision: str = "fp32"
    ema_decay: float = 0.0
    flip: bool = False
    dequantize: bool = False
    select_every: int = 0
    accumulation_steps: int = 1

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise InvalidInputError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        check_range(0, 1, ema_decay=self.ema_decay)
        check_integer(0, select_every=self.select_every)
        check_integer(1, steps=self.steps, batch_size=self.batch_size, accumulation_steps=self.accumulation_steps)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a checkpoint: data, networks, the two stages and the seed.

    A method with one stage has None for the other. Without `vae_stage` the VAE is trained along with the GAN, or not at all, as `gan_stage`'s
    objective has it; without `gan_stage` the VAE's decoder is the generator.

    `vae`, `generator` and `discriminator` are frozen dataclasses of plain values with `build()`: the package's (`idgan.networks`) or your own,
    see `idgan.training.train`. None for a discriminator that no stage needs.

    Raises:
        InvalidInputError: there is no stage, `bank_size` is less than 1, `generator_init` is unknown, or a network is not described by such a
            dataclass.
    """

    name: str
    data: str
    vae_stage: Stage | None
    gan_stage: Stage | None
    vae: object = field(default_factory=VAEConfig)
    generator: object = field(default_factory=ConvGeneratorConfig)
    discriminator: object = field(default_factory=ConvDiscriminatorConfig)
    seed: int = 0
    bank_size: int = 4096
    """Posteriors of training images that are kept with the weights, so that codes can be drawn from the aggregated posterior."""
    init_vae_from: str = ""
    """A model (anything `idgan.load` takes) or run, whose VAE stage 1 starts from; empty: random weights."""
    generator_init: str = "torch"
    """Random weights of the generator: "torch", each layer's own; "he", `he_normal`, with which its first images are full of texture, not flat."""

    def __post_init__(self):
        check_integer(1, bank_size=self.bank_size)
        if self.generator_init not in INITS:
            raise InvalidInputError(f"generator_init must be one of {', '.join(INITS)}, got {self.generator_init!r}")
        if not self.stages:
            raise InvalidInputError("a recipe needs a vae_stage, a gan_stage or both; both are None")
        for part, names in TOLD.items():
            config = getattr(self, part)
            if config is None and part == "discriminator":
                continue
            if not dataclasses.is_dataclass(config) or not hasattr(config, "build"):
                raise InvalidInputError(f"{part} must be a dataclass with build(), got {config!r:.200}")
            if missing := [name for name in names if not hasattr(config, name)]:
                raise InvalidInputError(
                    f"{part} must tell its {', '.join(names)}; {type(config).__name__} has no {', '.join(missing)}"
                )

    @property
    def stages(self):
        """The names of its stages, in order: of "vae" and "gan"."""
        return [name for name in ("vae", "gan") if getattr(self, f"{name}_stage") is not None]

    def build(self, part):
        """The network of a `part`, "vae", "generator" or "discriminator", with random weights; it carries its config as `config`."""
        if (config := getattr(self, part)) is None:
            return None
        network = config.build()
        network.config = config
        if part == "generator" and self.generator_init == "he":
            he_normal(network)
        return network


def describe(recipe, prefix=""):
    """A recipe (or a part of one) as a flat dict, dotted path -> plain value; the class of each part stands under `path.type`."""
    children = _children(recipe)
    if children is None:
        return {prefix: recipe}
    if dataclasses.is_dataclass(recipe):
        children = {"type": type(recipe).__name__} | children
    parts = (describe(child, f"{prefix}.{name}" if prefix else name) for name, child in children.items())
    return {path: leaf for part in parts for path, leaf in part.items()}


def defaults(recipe, prefix=""):
    """As `describe`, but only the settings that have a plain default, with that as the value: what a setting was before there was one."""
    found = {}
    if dataclasses.is_dataclass(recipe):
        plain = {
            item.name: item.default for item in dataclasses.fields(recipe) if item.default is not dataclasses.MISSING
        }
        found = {f"{prefix}{name}": value for name, value in plain.items() if _children(value) is None}
    for name, child in (_children(recipe) or {}).items():
        found |= defaults(child, f"{prefix}{name}.")
    return found


def override(recipe, settings):
    """A copy of `recipe` with `settings` applied: dotted path -> value, such as {"gan_stage.objective.id_weight": 1e-4}.

    Values given as text are read as Python literals and must be of the kind they replace; an integer will do for a float.

    Raises:
        InvalidInputError: a path that the recipe does not have, or a value of another kind or that its part refuses.
    """
    for path, value in settings.items():
        recipe = _replaced(recipe, current_setting(path).split("."), value, path)
    return recipe


def _children(part):
    """The named children of a part of a recipe, as a dict; None for a plain value."""
    if dataclasses.is_dataclass(part):
        return {item.name: getattr(part, item.name) for item in dataclasses.fields(part)}
    return part if isinstance(part, dict) else None


def _replaced(part, names, value, path):
    """A copy of `part` in which what `names` lead to is `value`; `path` is all of the setting's name, for errors."""
    if not names:
        return _like(part, value, path)
    name, *rest = names
    children = _children(part) or {}
    if name not in children:
        raise InvalidInputError(
            f"no setting {path!r}: {name!r} is not one of {', '.join(children) or 'nothing, the path ends earlier'}"
        )
    child = _replaced(children[name], rest, value, path)
    return {**part, name: child} if isinstance(part, dict) else dataclasses.replace(part, **{name: child})


def _like(old, value, path):
    """`value`, read from text if it is text, as the kind of `old`."""
    if (children := _children(old)) is not None:
        raise InvalidInputError(
            f"{path} is a group of settings; name one of {', '.join(f'{path}.{name}' for name in children)}"
        )
    if isinstance(value, str) and not isinstance(old, str):
        with contextlib.suppress(
            ValueError, TypeError, SyntaxError
        ):  # what is no literal stays text, and is refused as that
            value = ast.literal_eval(value)
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(old):
        raise InvalidInputError(f"{path} must be of type {type(old).__name__}, like {old!r}; got {value!r}")
    return value
