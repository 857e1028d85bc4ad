"""Stage 2: a GAN distilled from a frozen encoder (eq. 2 to 4), and the conditional GAN on the codes of that encoder."""

from dataclasses import dataclass

from idgan.errors import check_range
from idgan.images import encoder_view, to_unit
from idgan.objectives import terms
from idgan.objectives.gan import GAN, GANConfig
from idgan.objectives.objective import Losses

__all__ = ["IDGAN", "ConditionalGAN", "ConditionalGANConfig", "IDGANConfig"]


@dataclass(frozen=True)
class IDGANConfig(GANConfig):
    """ID-GAN. `id_weight` is lambda of eq. 2 (0: without distillation); the rest is the GAN's."""

    id_weight: float = 1e-3

    def __post_init__(self):
        super().__post_init__()
        check_range(0, id_weight=self.id_weight)

    def build(self, vae, generator, discriminator):
        """The `IDGAN` of this configuration; `vae` is frozen in place."""
        return IDGAN(vae, generator, discriminator, self)


class IDGAN(GAN):
    """min_G max_D L_GAN(D, G) - id_weight R_ID(G), with c from the frozen encoder's posterior of the real batch (eq. 2)."""

    prior = "aggregated"

    def r_id(self, x_fake, c):
        """R_ID, without its constant, of images `x_fake` (N, C, H, W) in [-1, 1] made from codes `c` (eq. 4)."""
        return terms.r_id(self.vae.encode(encoder_view(to_unit(x_fake), self.vae.config.resolution)), c)

    def generation(self, x_fake, c, batch):
        losses = super().generation(x_fake, c, batch)
        if self.config.id_weight > 0:
            r_id = self.r_id(x_fake, c)
            losses = Losses(losses.total - self.config.id_weight * r_id, losses.logged | {"r_id": r_id})
        return losses


@dataclass(frozen=True)
class ConditionalGANConfig(IDGANConfig):
    """The conditional GAN on frozen codes. It has no R_ID (`id_weight` 0), though it could be given one."""

    id_weight: float = 0.0

    def build(self, vae, generator, discriminator):
        """The `ConditionalGAN` of this configuration; `vae` is frozen in place, `discriminator` is a `ProjectionDiscriminator`."""
        return ConditionalGAN(vae, generator, discriminator, self)


class ConditionalGAN(IDGAN):
    """`IDGAN` whose D sees pairs: a real image with the code c ~ q(c|x) drawn from it, or G(s, c) with that c."""

    def logits(self, x, batch):
        return self.discriminator(x, self.latents(batch)[0]).float()
