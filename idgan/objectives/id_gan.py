"""Stage 2: a GAN distilled from a frozen encoder (Eq. 2 to 4), and the conditional GAN on the codes of that encoder."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from idgan.errors import check_range
from idgan.networks.projection import ProjectionDiscriminator
from idgan.networks.protocols import DiscriminatorNetwork, Encoder, GeneratorNetwork
from idgan.objectives.gan import GANConfig, GANObjective
from idgan.objectives.objective import Losses, TrainingBatch, register_objective

__all__ = ["IDGAN", "ConditionalGAN", "ConditionalGANConfig", "IDGANConfig"]


@register_objective()
@dataclass(frozen=True)
class IDGANConfig(GANConfig):
    """Config of ID-GAN: the fields of `GANConfig`, and `id_weight`.

    Attributes:
        id_weight: weight of R_ID (lambda in Eq. 2). 0 turns distillation off.

    Raises:
        InvalidInputError: a weight is negative, or `r1_interval` is less than 1.
    """

    id_weight: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, id_weight=self.id_weight)

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `IDGAN` of this config. It freezes `vae` in place."""
        return IDGAN(vae, generator, discriminator, self)


class IDGAN(GANObjective):
    """min_G max_D L_GAN(D, G) - id_weight R_ID(G) (Eq. 2). The frozen encoder's posterior of the real batch gives c."""

    config: IDGANConfig

    def __init__(
        self, vae: Encoder, generator: GeneratorNetwork, discriminator: DiscriminatorNetwork, config: IDGANConfig
    ) -> None:
        super().__init__(vae, generator, discriminator, config)

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        x_fake, (c, _) = self.fakes(batch), self.latents(batch)
        return self.minus_r_id(self.gan_generator_losses(x_fake, batch), self.config.id_weight, x_fake, c)


@register_objective()
@dataclass(frozen=True)
class ConditionalGANConfig(IDGANConfig):
    """Config of the conditional GAN. Its default has no R_ID (`id_weight` 0)."""

    id_weight: float = 0.0

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `ConditionalGAN` of this config, for a `ProjectionDiscriminator`. It freezes `vae` in place."""
        return ConditionalGAN(vae, generator, discriminator, self)


class ConditionalGAN(GANObjective):
    """ID-GAN with a discriminator of pairs: a real image with a code c ~ q(c|x), or G(s, c) with that c."""

    config: ConditionalGANConfig
    discriminator: ProjectionDiscriminator

    def __init__(
        self,
        vae: Encoder,
        generator: GeneratorNetwork,
        discriminator: ProjectionDiscriminator,
        config: ConditionalGANConfig,
    ) -> None:
        super().__init__(vae, generator, discriminator, config)

    def logits(self, x: Tensor, batch: TrainingBatch) -> Tensor:
        return self.discriminator(x, self.latents(batch)[0]).float()

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        x_fake, (c, _) = self.fakes(batch), self.latents(batch)
        return self.minus_r_id(self.gan_generator_losses(x_fake, batch), self.config.id_weight, x_fake, c)
