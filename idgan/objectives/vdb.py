"""ID-GAN with a variational discriminator bottleneck (Peng et al. 2019), for 1024x1024."""

from dataclasses import dataclass

import torch
import torch.distributed as dist

from idgan.errors import check_range
from idgan.objectives import terms
from idgan.objectives.id_gan import IDGAN, IDGANConfig
from idgan.objectives.objective import Losses

__all__ = ["BottleneckIDGAN", "BottleneckIDGANConfig"]


@dataclass(frozen=True)
class BottleneckIDGANConfig(IDGANConfig):
    """ID-GAN whose D may learn `bottleneck_capacity` (I_c) nats a position of an image.

    `bottleneck_beta` is where the multiplier of that constraint starts, `bottleneck_step` the length of its steps.

    Raises:
        InvalidInputError: one of them is negative.
    """

    bottleneck_capacity: float = 0.1
    bottleneck_beta: float = 0.1
    bottleneck_step: float = 1e-5

    def __post_init__(self):
        super().__post_init__()
        check_range(
            0,
            bottleneck_capacity=self.bottleneck_capacity,
            bottleneck_beta=self.bottleneck_beta,
            bottleneck_step=self.bottleneck_step,
        )

    def build(self, vae, generator, discriminator):
        """The `BottleneckIDGAN` of this configuration; `vae` is frozen in place, `discriminator` is a `BottleneckDiscriminator`."""
        return BottleneckIDGAN(vae, generator, discriminator, self)


class BottleneckIDGAN(IDGAN):
    """`IDGAN`, in which D minimizes -L_GAN + beta (KL - I_c) with beta >= 0 rising along the same term (Peng et al. 2019, eq. 8 and 9).

    KL = E KL(q(z|x) || N(0, I)) per position of z, half over real and half over fake images. Beta follows it in training mode, as the
    statistics of batch normalization do.

    In both phases D judges draws of z. Peng et al. write G's loss with the mean of q(z|x) instead; their code for images and ID-GAN's draw.
    """

    def __init__(self, vae, generator, discriminator, config):
        super().__init__(vae, generator, discriminator, config)
        self.register_buffer("bottleneck_beta", torch.tensor(config.bottleneck_beta))

    def verdict(self, posterior, batch):
        """D's logits (N,) in float32 for a draw of z from `posterior`, q(z|x)."""
        noise = batch.normal(posterior.mean[0].numel()).view(posterior.mean.shape)
        return self.discriminator.logits_of(posterior.sample(noise)).float()

    def logits(self, x, batch):
        return self.verdict(self.discriminator.encode(x), batch)

    def discriminator_losses(self, batch):
        x_real = self.reals(batch)
        q_real, q_fake = self.discriminator.encode(x_real), self.discriminator.encode(self.fakes(batch).detach())
        losses = self.discrimination(x_real, self.verdict(q_real, batch), self.verdict(q_fake, batch))
        kl = (terms.kl_divergence(q_real) + terms.kl_divergence(q_fake)) / 2
        total = losses.total + self.bottleneck_beta * (kl - self.config.bottleneck_capacity)
        logged = losses.logged | {"bottleneck_kl": kl, "bottleneck_beta": self.bottleneck_beta}
        if self.training and (kl := batch.pooled("bottleneck_kl", kl.detach())) is not None:
            self.bottleneck_beta = self.adapted_beta(kl)
        return Losses(total, logged)

    def adapted_beta(self, kl):
        """max(0, beta - step (I_c - KL)), the next beta; KL is the mean over all processes, so that they keep one beta."""
        if dist.is_initialized():
            kl = kl / dist.get_world_size()
            dist.all_reduce(kl)
        return (self.bottleneck_beta - self.config.bottleneck_step * (self.config.bottleneck_capacity - kl)).clamp(
            min=0
        )
