"""InfoGAN (Chen et al. 2016): a GAN that learns to read its own codes (eq. 5)."""

from dataclasses import dataclass

from idgan.images import to_unit
from idgan.networks.modules import freeze
from idgan.objectives.id_gan import IDGAN, IDGANConfig
from idgan.objectives.objective import Losses

__all__ = ["InfoGAN", "InfoGANConfig"]


@dataclass(frozen=True)
class InfoGANConfig(IDGANConfig):
    """InfoGAN. `id_weight` weighs the regularizer of eq. 5, as lambda of eq. 2 does in ID-GAN."""

    def build(self, vae, generator, discriminator):
        """The `InfoGAN` of this configuration: the encoder of `vae` is D's trunk with the code head, `discriminator` a `LogitHead` on it."""
        return InfoGAN(vae, generator, discriminator, self)


class InfoGAN(IDGAN):
    """min_{G, q} max_D L_GAN(D, G) - id_weight E log q(c|G(s, c)), c ~ N(0, I) (eq. 5; the entropy of the prior is a constant).

    D and q share all layers but the last: they are the encoder, so that the q that has been learned is the encoder of the checkpoint. As in
    the authors' implementation the term is in both phases: D's moves trunk and heads, on detached fakes, and G's moves G.
    The VAE's decoder takes no part.
    """

    prior = "normal"

    def __init__(self, vae, generator, discriminator, config):
        super().__init__(vae, generator, discriminator, config)
        vae.requires_grad_(True)
        freeze(vae.decoder)

    def networks(self, phase):
        return [self.discriminator, self.vae.encoder] if phase == "discriminator" else super().networks(phase)

    def logits(self, x, batch):
        return self.discriminator(self.vae.features(to_unit(x))).float()

    def discriminator_losses(self, batch):
        losses = super().discriminator_losses(batch)
        if self.config.id_weight > 0:
            r_id = self.r_id(self.fakes(batch).detach(), self.latents(batch)[0])
            losses = Losses(losses.total - self.config.id_weight * r_id, losses.logged)
        return losses
