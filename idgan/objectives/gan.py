"""A GAN with codes from the prior (Eq. 3), and the base class of all objectives with a discriminator."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idgan.errors import check_integer, check_range
from idgan.images import encoder_view, to_signed, to_unit
from idgan.networks.modules import freeze
from idgan.networks.posterior import Posterior
from idgan.networks.protocols import DiscriminatorNetwork, Encoder, GeneratorNetwork
from idgan.objectives import terms
from idgan.objectives.objective import Losses, Objective, Phases, TrainingBatch, register_objective

__all__ = ["GAN", "GANConfig", "GANObjective"]


@register_objective()
@dataclass(frozen=True)
class GANConfig:
    """Config of a GAN.

    Attributes:
        r1_weight: weight of E||grad D||^2, without the factor 1/2. 0 turns R1 off.
        r1_interval: interval in steps between R1 penalties. Each is `r1_interval` times as strong (lazy regularization,
            Karras et al. 2020).
        fresh_fakes: run the generator once for each phase, as the reference implementation does. Otherwise both phases
            share one run.

    Raises:
        InvalidInputError: `r1_interval` is less than 1, or a weight is negative.
    """

    r1_weight: float = 10.0
    r1_interval: int = 1
    fresh_fakes: bool = False

    def __post_init__(self) -> None:
        check_range(0, r1_weight=self.r1_weight)
        check_integer(1, r1_interval=self.r1_interval)

    def build(self, vae: Any, generator: Any, discriminator: Any) -> "GANObjective":
        """The `GAN` of this config. It freezes `vae` in place and does not use it."""
        return GAN(vae, generator, discriminator, self)


class GANObjective(Objective):
    """Base of the objectives with a discriminator.

    Both phases share one sample of (s, c). They also share one forward pass of G, because the phase of D does not
    change G. D gets the fakes without gradients. The loss of G reads D after its update.

    A subclass sets `prior` and defines `generator_losses`.
    """

    def __init__(
        self, vae: Encoder, generator: GeneratorNetwork, discriminator: DiscriminatorNetwork, config: GANConfig
    ) -> None:
        super().__init__()
        self.vae = freeze(vae)
        self.generator = generator
        self.discriminator = discriminator
        self.config = config

    @property
    def phases(self) -> Phases:
        return {"discriminator": self.discriminator_losses, "generator": self.generator_losses}

    def discriminator_losses(self, batch: TrainingBatch) -> Losses:
        """-L_GAN (Eq. 3) and R1, for real images and fakes without gradients."""
        x_real = self.reals(batch)
        logits_real = self.logits(x_real, batch)
        logits_fake = self.logits(self.fakes(batch).detach(), batch)
        return self.gan_discriminator_losses(x_real, logits_real, logits_fake)

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        """Losses of the phase "generator"."""
        raise NotImplementedError(f"{type(self).__name__} must define generator_losses")

    def differentiates_twice(self, phase: str, step: int) -> bool:
        return phase == "discriminator" and self.config.r1_weight > 0 and step % self.config.r1_interval == 0

    def train(self, mode: bool = True) -> "GANObjective":
        """Set training mode. A frozen VAE stays in eval mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.vae.parameters()):
            self.vae.eval()
        return self

    # -------------------------------------------------------------- what a batch gives

    def posterior(self, batch: TrainingBatch) -> Posterior:
        """q(c|x) for the images of the batch, computed once."""
        view = encoder_view(batch.x, self.vae.config.resolution)
        return batch.once("posterior", lambda: self.vae.encode(view))

    def code(self, batch: TrainingBatch) -> Tensor:
        """c of the batch, (N, c_dim), drawn from `prior`."""
        if self.prior == "normal":
            return batch.normal(self.generator.config.c_dim)
        posterior = self.posterior(batch)
        return posterior.sample(batch.normal(posterior.mean.shape[1]))

    def latents(self, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """c (N, c_dim) and cat([s, c]) (N, s_dim + c_dim) of the batch, drawn once."""

        def draw() -> tuple[Tensor, Tensor]:
            c = self.code(batch)
            s = batch.normal(self.generator.config.s_dim)
            return c, torch.cat([s, c], dim=1)

        return batch.once("latents", draw)

    def fakes(self, batch: TrainingBatch) -> Tensor:
        """G(s, c) of the batch, (N, C, H, W) in [-1, 1]."""
        _, code = self.latents(batch)
        # With several parts, the fakes of all parts would fill the memory that the parts save.
        if self.config.fresh_fakes or batch.parts > 1:
            return self.generator(code)
        return batch.once("fakes", lambda: self.generator(code))

    def reals(self, batch: TrainingBatch) -> Tensor:
        """The images of the batch, (N, C, H, W) in [-1, 1]. They require gradients in steps with R1."""
        return to_signed(batch.x).requires_grad_(self.differentiates_twice("discriminator", batch.step))

    def logits(self, x: Tensor, batch: TrainingBatch) -> Tensor:
        """Logits (N,) of D in float32, for images `x` (N, C, H, W) in [-1, 1]."""
        return self.discriminator(x).float()

    # -------------------------------------------------------------- terms of the losses

    def gan_discriminator_losses(self, x_real: Tensor, logits_real: Tensor, logits_fake: Tensor) -> Losses:
        """-L_GAN from logits (N,), plus R1 if `x_real` requires gradients."""
        loss = terms.discriminator_loss(logits_real, logits_fake)
        logged = {"discriminator_loss": loss, "logit_real": logits_real.mean(), "logit_fake": logits_fake.mean()}
        if x_real.requires_grad:
            r1 = terms.r1_penalty(logits_real, x_real)
            logged["r1"] = r1
            loss = loss + self.config.r1_weight * self.config.r1_interval * r1
        return Losses(loss, logged)

    def gan_generator_losses(self, x_fake: Tensor, batch: TrainingBatch) -> Losses:
        """The non-saturating loss of G for its images `x_fake` (N, C, H, W) in [-1, 1]."""
        loss = terms.adversarial_loss(self.logits(x_fake, batch))
        return Losses(loss, {"generator_loss": loss})

    def minus_r_id(self, losses: Losses, weight: float, x_fake: Tensor, c: Tensor) -> Losses:
        """`losses` - weight R_ID (Eq. 2 and 4). G made the images `x_fake` in [-1, 1] from the codes `c` (N, c_dim)."""
        if weight == 0:
            return losses
        r_id = terms.r_id(self.vae.encode(encoder_view(to_unit(x_fake), self.vae.config.resolution)), c)
        return Losses(losses.total - weight * r_id, losses.logged | {"r_id": r_id})


class GAN(GANObjective):
    """min_G max_D L_GAN(D, G) with c ~ N(0, I) and s ~ N(0, I) (Eq. 3). The VAE takes no part."""

    prior = "normal"

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        return self.gan_generator_losses(self.fakes(batch), batch)
