"""GAN and ID-GAN with a variational discriminator bottleneck (Peng et al. 2019), for 1024x1024 images."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from idgan.errors import check_range
from idgan.networks.bottleneck import BottleneckDiscriminator
from idgan.networks.posterior import Posterior
from idgan.networks.protocols import Encoder, GeneratorNetwork
from idgan.objectives import terms
from idgan.objectives.gan import GANConfig, GANObjective
from idgan.objectives.id_gan import IDGANConfig
from idgan.objectives.objective import Losses, TrainingBatch, register_objective

__all__ = ["BottleneckGAN", "BottleneckGANConfig", "BottleneckIDGAN", "BottleneckIDGANConfig"]


@register_objective()
@dataclass(frozen=True)
class BottleneckGANConfig(GANConfig):
    """Config of a GAN with a bottleneck in D (VGAN): the fields of `GANConfig`, and three more.

    Attributes:
        bottleneck_capacity: I_c, the nats that D may learn at each position of an image.
        bottleneck_beta: initial multiplier of that constraint.
        bottleneck_step: step size of the multiplier.

    Raises:
        InvalidInputError: a number is negative, or `r1_interval` is less than 1.
    """

    bottleneck_capacity: float = 0.1
    bottleneck_beta: float = 0.1
    bottleneck_step: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(
            0,
            bottleneck_capacity=self.bottleneck_capacity,
            bottleneck_beta=self.bottleneck_beta,
            bottleneck_step=self.bottleneck_step,
        )

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `BottleneckGAN` of this config, for a `BottleneckDiscriminator`. `vae` is frozen and takes no part."""
        return BottleneckGAN(vae, generator, discriminator, self)


@register_objective()
@dataclass(frozen=True)
class BottleneckIDGANConfig(BottleneckGANConfig, IDGANConfig):
    """Config of ID-GAN with a bottleneck in D: the fields of `IDGANConfig` and of `BottleneckGANConfig`."""

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `BottleneckIDGAN` of this config, for a `BottleneckDiscriminator`. It freezes `vae` in place."""
        return BottleneckIDGAN(vae, generator, discriminator, self)


class BottleneckGAN(GANObjective):
    """A GAN in which D minimizes -L_GAN + beta (KL - I_c), with adaptive beta >= 0 (Peng et al. 2019, Eq. 8 and 9).

    KL is E KL(q(z|x) || N(0, I)) per position of z, half over real and half over fake images. In training mode, beta
    follows KL - I_c.

    In both phases D reads samples of z. The loss of G in that paper uses the mean of q(z|x). The code of its authors
    and the code of ID-GAN use samples.
    """

    prior = "normal"
    config: BottleneckGANConfig
    discriminator: BottleneckDiscriminator
    bottleneck_beta: Tensor

    def __init__(
        self,
        vae: Encoder,
        generator: GeneratorNetwork,
        discriminator: Any,
        config: BottleneckGANConfig,
    ) -> None:
        super().__init__(vae, generator, discriminator, config)
        self.register_buffer("bottleneck_beta", torch.tensor(config.bottleneck_beta))

    def logits_of_sample(self, posterior: Posterior, batch: TrainingBatch) -> Tensor:
        """Logits (N,) of D in float32, for a sample of z from `posterior`, q(z|x)."""
        noise = batch.normal(posterior.mean[0].numel()).view(posterior.mean.shape)
        return self.discriminator.logits_of(posterior.sample(noise)).float()

    def logits(self, x: Tensor, batch: TrainingBatch) -> Tensor:
        return self.logits_of_sample(self.discriminator.encode(x), batch)

    def discriminator_losses(self, batch: TrainingBatch) -> Losses:
        x_real = self.reals(batch)
        q_real, q_fake = self.discriminator.encode(x_real), self.discriminator.encode(self.fakes(batch).detach())
        logits_real, logits_fake = self.logits_of_sample(q_real, batch), self.logits_of_sample(q_fake, batch)
        losses = self.gan_discriminator_losses(x_real, logits_real, logits_fake)
        kl = (terms.kl_divergence(q_real) + terms.kl_divergence(q_fake)) / 2
        total = losses.total + self.bottleneck_beta * (kl - self.config.bottleneck_capacity)
        logged = losses.logged | {"bottleneck_kl": kl, "bottleneck_beta": self.bottleneck_beta}
        if self.training:
            mean_kl = batch.pooled("bottleneck_kl", kl.detach())
            if mean_kl is not None:  # the last part of the step
                self.bottleneck_beta = self.next_beta(mean_kl)
        return Losses(total, logged)

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        return self.gan_generator_losses(self.fakes(batch), batch)

    def next_beta(self, kl: Tensor) -> Tensor:
        """max(0, beta - step (I_c - KL)). KL is the mean over all processes, so all processes have the same beta."""
        if dist.is_initialized():
            kl = kl / dist.get_world_size()
            dist.all_reduce(kl)
        excess = self.config.bottleneck_step * (self.config.bottleneck_capacity - kl)
        return (self.bottleneck_beta - excess).clamp(min=0)


class BottleneckIDGAN(BottleneckGAN):
    """ID-GAN with the discriminator of `BottleneckGAN`. The frozen encoder's posterior of the real batch gives c."""

    prior = "aggregated"
    config: BottleneckIDGANConfig

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        x_fake, (c, _) = self.fakes(batch), self.latents(batch)
        return self.minus_r_id(self.gan_generator_losses(x_fake, batch), self.config.id_weight, x_fake, c)
