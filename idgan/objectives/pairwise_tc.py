"""A VAE under capacity annealing that pays for what pairs of code dimensions share, measured against a memory of recent posteriors."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist

from idgan.errors import check_integer, check_range
from idgan.networks import Posterior
from idgan.objectives import terms
from idgan.objectives.vae import CapacityVAE, CapacityVAEConfig

__all__ = ["PairwiseTCVAE", "PairwiseTCVAEConfig"]


@dataclass(frozen=True)
class PairwiseTCVAEConfig(CapacityVAEConfig):
    """`tc_weight`: of the information that pairs of dimensions share; `memory`: how many posteriors q(c) is made of.

    `capacity`, `capacity_steps` and `weight` are those of `CapacityVAEConfig`, but the capacity is an upper bound here.

    Raises:
        InvalidInputError: `tc_weight` is negative, or `memory` less than 1.
    """

    tc_weight: float = 30.0
    capacity: float = 16.0
    capacity_steps: int = 10_000
    memory: int = 4096

    def __post_init__(self):
        super().__post_init__()
        check_range(0, tc_weight=self.tc_weight)
        check_integer(1, memory=self.memory)

    def build(self, vae):
        """The `PairwiseTCVAE` of this configuration on `vae`."""
        return PairwiseTCVAE(vae, self)


class PairwiseTCVAE(CapacityVAE):
    """min E[-log p(x|c)] + KL + weight max(0, KL - C(step)) + tc_weight sum_{i<j} I(c_i; c_j), the information under q(c).

    C(step) rises as in `CapacityVAE`, which holds the KL at C from both sides. Here it may stay below: where a factor is hard to find,
    as in noise, a KL that is forced up fills the code with what tells nothing, and training does not leave that again.

    The total correlation of beta-TCVAE and FactorVAE is the divergence of q(c) from independence. Between two dimensions it is their mutual
    information, which tells as well when factors turn against the axes, and needs two densities of one and two dimensions, not of all of
    them: a few thousand posteriors describe these well, where a minibatch cannot (beta-TCVAE) and a critic lags behind (FactorVAE).
    q(c) is the mixture of the last `memory` posteriors, those of the batch among them; no gradient flows through them, and none needs to:
    the derivative of E_q[log q] with respect to the density itself is 0. The memory starts as the prior and is part of the state.
    """

    def __init__(self, vae, config):
        super().__init__(vae, config)
        self.register_buffer(
            "memory", torch.zeros(2, config.memory, vae.config.c_dim)
        )  # means and log-variances, newest first

    def kl_penalty(self, kl, step):
        return kl + self.config.weight * (kl - self.capacity(step)).clamp(min=0)

    def regularizer(self, c, posterior, kl, batch):
        latest = _of_all_processes(torch.stack([posterior.mean, posterior.logvar]).detach())
        memory = torch.cat([latest, self.memory], 1)[:, : self.config.memory].contiguous()
        if self.training:
            self.memory = memory
        device = c.device.type  # "meta" in a dry run, which has no autocast to leave
        with (
            torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        ):  # a ratio of densities near 1
            tc = terms.pairwise_tc(c, Posterior(*memory))
        return self.kl_penalty(kl, batch.step) + self.config.tc_weight * tc, {"tc": tc}


def _of_all_processes(rows):
    """(2, N, c_dim) tensors of every process in one, along N, so that all keep one memory."""
    if not dist.is_initialized():
        return rows
    everywhere = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(everywhere, rows.contiguous())
    return torch.cat(everywhere, 1)
