"""FactorVAE (Kim & Mnih 2018): a VAE with a discriminator that estimates the total correlation of its codes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from idgan.errors import InvalidInputError, check_integer, check_range
from idgan.networks.heads import TCDiscriminator
from idgan.networks.protocols import VAENetwork
from idgan.objectives import terms
from idgan.objectives.objective import Losses, Phases, TrainingBatch, register_objective
from idgan.objectives.vae import VAEObjective, VAEObjectiveConfig

__all__ = ["CapacityFactorVAEConfig", "FactorVAE", "FactorVAEConfig", "tc_discriminator_losses"]

MIN_BATCH = 2
"""Smallest batch: the discriminator compares its two halves."""

KLPenalty = Callable[[Tensor, int], Tensor]
"""Function from (KL, step) to the term of the loss."""


@register_objective()
@dataclass(frozen=True)
class FactorVAEConfig(VAEObjectiveConfig):
    """Config of FactorVAE. `tc_weight` is 0 or more (gamma in the paper of FactorVAE). A VAE has 0."""

    tc_weight: float = 35.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, tc_weight=self.tc_weight)

    def build(self, vae: VAENetwork) -> "FactorVAE":
        """The `FactorVAE` of this config, for `vae`, with a new discriminator."""
        return FactorVAE(vae, self, lambda kl, step: kl)


@register_objective()
@dataclass(frozen=True)
class CapacityFactorVAEConfig(VAEObjectiveConfig):
    """Config of FactorVAE with capacity annealing: `FactorVAE` in which weight |KL - C(step)| replaces the KL.

    Annealing alone (`CapacityVAE`) aligns the first factors well. With more capacity, a second dimension learns one of
    them again. The total correlation penalizes that.

    Attributes:
        tc_weight: weight of the total correlation.
        capacity, capacity_steps, weight: as in `CapacityVAEConfig`.

    Raises:
        InvalidInputError: a number is negative, or `capacity_steps` is less than 1.
    """

    capacity: float = 16.0
    capacity_steps: int = 16_000
    weight: float = 100.0
    tc_weight: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, capacity=self.capacity, weight=self.weight, tc_weight=self.tc_weight)
        check_integer(1, capacity_steps=self.capacity_steps)

    def build(self, vae: VAENetwork) -> "FactorVAE":
        """The `FactorVAE` of this config, for `vae`, with a new discriminator."""

        def kl_penalty(kl: Tensor, step: int) -> Tensor:
            capacity = terms.annealed_capacity(step, self.capacity, self.capacity_steps)
            return terms.capacity_penalty(kl, capacity, self.weight)

        return FactorVAE(vae, self, kl_penalty)


class FactorVAE(VAEObjective):
    """VAE: min E[-log p(x|c)] + kl_penalty(KL, step) + tc_weight TC(q(c)) (Kim & Mnih 2018, Eq. 2).

    The TC discriminator separates codes of q(c) from codes of the product of its marginals. In Algorithm 2 of that
    paper, a second minibatch supplies the permuted codes. Here the whole batch trains the VAE. The discriminator
    compares the codes of the first half with permuted codes of the second half.
    """

    def __init__(
        self, vae: VAENetwork, config: FactorVAEConfig | CapacityFactorVAEConfig, kl_penalty: KLPenalty
    ) -> None:
        super().__init__(vae)
        self.config = config
        self.kl_penalty = kl_penalty
        self.tc_discriminator = TCDiscriminator(vae.config.c_dim)

    @property
    def phases(self) -> Phases:
        return {"vae": self.vae_losses, "tc_discriminator": self.tc_discriminator_losses}

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        posterior, c = self.codes(batch)
        reconstruction = self.reconstruction(batch, self.config.likelihood)
        kl = terms.kl_divergence(posterior)
        tc = terms.tc_estimate(self.tc_discriminator(c))
        regularizer = self.kl_penalty(kl, batch.step) + self.config.tc_weight * tc
        return Losses(reconstruction + regularizer, {"reconstruction": reconstruction, "kl": kl, "tc": tc})

    def tc_discriminator_losses(self, batch: TrainingBatch) -> Losses:
        return tc_discriminator_losses(self.tc_discriminator, self.codes(batch)[1], batch)


def tc_discriminator_losses(discriminator: TCDiscriminator, c: Tensor, batch: TrainingBatch) -> Losses:
    """Losses of the TC discriminator for the codes `c` (N, c_dim) of a batch.

    Raises:
        InvalidInputError: the batch has fewer than two images.
    """
    if len(c) < MIN_BATCH:
        raise InvalidInputError(
            f"FactorVAE compares the two halves of a batch, so each part of a batch (batch_size / "
            f"accumulation_steps) needs {MIN_BATCH} images or more, got {len(c)}"
        )
    half = len(c) // 2
    c = c.detach()
    permuted = terms.permute_dims(c[half:], batch.uniform(c.shape[1])[half:])
    logits = discriminator(torch.cat([c[:half], permuted]))  # one call reads the large weights once
    loss = terms.tc_discriminator_loss(logits[:half], logits[half:])
    return Losses(loss, {"tc_discriminator_loss": loss})
