"""The one-stage methods that train a VAE and a GAN together: VAE-GAN, and ID-GAN end to end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from idgan.errors import check_range
from idgan.images import to_signed
from idgan.networks.protocols import DiscriminatorNetwork, GeneratorNetwork, Network, VAENetwork
from idgan.objectives import terms
from idgan.objectives.gan import GANConfig, GANObjective
from idgan.objectives.id_gan import IDGANConfig
from idgan.objectives.objective import Losses, Phases, TrainingBatch, register_objective
from idgan.objectives.vae import BetaVAEConfig, VAEObjectiveConfig

__all__ = ["VAEGAN", "EndToEndIDGAN", "EndToEndIDGANConfig", "VAEGANConfig"]


@register_objective()
@dataclass(frozen=True)
class VAEGANConfig(GANConfig):
    """Config of VAE-GAN: the fields of `GANConfig`, and two more.

    Attributes:
        stage_1: config of the VAE objective.
        adversarial_weight: weight of the adversarial loss of the VAE. 0 leaves the objective `stage_1`.

    Raises:
        InvalidInputError: a weight is negative, or `r1_interval` is less than 1.
    """

    stage_1: VAEObjectiveConfig = field(default_factory=BetaVAEConfig)
    adversarial_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, adversarial_weight=self.adversarial_weight)

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `VAEGAN` of this config. The decoder of `vae` replaces `generator`."""
        return VAEGAN(vae, discriminator, self)


class VAEGAN(GANObjective):
    """VAE: min L_VAE - adversarial_weight E log D(decoder(c)) with c ~ q(c|x). D: max L_GAN.

    Both terms update encoder and decoder. The generator is the VAE itself (`VAE.as_generator`) for 64x64 images. Both
    phases share one decoding.
    """

    vae: VAENetwork
    config: VAEGANConfig

    def __init__(self, vae: Any, discriminator: DiscriminatorNetwork, config: VAEGANConfig) -> None:
        super().__init__(vae, vae, discriminator, config)
        vae.requires_grad_(True)
        self.stage_1 = config.stage_1.build(vae)

    @property
    def phases(self) -> Phases:
        return {"discriminator": self.discriminator_losses, **self.stage_1.phases, "vae": self.vae_losses}

    def networks(self, phase: str) -> Sequence[Network]:
        return self.stage_1.networks(phase) if phase in self.stage_1.phases else super().networks(phase)

    def fakes(self, batch: TrainingBatch) -> Tensor:
        """Means of p(x|c) for the codes of the batch, (N, C, 64, 64) in [-1, 1]."""
        return to_signed(torch.sigmoid(self.stage_1.decoded(batch)))

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        losses = self.stage_1.vae_losses(batch)
        adversarial = terms.adversarial_loss(self.logits(self.fakes(batch), batch))
        total = losses.total + self.config.adversarial_weight * adversarial
        return Losses(total, losses.logged | {"generator_loss": adversarial})


@register_objective()
@dataclass(frozen=True)
class EndToEndIDGANConfig(IDGANConfig):
    """Config of ID-GAN end to end: the fields of `IDGANConfig`, and the config `stage_1` of the VAE objective."""

    stage_1: VAEObjectiveConfig = field(default_factory=BetaVAEConfig)

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `EndToEndIDGAN` of this config."""
        return EndToEndIDGAN(vae, generator, discriminator, self)


class EndToEndIDGAN(GANObjective):
    """min_{VAE, G} max_D L_VAE + L_GAN(D, G) - id_weight R_ID in one stage (Eq. 1 plus Eq. 2).

    Each phase descends the sum in its own parameters. D and G get codes without gradients, as in `IDGAN`. The VAE gets
    the loss of `stage_1` and the loss of G. The loss of G reaches it in two ways: through the reparametrized codes
    c ~ q(c|x), and through the encoder that reads G(s, c).
    """

    vae: VAENetwork
    config: EndToEndIDGANConfig

    def __init__(
        self,
        vae: VAENetwork,
        generator: GeneratorNetwork,
        discriminator: DiscriminatorNetwork,
        config: EndToEndIDGANConfig,
    ) -> None:
        super().__init__(vae, generator, discriminator, config)
        vae.requires_grad_(True)
        self.stage_1 = config.stage_1.build(vae)

    @property
    def phases(self) -> Phases:
        return {
            "discriminator": self.discriminator_losses,
            **self.stage_1.phases,
            "vae": self.vae_losses,
            "generator": self.generator_losses,
        }

    def networks(self, phase: str) -> Sequence[Network]:
        return self.stage_1.networks(phase) if phase in self.stage_1.phases else super().networks(phase)

    def code(self, batch: TrainingBatch) -> Tensor:
        return self.stage_1.codes(batch)[1].detach()

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        losses = self.stage_1.vae_losses(batch)
        _, c = self.stage_1.codes(batch)
        _, code = self.latents(batch)
        x_fake = self.generator(torch.cat([code[:, : -c.shape[1]], c], dim=1))
        return Losses(losses.total + self.id_gan_losses(x_fake, c, batch).total, losses.logged)

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        x_fake, (c, _) = self.fakes(batch), self.latents(batch)
        return self.id_gan_losses(x_fake, c, batch)

    def id_gan_losses(self, x_fake: Tensor, c: Tensor, batch: TrainingBatch) -> Losses:
        """The loss of G in ID-GAN (Eq. 2) for images `x_fake` in [-1, 1] that G made from codes `c`."""
        return self.minus_r_id(self.gan_generator_losses(x_fake, batch), self.config.id_weight, x_fake, c)
