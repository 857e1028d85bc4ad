"""FactorVAE (Kim & Mnih 2018): a VAE whose total correlation is estimated by a critic of codes."""

from dataclasses import dataclass

from idgan.errors import InvalidInputError, check_range
from idgan.networks.heads import TCDiscriminator
from idgan.objectives import terms
from idgan.objectives.objective import Losses
from idgan.objectives.vae import CapacityVAE, CapacityVAEConfig, VAEObjective, VAEObjectiveConfig

__all__ = ["CapacityFactorVAE", "CapacityFactorVAEConfig", "FactorVAE", "FactorVAEConfig"]


@dataclass(frozen=True)
class FactorVAEConfig(VAEObjectiveConfig):
    """FactorVAE; `tc_weight` (gamma in that paper), 0 or more, is 0 for the VAE."""

    tc_weight: float = 35.0

    def __post_init__(self):
        super().__post_init__()
        check_range(0, tc_weight=self.tc_weight)

    def build(self, vae):
        """The `FactorVAE` of this configuration on `vae`, with a fresh critic."""
        return FactorVAE(vae, self)


class FactorVAE(VAEObjective):
    """VAE: min E[-log p(x|c)] + KL + tc_weight TC(q(c)); critic: tell q(c) from the product of its marginals (Kim & Mnih 2018, eq. 2).

    Their algorithm 2 draws a second minibatch for the critic's permuted codes. Here the whole batch trains the VAE, and the critic compares
    the codes of its first half with permuted codes of its second.
    """

    phases = ("vae", "tc_discriminator")

    def __init__(self, vae, config):
        super().__init__(vae, config)
        self.tc_discriminator = TCDiscriminator(vae.config.c_dim)

    def regularizer(self, c, posterior, kl, batch):
        tc = terms.tc_estimate(self.tc_discriminator(c))
        return self.kl_penalty(kl, batch.step) + self.config.tc_weight * tc, {"tc": tc}

    def tc_discriminator_losses(self, batch):
        half = len(batch.x) // 2
        if not half:
            raise InvalidInputError(
                "the critic compares the codes of two halves of a batch (of a part of it, with accumulate): 2 images or more"
            )
        _, c = self.codes(batch)
        c = c.detach()
        permuted = terms.permute_dims(c[half:], batch.uniform(c.shape[1])[half:])
        loss = terms.tc_discriminator_loss(self.tc_discriminator(c[:half]), self.tc_discriminator(permuted))
        return Losses(loss, {"tc_discriminator_loss": loss})


@dataclass(frozen=True)
class CapacityFactorVAEConfig(FactorVAEConfig, CapacityVAEConfig):
    """FactorVAE under capacity annealing."""

    tc_weight: float = 20.0
    capacity: float = 16.0
    capacity_steps: int = 16_000

    def build(self, vae):
        """The `CapacityFactorVAE` of this configuration on `vae`, with a fresh critic."""
        return CapacityFactorVAE(vae, self)


class CapacityFactorVAE(FactorVAE, CapacityVAE):
    """FactorVAE whose KL is held at a slowly rising capacity: factors enter one after another, each where no other dimension has it.

    Annealing alone (`CapacityVAE`) aligns the first factors well, but with more capacity a second dimension learns one of them again;
    the total-correlation term is what that costs. The KL enters as in `CapacityVAE`, all else is `FactorVAE`.
    """
