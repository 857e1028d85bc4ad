"""Stage 2: a GAN distilled from a frozen encoder (eq. 2 to 4)."""

from dataclasses import dataclass

import torch

from idgan.errors import InvalidInputError
from idgan.images import encoder_view, to_signed, to_unit
from idgan.objectives import terms
from idgan.objectives.objective import Losses, Objective, freeze

__all__ = ["IDGAN", "IDGANConfig"]


@dataclass(frozen=True)
class IDGANConfig:
    """ID-GAN. `id_weight` is lambda of eq. 2 (0: without distillation); `r1_weight` multiplies E||grad D||^2 without the 1/2.

    `r1_every` computes R1 at every k-th step only, k times as strong (lazy regularisation, Karras et al. 2020).
    `fresh_fakes` runs the generator once for each phase, as the reference implementation does, instead of once for both.

    Raises:
        InvalidInputError: `r1_every` is not positive.
    """

    id_weight: float = 1e-3
    r1_weight: float = 10.0
    r1_every: int = 1
    fresh_fakes: bool = False

    def __post_init__(self):
        if self.r1_every < 1:
            raise InvalidInputError(f"r1_every must be 1 or more, got {self.r1_every}; r1_weight 0 turns R1 off")

    def build(self, vae, generator, discriminator):
        """The `IDGAN` of this configuration; `vae` is frozen in place."""
        return IDGAN(vae, generator, discriminator, self)


class IDGAN(Objective):
    """min_G max_D L_GAN(D, G) - id_weight R_ID(G), with c from the frozen encoder's posterior of the real batch (eq. 2).

    One draw of (s, c) serves the D step and the G step, and so does one forward of G, whose parameters do not change in between:
    D sees the fakes detached, G's loss reads D after its step.
    """

    phases = ("discriminator", "generator")

    def __init__(self, vae, generator, discriminator, config):
        super().__init__()
        self.vae = freeze(vae)
        self.generator = generator
        self.discriminator = discriminator
        self.config = config

    def latents(self, batch):
        """(c, cat([s, c])) of the batch, drawn once: c ~ q(c|x_real), s ~ N(0, I); shapes (N, c_dim) and (N, s_dim + c_dim)."""

        def draw():
            posterior = self.vae.encode(encoder_view(batch.x))
            c = posterior.sample(batch.normal(self.vae.config.c_dim))
            s = batch.normal(self.generator.config.s_dim)
            return c, torch.cat([s, c], dim=1)

        return batch.once("latents", draw)

    def fakes(self, batch):
        """G(s, c) of the batch, (N, C, H, W) in [-1, 1]."""
        _, code = self.latents(batch)
        if self.config.fresh_fakes:
            return self.generator(code)
        return batch.once("fakes", lambda: self.generator(code))

    def reals(self, batch):
        """The images of the batch, (N, C, H, W) in [-1, 1], with gradients at the steps that have an R1 penalty."""
        with_r1 = self.config.r1_weight > 0 and batch.step % self.config.r1_every == 0
        return to_signed(batch.x).requires_grad_(with_r1)

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
            loss = loss + self.config.r1_weight * self.config.r1_every * r1
        return Losses(loss, logged)

    def generator_losses(self, batch):
        c, _ = self.latents(batch)
        x_fake = self.fakes(batch)
        adversarial = terms.adversarial_loss(self.logits(x_fake, batch))
        logged = {"generator_loss": adversarial}
        loss = adversarial
        if self.config.id_weight > 0:
            r_id = terms.r_id(self.vae.encode(encoder_view(to_unit(x_fake))), c)
            logged["r_id"] = r_id
            loss = loss - self.config.id_weight * r_id
        return Losses(loss, logged)

    def train(self, mode=True):
        super().train(mode)
        self.vae.eval()
        return self
