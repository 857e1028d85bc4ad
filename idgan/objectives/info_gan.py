"""InfoGAN (Chen et al. 2016): a GAN with an encoder that learns to read the codes of the fakes (Eq. 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from idgan.images import to_unit
from idgan.networks.heads import LogitHead
from idgan.networks.modules import freeze
from idgan.networks.protocols import GeneratorNetwork, Network, check_methods
from idgan.objectives.gan import GANObjective
from idgan.objectives.id_gan import IDGANConfig
from idgan.objectives.objective import Losses, TrainingBatch, register_objective

__all__ = ["InfoGAN", "InfoGANConfig"]


@register_objective()
@dataclass(frozen=True)
class InfoGANConfig(IDGANConfig):
    """Config of InfoGAN. `id_weight` is the weight of the regularizer of Eq. 5."""

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `InfoGAN` of this config. D is the encoder of `vae` with the `LogitHead` as last layer."""
        return InfoGAN(vae, generator, discriminator, self)


class InfoGAN(GANObjective):
    """min_{G, q} max_D L_GAN(D, G) - id_weight E log q(c|G(s, c)) with c ~ N(0, I) (Eq. 5, without the entropy).

    D and q share all layers except the last. The shared layers are the encoder, so the learned q is the encoder of the
    checkpoint. As in the authors' implementation, both phases have the term. The phase of D updates the encoder and
    both heads, on fakes without gradients. The phase of G updates G. A decoder takes no part.

    Raises:
        InvalidInputError: `vae` has no `features` or `encoder`.
    """

    prior = "normal"
    vae: Any  # a `VAE` or a `ResNetEncoder`
    config: InfoGANConfig

    def __init__(self, vae: Any, generator: GeneratorNetwork, discriminator: LogitHead, config: InfoGANConfig) -> None:
        check_methods(vae, "features", "encoder", needed_by="InfoGAN")
        super().__init__(vae, generator, discriminator, config)
        vae.requires_grad_(True)
        if hasattr(vae, "decoder"):
            freeze(vae.decoder)

    def networks(self, phase: str) -> Sequence[Network]:
        return [self.discriminator, self.vae.encoder] if phase == "discriminator" else super().networks(phase)

    def logits(self, x: Tensor, batch: TrainingBatch) -> Tensor:
        return self.discriminator(self.vae.features(to_unit(x))).float()

    def discriminator_losses(self, batch: TrainingBatch) -> Losses:
        losses = super().discriminator_losses(batch)
        if self.config.id_weight == 0:
            return losses
        x_fake, (c, _) = self.fakes(batch).detach(), self.latents(batch)
        return Losses(self.minus_r_id(losses, self.config.id_weight, x_fake, c).total, losses.logged)

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        x_fake, (c, _) = self.fakes(batch), self.latents(batch)
        return self.minus_r_id(self.gan_generator_losses(x_fake, batch), self.config.id_weight, x_fake, c)
