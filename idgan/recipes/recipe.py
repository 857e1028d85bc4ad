"""The `Recipe`: everything that determines a checkpoint, as frozen dataclasses."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from idgan.data import Dataset, check_dataset
from idgan.errors import InvalidInputError, check_integer, check_range
from idgan.networks import (
    ConvDiscriminatorConfig,
    ConvGeneratorConfig,
    TwoStackVAEConfig,
    VAEConfig,
    he_normal,
)
from idgan.objectives import Objective
from idgan.rng import MAX_SEED

__all__ = [
    "INITS",
    "PRECISIONS",
    "Adam",
    "RMSprop",
    "Recipe",
    "Stage",
    "decoder_config",
    "has_decoder_shape",
    "single_stack",
]

INITS = ("torch", "he", "decoder")
PRECISIONS = ("fp32", "tf32", "bf16")
REQUIRED_FIELDS = {
    "vae": ("c_dim", "image_channels", "resolution"),
    "generator": ("c_dim", "s_dim", "image_channels", "resolution"),
    "discriminator": (),
}
"""Network of a recipe -> attributes that its config must have."""


@dataclass(frozen=True)
class Adam:
    """The Adam optimizer.

    Attributes:
        lr: learning rate, above 0.
        beta1, beta2: decay rates of the moments, in [0, 1).

    Raises:
        InvalidInputError: a value is out of range.
    """

    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999

    def __post_init__(self) -> None:
        check_range(0, exclusive=True, lr=self.lr)
        check_range(0, 1, beta1=self.beta1, beta2=self.beta2)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of `parameters`."""
        return torch.optim.Adam(parameters, self.lr, betas=(self.beta1, self.beta2), fused=True)


@dataclass(frozen=True)
class RMSprop:
    """The RMSprop optimizer.

    Attributes:
        lr: learning rate, above 0.
        alpha: smoothing constant, in [0, 1).

    Raises:
        InvalidInputError: a value is out of range.
    """

    lr: float = 1e-4
    alpha: float = 0.99

    def __post_init__(self) -> None:
        check_range(0, exclusive=True, lr=self.lr)
        check_range(0, 1, alpha=self.alpha)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of `parameters`."""
        return torch.optim.RMSprop(parameters, self.lr, alpha=self.alpha, foreach=True)


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        objective: config of an objective, see `idgan.objectives`.
        optimizers: phase of the objective -> `Adam`, `RMSprop`, or another dataclass with `build(parameters)`.
        steps: number of batches.
        cooldown_steps: number of last steps over which the learning rates fall linearly to 0, at most `steps`. They are
            multiplied with the objective's `lr_factor`, if it has one. 0: no cooldown.
        batch_size: images in a batch, over all processes.
        precision: "fp32", "tf32" or "bf16". "tf32" multiplies with 10 bits of mantissa on CUDA devices that support it.
            "bf16" uses autocast on devices with bf16 arithmetic, with losses in float32. Other devices use fp32.
        ema_decay: decay of the generator's moving average in each step, in [0, 1). 0 keeps no average.
        flip: flip images horizontally at random.
        dequantize: add U(0, 1) / 256 noise to pixels.
        select_every: interval in steps between measurements of the encoder (mean of MIG and FactorVAE metric). Stage 1
            keeps the best weights. 0 keeps the last weights.
        accumulation_steps: number of parts of each process's share of a batch. Only one part is in memory at a time.
            The gradients of the parts add up to those of the whole, with the exceptions that
            `idgan.training.distributed` lists.

    Raises:
        InvalidInputError: a value is out of range.
    """

    objective: Any
    optimizers: dict[str, Any]
    steps: int
    batch_size: int = 64
    precision: str = "fp32"
    ema_decay: float = 0.0
    flip: bool = False
    dequantize: bool = False
    select_every: int = 0
    accumulation_steps: int = 1
    cooldown_steps: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InvalidInputError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        check_range(0, 1, ema_decay=self.ema_decay)
        check_integer(0, select_every=self.select_every, cooldown_steps=self.cooldown_steps)
        check_integer(1, steps=self.steps, batch_size=self.batch_size, accumulation_steps=self.accumulation_steps)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a checkpoint: data, networks, stages and seed.

    A method with one stage sets the other stage to None. Without `vae_stage`, the objective of `gan_stage` trains the
    VAE or leaves it untrained. Without `gan_stage`, the VAE's decoder is the generator.

    Attributes:
        name: name of the checkpoint.
        data: name of a data set (`idgan.data.DATASETS`), or a `Dataset` object.
        vae_stage: stage 1, or None.
        gan_stage: stage 2, or None.
        vae, generator, discriminator: frozen dataclasses of plain values with `build()`, see `idgan.networks`. A
            discriminator that no stage needs is None.
        seed: seed of initial weights, data order and noise, from 0 to 2**64 - 1.
        bank_size: number of training images for the posterior bank. The bank is stored with the weights and represents
            the aggregated posterior.
        init_vae_from: model (anything `idgan.load` takes) or run directory that provides the initial VAE of stage 1. ""
            starts from random weights.
        init_generator_from: model (anything `idgan.load` takes) that provides the initial generator of stage 2. It
            should be distilled from the same encoder. It may have a half, a quarter, ... of the channels in each layer,
            or draw smaller images, see `idgan.networks.widening`. "" uses `generator_init`.
        generator_init: initial weights of the generator. "torch" is the default of each layer. "he" is `he_normal`,
            whose first images have texture. "decoder" starts stage 2 with the decoder of the VAE, for a generator of
            its shape. The weights of s are then random.

    Raises:
        InvalidInputError: there is no stage, a value is out of range, a network config lacks an attribute, or
            `generator_init` is "decoder" and the generator has another shape.
    """

    name: str
    data: str | Dataset
    vae_stage: Stage | None
    gan_stage: Stage | None
    vae: Any = field(default_factory=VAEConfig)
    generator: Any = field(default_factory=ConvGeneratorConfig)
    discriminator: Any = field(default_factory=ConvDiscriminatorConfig)
    seed: int = 0
    bank_size: int = 4096
    init_vae_from: str = ""
    init_generator_from: str = ""
    generator_init: str = "torch"

    def __post_init__(self) -> None:
        check_integer(1, bank_size=self.bank_size)
        check_integer(0, MAX_SEED, seed=self.seed)
        if not isinstance(self.data, str):
            check_dataset(self.data)
        if self.generator_init not in INITS:
            raise InvalidInputError(f"generator_init must be one of {', '.join(INITS)}, got {self.generator_init!r}")
        if not self.stages:
            raise InvalidInputError("a recipe needs a vae_stage, a gan_stage or both; both are None")
        for part, names in REQUIRED_FIELDS.items():
            config = getattr(self, part)
            if config is None and part == "discriminator":
                continue
            if not dataclasses.is_dataclass(config) or not hasattr(config, "build"):
                raise InvalidInputError(f"{part} must be a dataclass with build(), got {config!r:.200}")
            if missing := [name for name in names if not hasattr(config, name)]:
                kind = type(config).__name__
                raise InvalidInputError(
                    f"{part} must have the attributes {', '.join(names)}; {kind} has no {', '.join(missing)}"
                )
        if self.generator_init == "decoder" and not has_decoder_shape(self.generator, self.vae):
            raise InvalidInputError(
                f"generator_init 'decoder' needs a generator of the shape of the decoder; "
                f"recipe {self.name} has {self.generator!r:.200}; choose generator_init torch or he"
            )

    @property
    def stages(self) -> dict[str, Stage]:
        """Name of a stage ("vae", "gan") -> `Stage`, in the order of training. A stage that is None is left out."""
        stages = {"vae": self.vae_stage, "gan": self.gan_stage}
        return {name: stage for name, stage in stages.items() if stage is not None}

    def build(self, part: str) -> Any:
        """The network "vae", "generator" or "discriminator" with random weights.

        Its attribute `config` is its config. None has no network.
        """
        if (config := getattr(self, part)) is None:
            return None
        network = config.build()
        network.config = config
        if part == "generator" and self.generator_init == "he":
            he_normal(network)
        return network

    def build_objective(
        self, stage: str, vae: nn.Module, generator: nn.Module | None = None, discriminator: nn.Module | None = None
    ) -> Objective:
        """The objective of the stage "vae" or "gan" on these networks. Stage "vae" needs the VAE alone."""
        networks = (vae,) if stage == "vae" else (vae, generator, discriminator)
        objective: Objective = self.stages[stage].objective.build(*networks)
        return objective


def decoder_config(vae: VAEConfig) -> ConvGeneratorConfig:
    """Config of a generator of the shape of the VAE's decoder."""
    return ConvGeneratorConfig(vae.c_dim, 0, vae.image_channels)


def single_stack(vae: Any) -> Any:
    """The config of a VAE with one encoder stack, as in Table A.2. A `TwoStackVAEConfig` becomes a `VAEConfig`.

    Any other config stays as it is.
    """
    return VAEConfig(vae.c_dim, vae.image_channels) if isinstance(vae, TwoStackVAEConfig) else vae


def has_decoder_shape(generator: Any, vae: Any) -> bool:
    """Whether a generator of this config can start with the decoder of the VAE. It may have a nuisance s as well."""
    ours = type(vae) in (VAEConfig, TwoStackVAEConfig)
    return ours and generator == dataclasses.replace(decoder_config(vae), s_dim=generator.s_dim)
