"""Stage 1 with a VAE alone: beta-VAE (eq. 1) and its capacity-annealed form (Burgess et al. 2018)."""

from dataclasses import dataclass

from idgan.errors import InvalidInputError, check_integer, check_range
from idgan.images import encoder_view
from idgan.objectives import terms
from idgan.objectives.objective import Losses, Objective

__all__ = ["BetaVAE", "BetaVAEConfig", "CapacityVAE", "CapacityVAEConfig", "VAEObjective", "VAEObjectiveConfig"]


@dataclass(frozen=True, kw_only=True)
class VAEObjectiveConfig:
    """What the configurations of the VAE objectives share: `likelihood` of the pixels, "bernoulli" or "squared-error".

    Raises:
        InvalidInputError: an unknown likelihood.
    """

    likelihood: str = "bernoulli"

    def __post_init__(self):
        if self.likelihood not in terms.LIKELIHOODS:
            raise InvalidInputError(
                f"likelihood must be one of {', '.join(terms.LIKELIHOODS)}, got {self.likelihood!r}"
            )


class VAEObjective(Objective):
    """What the VAE objectives share: one draw of the code, and min E[-log p(x|c)] + a regularizer of the code.

    The regularizer is the KL to the prior; a subclass replaces `regularizer`, or only `kl_penalty`. Images larger than 64x64 are seen as
    the encoder sees them.
    """

    phases = ("vae",)

    def __init__(self, vae, config):
        super().__init__()
        self.vae = vae
        self.config = config

    def view(self, batch):
        """The images of the batch as the encoder sees them, which the decoder is to reconstruct."""
        return encoder_view(batch.x, self.vae.config.resolution)

    def codes(self, batch):
        """(q(c|x), c ~ q(c|x)) of the batch, encoded once for all phases."""

        def encode():
            posterior = self.vae.encode(self.view(batch))
            return posterior, posterior.sample(batch.normal(posterior.mean.shape[1]))

        return batch.once("codes", encode)

    def decoded(self, batch):
        """The decoder's pixel logits for the codes of the batch, (N, C, 64, 64), decoded once for all phases."""
        return batch.once("decoded", lambda: self.vae.decode_logits(self.codes(batch)[1]))

    def vae_losses(self, batch):
        posterior, c = self.codes(batch)
        reconstruction = terms.reconstruction_loss(self.decoded(batch), self.view(batch), self.config.likelihood)
        kl = terms.kl_divergence(posterior)
        regularizer, logged = self.regularizer(c, posterior, kl, batch)
        return Losses(reconstruction + regularizer, {"reconstruction": reconstruction, "kl": kl, **logged})

    def regularizer(self, c, posterior, kl, batch):
        """(scalar, what to log of it), from codes `c` (N, c_dim) drawn from `posterior`, whose KL to the prior is the scalar `kl`."""
        return self.kl_penalty(kl, batch.step), {}

    def kl_penalty(self, kl, step):
        """How the scalar `kl` enters the loss: as it is."""
        return kl


@dataclass(frozen=True)
class BetaVAEConfig(VAEObjectiveConfig):
    """beta-VAE; `beta`, 0 or more, is 1 for the VAE."""

    beta: float = 4.0

    def __post_init__(self):
        super().__post_init__()
        check_range(0, beta=self.beta)

    def build(self, vae):
        """The `BetaVAE` of this configuration on `vae`."""
        return BetaVAE(vae, self)


class BetaVAE(VAEObjective):
    """min E[-log p(x|c)] + beta KL(q(c|x) || N(0, I)) (eq. 1)."""

    def kl_penalty(self, kl, step):
        return self.config.beta * kl


@dataclass(frozen=True)
class CapacityVAEConfig(VAEObjectiveConfig):
    """Capacity annealing: `weight` holds the KL at C nats, and C rises linearly from 0 to `capacity` over `capacity_steps` steps.

    Raises:
        InvalidInputError: `capacity` or `weight` is negative, or `capacity_steps` less than 1.
    """

    capacity: float = 25.0
    capacity_steps: int = 30_000
    weight: float = 100.0

    def __post_init__(self):
        super().__post_init__()
        check_range(0, capacity=self.capacity, weight=self.weight)
        check_integer(1, capacity_steps=self.capacity_steps)

    def build(self, vae):
        """The `CapacityVAE` of this configuration on `vae`."""
        return CapacityVAE(vae, self)


class CapacityVAE(VAEObjective):
    """min E[-log p(x|c)] + weight |KL(q(c|x) || N(0, I)) - C(step)| (Burgess et al. 2018, eq. 8)."""

    def capacity(self, step):
        """C at `step`, in nats."""
        return self.config.capacity * min(1.0, step / self.config.capacity_steps)

    def kl_penalty(self, kl, step):
        return self.config.weight * (kl - self.capacity(step)).abs()
