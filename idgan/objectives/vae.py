"""Stage 1 with a VAE alone: beta-VAE (eq. 1) and its capacity-annealed form (Burgess et al. 2018)."""

from dataclasses import dataclass

from idgan.objectives import terms
from idgan.objectives.objective import Losses, Objective

__all__ = ["BetaVAE", "BetaVAEConfig", "CapacityVAE", "CapacityVAEConfig"]


@dataclass(frozen=True)
class BetaVAEConfig:
    """beta-VAE; `beta` 1 is the VAE. `likelihood` is "bernoulli" or "squared-error"."""

    beta: float = 4.0
    likelihood: str = "bernoulli"

    def build(self, vae):
        """The `BetaVAE` of this configuration on `vae`."""
        return BetaVAE(vae, self)


class VAEObjective(Objective):
    """What the single-phase VAE objectives share: one draw of the code, reconstruction + a regulariser."""

    phases = ("vae",)

    def __init__(self, vae, config):
        super().__init__()
        self.vae = vae
        self.config = config

    def networks(self, phase):
        return [self.vae]

    def losses(self, phase, batch):
        posterior = self.vae.encode(batch.x)
        c = posterior.sample(batch.normal(posterior.mean.shape[1]))
        reconstruction = terms.reconstruction_loss(self.vae.decode_logits(c), batch.x, self.config.likelihood)
        kl = terms.kl_divergence(posterior)
        regulariser, logged = self.regulariser(c, posterior, kl, batch)
        return Losses(reconstruction + regulariser, {"reconstruction": reconstruction, "kl": kl, **logged})


class BetaVAE(VAEObjective):
    """min E[-log p(x|c)] + beta KL(q(c|x) || N(0, I)) (eq. 1)."""

    def regulariser(self, c, posterior, kl, batch):
        return self.config.beta * kl, {}


@dataclass(frozen=True)
class CapacityVAEConfig:
    """Capacity annealing: the KL is held at C nats, and C rises linearly from 0 to `capacity` over `capacity_steps` steps, with `weight` on |KL - C|."""

    capacity: float = 25.0
    capacity_steps: int = 30_000
    weight: float = 100.0
    likelihood: str = "bernoulli"

    def build(self, vae):
        """The `CapacityVAE` of this configuration on `vae`."""
        return CapacityVAE(vae, self)


class CapacityVAE(VAEObjective):
    """min E[-log p(x|c)] + weight |KL(q(c|x) || N(0, I)) - C(step)| (Burgess et al. 2018, eq. 8)."""

    def regulariser(self, c, posterior, kl, batch):
        config = self.config
        capacity = config.capacity * min(1.0, batch.step / config.capacity_steps)
        return config.weight * (kl - capacity).abs(), {}
