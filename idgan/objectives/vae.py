"""Stage 1 with a VAE alone: beta-VAE (Eq. 1) and capacity annealing (Burgess et al. 2018)."""

from dataclasses import dataclass

from torch import Tensor

from idgan.errors import check_integer, check_range
from idgan.images import encoder_view
from idgan.networks.posterior import Posterior
from idgan.networks.protocols import VAENetwork, check_methods
from idgan.objectives import terms
from idgan.objectives.objective import Losses, Objective, Phases, TrainingBatch, register_objective

__all__ = ["BetaVAE", "BetaVAEConfig", "CapacityVAE", "CapacityVAEConfig", "VAEObjective", "VAEObjectiveConfig"]


@dataclass(frozen=True, kw_only=True)
class VAEObjectiveConfig:
    """Base of the configs of the VAE objectives.

    Attributes:
        likelihood: model of the pixels, "bernoulli" or "squared-error".

    Raises:
        InvalidInputError: the likelihood is unknown.
    """

    likelihood: str = "bernoulli"

    def __post_init__(self) -> None:
        terms.check_likelihood(self.likelihood)

    def build(self, vae: VAENetwork) -> "VAEObjective":
        """The objective of this config, for `vae`."""
        raise NotImplementedError(f"{type(self).__name__} must define build")


class VAEObjective(Objective):
    """Base of the VAE objectives. It draws one code for each image, and all phases of a batch share it.

    Images larger than the encoder's resolution are reduced first (`encoder_view`).

    Raises:
        InvalidInputError: `vae` has no decoder.
    """

    def __init__(self, vae: VAENetwork) -> None:
        super().__init__()
        check_methods(vae, "encode", "decode_logits", needed_by=type(self).__name__)
        self.vae = vae

    @property
    def phases(self) -> Phases:
        return {"vae": self.vae_losses}

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        """Losses of the phase "vae"."""
        raise NotImplementedError(f"{type(self).__name__} must define vae_losses")

    def encoder_images(self, batch: TrainingBatch) -> Tensor:
        """The images of the batch at the encoder's resolution."""
        return encoder_view(batch.x, self.vae.config.resolution)

    def codes(self, batch: TrainingBatch) -> tuple[Posterior, Tensor]:
        """(q(c|x), c ~ q(c|x)) for the images of the batch, computed once."""

        def encode() -> tuple[Posterior, Tensor]:
            posterior = self.vae.encode(self.encoder_images(batch))
            return posterior, posterior.sample(batch.normal(posterior.mean.shape[1]))

        return batch.once("codes", encode)

    def decoded(self, batch: TrainingBatch) -> Tensor:
        """Pixel logits (N, C, H, W) of the decoder for the codes of the batch, computed once."""
        return batch.once("decoded", lambda: self.vae.decode_logits(self.codes(batch)[1]))

    def reconstruction(self, batch: TrainingBatch, likelihood: str) -> Tensor:
        """E[-log p(x|c)], a scalar."""
        return terms.reconstruction_loss(self.decoded(batch), self.encoder_images(batch), likelihood)


@register_objective()
@dataclass(frozen=True)
class BetaVAEConfig(VAEObjectiveConfig):
    """Config of beta-VAE. `beta` is 0 or more. A VAE has `beta` 1."""

    beta: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, beta=self.beta)

    def build(self, vae: VAENetwork) -> "BetaVAE":
        """The `BetaVAE` of this config, for `vae`."""
        return BetaVAE(vae, self)


class BetaVAE(VAEObjective):
    """min E[-log p(x|c)] + beta KL(q(c|x) || N(0, I)) (Eq. 1)."""

    def __init__(self, vae: VAENetwork, config: BetaVAEConfig) -> None:
        super().__init__(vae)
        self.config = config

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        posterior, _ = self.codes(batch)
        reconstruction = self.reconstruction(batch, self.config.likelihood)
        kl = terms.kl_divergence(posterior)
        return Losses(reconstruction + self.config.beta * kl, {"reconstruction": reconstruction, "kl": kl})


@register_objective()
@dataclass(frozen=True)
class CapacityVAEConfig(VAEObjectiveConfig):
    """Config of capacity annealing.

    Attributes:
        capacity: C in nats at the end of the annealing.
        capacity_steps: number of steps in which C rises linearly from 0 to `capacity`.
        weight: weight of |KL - C|.

    Raises:
        InvalidInputError: `capacity` or `weight` is negative, or `capacity_steps` is less than 1.
    """

    capacity: float = 25.0
    capacity_steps: int = 30_000
    weight: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, capacity=self.capacity, weight=self.weight)
        check_integer(1, capacity_steps=self.capacity_steps)

    def build(self, vae: VAENetwork) -> "CapacityVAE":
        """The `CapacityVAE` of this config, for `vae`."""
        return CapacityVAE(vae, self)


class CapacityVAE(VAEObjective):
    """min E[-log p(x|c)] + weight |KL(q(c|x) || N(0, I)) - C(step)| (Burgess et al. 2018, Eq. 8)."""

    def __init__(self, vae: VAENetwork, config: CapacityVAEConfig) -> None:
        super().__init__(vae)
        self.config = config

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        posterior, _ = self.codes(batch)
        reconstruction = self.reconstruction(batch, self.config.likelihood)
        kl = terms.kl_divergence(posterior)
        capacity = terms.annealed_capacity(batch.step, self.config.capacity, self.config.capacity_steps)
        penalty = terms.capacity_penalty(kl, capacity, self.config.weight)
        return Losses(reconstruction + penalty, {"reconstruction": reconstruction, "kl": kl})
