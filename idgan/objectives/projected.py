"""ID-GAN with a projected discriminator (Sauer et al. 2021): D reads features of a frozen network.

Its generator can also learn to reconstruct the training images, with the nuisance s from a second encoder.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idgan.errors import InvalidInputError, check_integer, check_range
from idgan.images import encoder_view, to_signed, to_unit
from idgan.networks.nuisance import NuisanceEncoder, NuisanceEncoderConfig
from idgan.networks.projected import ProjectedDiscriminator, without_autocast
from idgan.networks.protocols import Encoder, GeneratorNetwork, Network, check_methods
from idgan.objectives import terms
from idgan.objectives.gan import GANObjective
from idgan.objectives.id_gan import IDGANConfig
from idgan.objectives.objective import Losses, TrainingBatch, register_objective

__all__ = ["ProjectedIDGAN", "ProjectedIDGANConfig", "feature_r1", "shifted"]

WARM_UP_STEPS = 200


@register_objective()
@dataclass(frozen=True)
class ProjectedIDGANConfig(IDGANConfig):
    """Config of ID-GAN with a projected discriminator: the fields of `IDGANConfig`, and more.

    R1 reads the mixed features and not the pixels, so its weight has another scale. `id_weight` is larger than that of
    ID-GAN, because each scale adds a loss of G. Measured from the generator of celeba-64-w16, with a code alignment of
    0.229: after 1,000 steps it is 0.25 with `id_weight` 0.05, and 0.22 with 0.2 (lower is better).

    Attributes:
        head_start: number of steps in which only D is trained. They are the first, or follow `reconstruction_steps`.
        reconstruction_weight: weight of the reconstruction (see `ProjectedIDGAN`). 0 turns it off. Otherwise the
            generator needs a nuisance s.
        likelihood: its reconstruction error, "squared-error" or "bernoulli" (for images that are almost binary).
        s_beta: weight of the KL of s in it.
        s_shift: largest random shift, in pixels, of the images that q(s|x) reads (see `ProjectedIDGAN`).
        reconstruction_steps: number of first steps in which the reconstruction alone is trained, without D.

    Raises:
        InvalidInputError: a number is negative, `r1_interval` is less than 1, or the likelihood is unknown.
    """

    r1_weight: float = 1.0
    r1_interval: int = 8
    id_weight: float = 0.2
    head_start: int = 60
    reconstruction_weight: float = 0.0
    likelihood: str = "squared-error"
    s_beta: float = 1.0
    s_shift: int = 0
    reconstruction_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        terms.check_likelihood(self.likelihood)
        check_integer(0, head_start=self.head_start, reconstruction_steps=self.reconstruction_steps)
        check_integer(0, s_shift=self.s_shift)
        check_range(0, reconstruction_weight=self.reconstruction_weight, s_beta=self.s_beta)

    def build(self, vae: Any, generator: Any, discriminator: Any) -> GANObjective:
        """The `ProjectedIDGAN` of this config, for a `ProjectedDiscriminator`. It freezes `vae` in place."""
        return ProjectedIDGAN(vae, generator, discriminator, self)


class ProjectedIDGAN(GANObjective):
    """min_G max_{D_l} sum_l L_GAN(D_l, G) - id_weight R_ID(G) (Sauer et al. 2021, Eq. 2, with R_ID).

    D_l is the discriminator of scale l of the mixed features. Both phases share one run of G, and one run of the frozen
    network on its images.

    With `reconstruction_weight`, the loss of G has one more term, which also trains an encoder q(s|x):

        reconstruction_weight (E ||G(s, c) - x||^2 + s_beta KL(q(s|x) || N(0, I))), s ~ q(s|x), c the mean of q(c|x)

    It is the loss of a VAE whose code is s and whose decoder also gets c (a conditional VAE, Sohn et al. 2015). s
    learns what c lacks, and G learns to draw it at every c. Images are in [0, 1] there, and the squares are summed over
    pixels. With the likelihood "bernoulli", the error is the cross entropy of the pixels. The paper has no such term.
    q(s|x) becomes the nuisance encoder of the checkpoint. It has no moving average.

    With `s_shift`, q(s|x) reads each image shifted at random, and what leaves the image on one side enters on the
    opposite side. q(s|x) then knows the position of an object only roughly, so the same s must describe the object at
    every position. If the shift is large from the start, training hardly ever starts to use s. The shift is therefore 0
    in the first quarter of `reconstruction_steps`, rises linearly in the next half, and is `s_shift` afterwards. With
    `reconstruction_steps` 0, it is `s_shift` from the start.

    Raises:
        InvalidInputError: `discriminator` is not a projected discriminator, G has no s to reconstruct with, or
            `reconstruction_steps` is not 0 although `reconstruction_weight` is.
    """

    config: ProjectedIDGANConfig
    discriminator: ProjectedDiscriminator
    nuisance_encoder: NuisanceEncoder | None

    def __init__(
        self,
        vae: Encoder,
        generator: GeneratorNetwork,
        discriminator: ProjectedDiscriminator,
        config: ProjectedIDGANConfig,
    ) -> None:
        check_methods(discriminator, "features", "logits_of", "identity", needed_by="ProjectedIDGAN")
        super().__init__(vae, generator, discriminator, config)
        if config.reconstruction_steps and not config.reconstruction_weight:
            raise InvalidInputError(
                f"reconstruction_steps is {config.reconstruction_steps}, but reconstruction_weight is 0, so these "
                "steps would train nothing; set a weight above 0, or 0 steps"
            )
        self.nuisance_encoder = None
        if config.reconstruction_weight:
            shape = generator.config
            if shape.s_dim == 0:
                raise InvalidInputError(
                    "reconstruction_weight needs a generator with a nuisance s, but its s_dim is 0; "
                    "set generator.s_dim, for example to 8, or reconstruction_weight to 0"
                )
            self.nuisance_encoder = NuisanceEncoderConfig(shape.s_dim, shape.image_channels).build()

    def networks(self, phase: str) -> Sequence[Network]:
        networks = super().networks(phase)
        if phase != "generator" or self.nuisance_encoder is None:
            return networks
        return [*networks, self.nuisance_encoder]

    def identity(self) -> dict[str, str]:
        return dict(self.discriminator.identity)

    def skips_phase(self, phase: str, step: int) -> bool:
        step -= self.config.reconstruction_steps
        return phase == "discriminator" if step < 0 else phase == "generator" and step < self.config.head_start

    def lr_factor(self, phase: str, step: int) -> float:
        """1, but with a reconstruction, G's rises linearly over the first `WARM_UP_STEPS` steps of the stage."""
        rising = phase == "generator" and self.nuisance_encoder is not None
        return min(1.0, (step + 1) / WARM_UP_STEPS) if rising else 1.0

    def largest_shift(self, step: int) -> int:
        """The largest shift of an image that q(s|x) reads at `step`, in pixels."""
        steps = self.config.reconstruction_steps
        share = 2 * step / steps - 0.5 if step < steps else 1.0
        return round(self.config.s_shift * min(1.0, max(0.0, share)))

    def fake_maps(self, batch: TrainingBatch) -> list[Tensor]:
        """Mixed feature maps of the fakes, with gradients to G."""

        def compute() -> list[Tensor]:
            return self.discriminator.features(self.fakes(batch))

        if self.config.fresh_fakes or batch.parts > 1:  # as in `fakes`
            return compute()
        return batch.once("fake_maps", compute)

    def discriminator_losses(self, batch: TrainingBatch) -> Losses:
        """The sum of -L_GAN over scales, and R1 on the features of real images."""
        penalized = self.differentiates_twice("discriminator", batch.step)
        with torch.no_grad():
            real = self.discriminator.features(to_signed(batch.x))
        fake = [z.detach() for z in self.fake_maps(batch)]
        for z in real:
            z.requires_grad_(penalized)
        both = [torch.cat(pair) for pair in zip(real, fake)]
        with without_autocast(batch.x.device) if penalized else nullcontext():  # R1 in float32
            logits_real, logits_fake = self.discriminator.logits_of(both).chunk(2)
        scales = list(zip(logits_real.unbind(1), logits_fake.unbind(1)))
        loss = sum((terms.discriminator_loss(*logits) for logits in scales), logits_real.new_zeros(()))
        logged = {"discriminator_loss": loss, "logit_real": logits_real.mean(), "logit_fake": logits_fake.mean()}
        logged |= {f"logit_gap_{scale}": (on_real - on_fake).mean() for scale, (on_real, on_fake) in enumerate(scales)}
        if penalized:
            r1 = feature_r1(logits_real, real)
            logged["r1"] = r1
            loss = loss + self.config.r1_weight * self.config.r1_interval * r1
        return Losses(loss, logged)

    def generator_losses(self, batch: TrainingBatch) -> Losses:
        """The sum of the non-saturating losses over scales, minus id_weight R_ID, and the reconstruction."""
        if batch.step < self.config.reconstruction_steps:
            return self.plus_reconstruction(Losses(batch.x.new_zeros(())), batch)
        x_fake, maps, (c, _) = self.fakes(batch), self.fake_maps(batch), self.latents(batch)
        logits = self.discriminator.logits_of(maps)
        loss = sum((terms.adversarial_loss(each) for each in logits.unbind(1)), logits.new_zeros(()))
        losses = self.minus_r_id(Losses(loss, {"generator_loss": loss}), self.config.id_weight, x_fake, c)
        return self.plus_reconstruction(losses, batch)

    def plus_reconstruction(self, losses: Losses, batch: TrainingBatch) -> Losses:
        """`losses` plus the weighted reconstruction of the batch, if it has a weight."""
        if self.nuisance_encoder is None:
            return losses
        c = self.posterior(batch).mean
        view = encoder_view(batch.x, self.nuisance_encoder.config.resolution)
        if largest := self.largest_shift(batch.step):
            view = shifted(view, ((2 * batch.uniform(2) - 1) * (largest + 0.5)).round())
        q = self.nuisance_encoder.encode(view)
        s = q.sample(batch.normal(self.generator.config.s_dim))
        with without_autocast(batch.x.device):  # images in bf16 are exactly 0 and 1 at most pixels: no gradient there
            drawn = to_unit(self.generator(torch.cat([s, c], dim=1)))
        error, kl = terms.image_error(drawn, batch.x, self.config.likelihood), terms.kl_divergence(q)
        total = losses.total + self.config.reconstruction_weight * (error + self.config.s_beta * kl)
        return Losses(total, losses.logged | {"reconstruction": error, "s_kl": kl})


def shifted(x: Tensor, by: Tensor) -> Tensor:
    """Images `x` (N, C, H, W), each moved down and right by its row of whole numbers `by` (N, 2).

    What leaves an image on one side enters on the opposite side.
    """
    height, width = x.shape[2:]
    rows, columns = (
        (torch.arange(size, device=x.device) - amount[:, None].long()) % size
        for size, amount in zip((height, width), by.unbind(1))
    )
    x = x.gather(2, rows[:, None, :, None].expand_as(x))
    return x.gather(3, columns[:, None, None, :].expand_as(x))


def feature_r1(logits_real: Tensor, maps: list[Tensor]) -> Tensor:
    """sum_l E ||grad_{z_l} D_l(z_l)||^2 over features of real images, without the factor 1/2.

    This is R1 on features (Mescheder et al. 2018, Eq. 9). The result is differentiable with respect to D.

    Args:
        logits_real: logits (N, scales) that were computed from `maps`.
        maps: mixed maps, each (N, ...). They require gradients.
    """
    gradients = torch.autograd.grad(logits_real.sum(), maps, create_graph=True)
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum() / len(logits_real)
