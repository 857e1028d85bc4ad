"""What two stages are compared with: the VAE trained at the same time as the GAN, as VAE-GAN or as ID-GAN end to end."""

from dataclasses import dataclass, field

import torch

from idgan.errors import check_range
from idgan.images import to_signed
from idgan.objectives import terms
from idgan.objectives.gan import GAN, GANConfig
from idgan.objectives.id_gan import IDGAN, IDGANConfig
from idgan.objectives.objective import Losses
from idgan.objectives.vae import BetaVAEConfig, VAEObjectiveConfig

__all__ = ["VAEGAN", "EndToEndIDGAN", "EndToEndIDGANConfig", "VAEGANConfig"]


class Joint(GAN):
    """What the two share: the objective of stage 1 (`config.stage_1`), whose phases are among their own, on a VAE that is not frozen."""

    prior = "aggregated"

    def __init__(self, vae, generator, discriminator, config):
        super().__init__(vae, generator, discriminator, config)
        vae.requires_grad_(True)
        self.stage_1 = config.stage_1.build(vae)

    def networks(self, phase):
        return self.stage_1.networks(phase) if phase in self.stage_1.phases else super().networks(phase)

    def losses(self, phase, batch):
        """`Losses` of `phase`, which is stage 1's unless there is one here."""
        return super().losses(phase, batch) if hasattr(self, f"{phase}_losses") else self.stage_1.losses(phase, batch)


@dataclass(frozen=True)
class VAEGANConfig(GANConfig):
    """VAE-GAN; `adversarial_weight` 0 leaves the objective `stage_1`, a beta-VAE unless another is given.

    Raises:
        InvalidInputError: `adversarial_weight` is negative.
    """

    stage_1: VAEObjectiveConfig = field(default_factory=BetaVAEConfig)
    adversarial_weight: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_range(0, adversarial_weight=self.adversarial_weight)

    def build(self, vae, generator, discriminator):
        """The `VAEGAN` of this configuration. `generator` is not used: the decoder of `vae` takes its place."""
        return VAEGAN(vae, discriminator, self)


class VAEGAN(Joint):
    """VAE: min L_VAE - adversarial_weight E log D(decoder(c)), c ~ q(c|x); D: max L_GAN. Encoder and decoder are moved by both terms.

    Its generator is the VAE itself (`VAE.as_generator`), for images of 64x64. They are decoded once for both phases.
    """

    def __init__(self, vae, discriminator, config):
        super().__init__(vae, vae, discriminator, config)
        self.phases = ("discriminator", *self.stage_1.phases)

    def fakes(self, batch):
        """The mean images of p(x|c) for codes of the batch, (N, C, 64, 64) in [-1, 1]."""
        return to_signed(torch.sigmoid(self.stage_1.decoded(batch)))

    def vae_losses(self, batch):
        losses = self.stage_1.vae_losses(batch)
        adversarial = terms.adversarial_loss(self.logits(self.fakes(batch), batch))
        return Losses(
            losses.total + self.config.adversarial_weight * adversarial, losses.logged | {"generator_loss": adversarial}
        )


@dataclass(frozen=True)
class EndToEndIDGANConfig(IDGANConfig):
    """ID-GAN whose encoder is trained at the same time, by the objective `stage_1` and by what the GAN makes of its codes."""

    stage_1: VAEObjectiveConfig = field(default_factory=BetaVAEConfig)

    def build(self, vae, generator, discriminator):
        """The `EndToEndIDGAN` of this configuration."""
        return EndToEndIDGAN(vae, generator, discriminator, self)


class EndToEndIDGAN(Joint, IDGAN):
    """min_{VAE, G} max_D L_VAE + L_GAN(D, G) - id_weight R_ID, in one stage: equations 1 and 2 added up.

    Each phase descends the sum in its own parameters: to D and G the codes are given, as in `IDGAN`; the VAE is moved by stage 1's loss and by
    G's, which reaches it through the codes, c ~ q(c|x) reparametrized, and through the encoder that reads G(s, c).
    """

    def __init__(self, vae, generator, discriminator, config):
        super().__init__(vae, generator, discriminator, config)
        self.phases = ("discriminator", *self.stage_1.phases, "generator")

    def code(self, batch):
        return self.stage_1.codes(batch)[1].detach()

    def vae_losses(self, batch):
        losses = self.stage_1.vae_losses(batch)
        _, c = self.stage_1.codes(batch)
        _, code = self.latents(batch)
        x_fake = self.generator(torch.cat([code[:, : -c.shape[1]], c], dim=1))
        return Losses(losses.total + self.generation(x_fake, c, batch).total, losses.logged)
