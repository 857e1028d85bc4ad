"""beta-TCVAE (Chen et al. 2018): a VAE with weights on the three parts of the KL."""

from dataclasses import dataclass

from idgan.errors import check_range
from idgan.networks.protocols import VAENetwork
from idgan.objectives import terms
from idgan.objectives.objective import Losses, TrainingBatch, register_objective
from idgan.objectives.vae import VAEObjective, VAEObjectiveConfig

__all__ = ["BetaTCVAE", "BetaTCVAEConfig"]


@register_objective()
@dataclass(frozen=True)
class BetaTCVAEConfig(VAEObjectiveConfig):
    """Config of beta-TCVAE.

    Attributes:
        tc_weight: additional weight of the total correlation, -1 or more. 0 is a VAE with an estimated KL. -1 removes
            the total correlation.
        index_code_weight: weight of the index-code mutual information (alpha in the paper of beta-TCVAE, 1 there).
        dimension_weight: weight of the dimension-wise KL (gamma in that paper, 1 there).

    Raises:
        InvalidInputError: `tc_weight` is below -1, or another weight is negative.
    """

    tc_weight: float = 5.0
    index_code_weight: float = 1.0
    dimension_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(-1, tc_weight=self.tc_weight)
        check_range(0, index_code_weight=self.index_code_weight, dimension_weight=self.dimension_weight)

    def build(self, vae: VAENetwork) -> "BetaTCVAE":
        """The `BetaTCVAE` of this config, for `vae`."""
        return BetaTCVAE(vae, self)


class BetaTCVAE(VAEObjective):
    """min E[-log p(x|c)] + MI + (1 + tc_weight) TC + dimension-wise KL (Chen et al. 2018, Eq. 4).

    Minibatch-weighted sampling estimates the three parts of the KL.
    """

    def __init__(self, vae: VAENetwork, config: BetaTCVAEConfig) -> None:
        super().__init__(vae)
        self.config = config

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        config = self.config
        posterior, c = self.codes(batch)
        reconstruction = self.reconstruction(batch, config.likelihood)
        kl = terms.kl_divergence(posterior)
        index_code, tc, dimension_wise = terms.decomposed_kl(c, posterior, batch.data_size)
        weighted_kl = (
            config.index_code_weight * index_code
            + (1 + config.tc_weight) * tc
            + config.dimension_weight * dimension_wise
        )
        logged = {"reconstruction": reconstruction, "kl": kl, "tc": tc, "index_code": index_code}
        return Losses(reconstruction + weighted_kl, logged)
