"""A VAE with capacity annealing and a penalty on the mutual information of pairs of code dimensions."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from idgan.errors import check_integer, check_range
from idgan.networks.posterior import Posterior
from idgan.networks.protocols import VAENetwork
from idgan.objectives import terms
from idgan.objectives.objective import Losses, TrainingBatch, register_objective
from idgan.objectives.vae import VAEObjective, VAEObjectiveConfig

__all__ = ["PairwiseTCVAE", "PairwiseTCVAEConfig"]


@register_objective()
@dataclass(frozen=True)
class PairwiseTCVAEConfig(VAEObjectiveConfig):
    """Config of the pairwise-TC VAE.

    Attributes:
        capacity: upper bound C of the KL in nats at the end of the annealing.
        capacity_steps: number of steps in which C rises linearly from 0 to `capacity`.
        weight: weight of max(0, KL - C).
        tc_weight: weight of the mutual information of pairs of dimensions.
        memory: number of recent posteriors that represent q(c).

    Raises:
        InvalidInputError: a number is negative, or `capacity_steps` or `memory` is less than 1.
    """

    capacity: float = 16.0
    capacity_steps: int = 10_000
    weight: float = 100.0
    tc_weight: float = 30.0
    memory: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, capacity=self.capacity, weight=self.weight, tc_weight=self.tc_weight)
        check_integer(1, capacity_steps=self.capacity_steps, memory=self.memory)

    def build(self, vae: VAENetwork) -> "PairwiseTCVAE":
        """The `PairwiseTCVAE` of this config, for `vae`."""
        return PairwiseTCVAE(vae, self)


class PairwiseTCVAE(VAEObjective):
    """min E[-log p(x|c)] + KL + weight max(0, KL - C(step)) + tc_weight sum_{i<j} I(c_i; c_j).

    C(step) rises as in `CapacityVAE`. That objective holds the KL at C from both sides. Here the KL may stay below C.
    If a factor is hard to find, for example under noise, a forced KL fills the code with useless information, and
    training does not recover.

    The total correlation of beta-TCVAE and FactorVAE measures the dependence of all dimensions. For two dimensions it
    is their mutual information, which also rises when factors turn against the axes. It needs densities of one and two
    dimensions only. A few thousand posteriors estimate these well. A minibatch is too small for the full density
    (beta-TCVAE), and a discriminator lags behind (FactorVAE).

    q(c) is the mixture of the last `memory` posteriors, including those of the batch. They carry no gradient and need
    none, because the derivative of E_q[log q] with respect to the density is 0. The memory starts as the prior and is
    part of the state.
    """

    memory: Tensor

    def __init__(self, vae: VAENetwork, config: PairwiseTCVAEConfig) -> None:
        super().__init__(vae)
        self.config = config
        # Means and log-variances, newest first.
        self.register_buffer("memory", torch.zeros(2, config.memory, vae.config.c_dim))

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        posterior, c = self.codes(batch)
        reconstruction = self.reconstruction(batch, self.config.likelihood)
        kl = terms.kl_divergence(posterior)
        tc = self.pairwise_tc(c, posterior)
        regularizer = self.kl_penalty(kl, batch.step) + self.config.tc_weight * tc
        return Losses(reconstruction + regularizer, {"reconstruction": reconstruction, "kl": kl, "tc": tc})

    def kl_penalty(self, kl: Tensor, step: int) -> Tensor:
        """KL + weight max(0, KL - C(step)), a scalar."""
        capacity = terms.annealed_capacity(step, self.config.capacity, self.config.capacity_steps)
        return kl + self.config.weight * (kl - capacity).clamp(min=0)

    def pairwise_tc(self, c: Tensor, posterior: Posterior) -> Tensor:
        """Mutual information of all pairs of dimensions of `c` under the memory.

        In training mode, it first adds `posterior` to the memory.
        """
        latest = rows_of_all_processes(torch.stack([posterior.mean, posterior.logvar]).detach())
        memory = torch.cat([latest, self.memory], 1)[:, : self.config.memory].contiguous()
        if self.training:
            self.memory = memory
        device = c.device.type  # "meta" in a dry run, which has no autocast
        autocast = torch.amp.is_autocast_available(device)
        with torch.autocast(device, enabled=False) if autocast else nullcontext():  # a ratio of densities near 1
            return terms.pairwise_tc(c, Posterior(*memory))


def rows_of_all_processes(rows: Tensor) -> Tensor:
    """The tensors (2, N, c_dim) of all processes, concatenated along N. All processes get the same result."""
    if not dist.is_initialized():
        return rows
    gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered, 1)
