"""FactorVAE (Kim & Mnih 2018): a VAE whose total correlation is estimated by a critic of codes."""

from dataclasses import dataclass

from idgan.networks.heads import TCDiscriminator
from idgan.objectives import terms
from idgan.objectives.objective import Losses, Objective

__all__ = ["FactorVAE", "FactorVAEConfig"]


@dataclass(frozen=True)
class FactorVAEConfig:
    """FactorVAE; `tc_weight` (gamma in that paper) 0 is the VAE."""

    tc_weight: float = 35.0
    likelihood: str = "bernoulli"

    def build(self, vae):
        """The `FactorVAE` of this configuration on `vae`, with a fresh critic."""
        return FactorVAE(vae, self)


class FactorVAE(Objective):
    """VAE: min E[-log p(x|c)] + KL + tc_weight TC(q(c)); critic: tell q(c) from the product of its marginals (Kim & Mnih 2018, eq. 2 and algorithm 2).

    The paper draws a second minibatch for the critic's permuted codes; so do we, by splitting the batch in two halves:
    the first trains the VAE, and the critic compares its codes with permuted codes of the second.
    """

    phases = ("vae", "tc_discriminator")

    def __init__(self, vae, config):
        super().__init__()
        self.vae = vae
        self.tc_discriminator = TCDiscriminator(vae.config.c_dim)
        self.config = config

    def networks(self, phase):
        return {"vae": [self.vae], "tc_discriminator": [self.tc_discriminator]}[phase]

    def losses(self, phase, batch):
        return {"vae": self.vae_losses, "tc_discriminator": self.critic_losses}[phase](batch)

    def codes(self, batch):
        """Posterior and one code of each image of the batch, encoded once for both phases."""

        def encode():
            posterior = self.vae.encode(batch.x)
            return posterior, posterior.sample(batch.normal(posterior.mean.shape[1]))

        return batch.once("codes", encode)

    def vae_losses(self, batch):
        half = len(batch.x) // 2
        posterior, c = self.codes(batch)
        reconstruction = terms.reconstruction_loss(self.vae.decode_logits(c[:half]), batch.x[:half], self.config.likelihood)
        kl = terms.kl_divergence(posterior[:half])
        tc = terms.tc_estimate(self.tc_discriminator(c[:half]))
        return Losses(reconstruction + kl + self.config.tc_weight * tc, {"reconstruction": reconstruction, "kl": kl, "tc": tc})

    def critic_losses(self, batch):
        half = len(batch.x) // 2
        _, c = self.codes(batch)
        c = c.detach()
        permuted = terms.permute_dims(c[half:], batch.uniform(c.shape[1])[half:])
        loss = terms.tc_discriminator_loss(self.tc_discriminator(c[:half]), self.tc_discriminator(permuted))
        return Losses(loss, {"tc_discriminator_loss": loss})
