"""A GAN whose code is drawn from its prior, without any encoder (eq. 3); what every objective with a discriminator is built on."""

from dataclasses import dataclass

import torch

from idgan.errors import check_integer, check_range
from idgan.images import encoder_view, to_signed
from idgan.networks.modules import freeze
from idgan.objectives import terms
from idgan.objectives.objective import Losses, Objective

__all__ = ["GAN", "GANConfig"]


@dataclass(frozen=True)
class GANConfig:
    """A GAN; `r1_weight` multiplies E||grad D||^2 without the 1/2, and 0 turns R1 off.

    `r1_interval` computes R1 at every k-th step only, k times as strong (lazy regularization, Karras et al. 2020).
    `fresh_fakes` runs the generator once for each phase, as the reference implementation does, instead of once for both.

    Raises:
        InvalidInputError: `r1_interval` is not positive, or a weight is negative.
    """

    r1_weight: float = 10.0
    r1_interval: int = 1
    fresh_fakes: bool = False

    def __post_init__(self):
        check_range(0, r1_weight=self.r1_weight)
        check_integer(1, r1_interval=self.r1_interval)

    def build(self, vae, generator, discriminator):
        """The `GAN` of this configuration; `vae` is frozen in place and takes no part."""
        return GAN(vae, generator, discriminator, self)


class GAN(Objective):
    """min_G max_D L_GAN(D, G) with c ~ N(0, I) and s ~ N(0, I) (eq. 3). The VAE takes no part in it.

    One draw of (s, c) serves the D step and the G step, and so does one forward of G, whose parameters do not change in between:
    D sees the fakes detached, G's loss reads D after its step.

    A subclass may draw c from the encoder (`prior`), show D more than the image (`logits`), or add to what G minimizes (`generation`).
    """

    phases = ("discriminator", "generator")
    prior = "normal"

    def __init__(self, vae, generator, discriminator, config):
        super().__init__()
        self.vae = freeze(vae)
        self.generator = generator
        self.discriminator = discriminator
        self.config = config

    def code(self, batch):
        """c of the batch, (N, c_dim): drawn from `prior`."""
        if self.prior == "normal":
            return batch.normal(self.generator.config.c_dim)
        posterior = self.vae.encode(encoder_view(batch.x, self.vae.config.resolution))
        return posterior.sample(batch.normal(posterior.mean.shape[1]))

    def latents(self, batch):
        """(c, cat([s, c])) of the batch, drawn once: shapes (N, c_dim) and (N, s_dim + c_dim)."""

        def draw():
            c = self.code(batch)
            s = batch.normal(self.generator.config.s_dim)
            return c, torch.cat([s, c], dim=1)

        return batch.once("latents", draw)

    def fakes(self, batch):
        """G(s, c) of the batch, (N, C, H, W) in [-1, 1]."""
        _, code = self.latents(batch)
        if (
            self.config.fresh_fakes or batch.parts > 1
        ):  # kept for a later phase, those of all parts would fill the memory that parts save
            return self.generator(code)
        return batch.once("fakes", lambda: self.generator(code))

    def reals(self, batch):
        """The images of the batch, (N, C, H, W) in [-1, 1], with gradients at the steps that have an R1 penalty."""
        return to_signed(batch.x).requires_grad_(self.differentiates_twice("discriminator", batch.step))

    def differentiates_twice(self, phase, step):
        return phase == "discriminator" and self.config.r1_weight > 0 and step % self.config.r1_interval == 0

    def logits(self, x, batch):
        """D's logits (N,) in float32 for images (N, C, H, W) in [-1, 1]."""
        return self.discriminator(x).float()

    def discriminator_losses(self, batch):
        x_real = self.reals(batch)
        return self.discrimination(x_real, self.logits(x_real, batch), self.logits(self.fakes(batch).detach(), batch))

    def discrimination(self, x_real, logits_real, logits_fake):
        """The loss of D: -L_GAN, and R1 on `x_real` where that has gradients."""
        loss = terms.discriminator_loss(logits_real, logits_fake)
        logged = {"discriminator_loss": loss, "logit_real": logits_real.mean(), "logit_fake": logits_fake.mean()}
        if x_real.requires_grad:
            r1 = terms.r1_penalty(logits_real, x_real)
            logged["r1"] = r1
            loss = loss + self.config.r1_weight * self.config.r1_interval * r1
        return Losses(loss, logged)

    def generator_losses(self, batch):
        return self.generation(self.fakes(batch), self.latents(batch)[0], batch)

    def generation(self, x_fake, c, batch):
        """The loss of G for its images `x_fake` of codes `c`: they should pass for real."""
        loss = terms.adversarial_loss(self.logits(x_fake, batch))
        return Losses(loss, {"generator_loss": loss})

    def train(self, mode=True):
        """A VAE that takes no gradients stays in eval mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.vae.parameters()):
            self.vae.eval()
        return self
