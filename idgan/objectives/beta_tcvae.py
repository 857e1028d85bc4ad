"""beta-TCVAE (Chen et al. 2018): only the total-correlation part of the KL is weighted."""

from dataclasses import dataclass

from idgan.errors import check_range
from idgan.objectives import terms
from idgan.objectives.vae import VAEObjective, VAEObjectiveConfig

__all__ = ["BetaTCVAE", "BetaTCVAEConfig"]


@dataclass(frozen=True)
class BetaTCVAEConfig(VAEObjectiveConfig):
    """beta-TCVAE; `tc_weight` 0 is the VAE up to the estimate of its KL, and -1, the least, leaves out the total correlation.

    `index_code_weight` and `dimension_weight` scale the other two parts (alpha and gamma in that paper, 1 there).

    Raises:
        InvalidInputError: `tc_weight` is below -1, or another weight negative.
    """

    tc_weight: float = 5.0
    index_code_weight: float = 1.0
    dimension_weight: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_range(-1, tc_weight=self.tc_weight)
        check_range(0, index_code_weight=self.index_code_weight, dimension_weight=self.dimension_weight)

    def build(self, vae):
        """The `BetaTCVAE` of this configuration on `vae`."""
        return BetaTCVAE(vae, self)


class BetaTCVAE(VAEObjective):
    """min E[-log p(x|c)] + MI + (1 + tc_weight) TC + dimension-wise KL, by minibatch-weighted sampling (Chen et al. 2018, eq. 4)."""

    def regularizer(self, c, posterior, kl, batch):
        config = self.config
        index_code, tc, dimension_wise = terms.decomposed_kl(c, posterior, batch.data_size)
        total = (
            config.index_code_weight * index_code
            + (1 + config.tc_weight) * tc
            + config.dimension_weight * dimension_wise
        )
        return total, {"tc": tc, "index_code": index_code}
