"""The diagonal Gaussian that an encoder returns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Posterior"]


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian q(c|x) for each of N images: `mean` and `logvar`, each (N, c_dim)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Draw c = mean + std * noise, (N, c_dim), with `noise` from N(0, I). Gradients reach mean and logvar."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def log_density(self, c: Tensor) -> Tensor:
        """log q(c_d|x) of each dimension of codes `c` (N, c_dim), with the constant log 2 pi, (N, c_dim)."""
        return -0.5 * ((c - self.mean).square() * (-self.logvar).exp() + self.logvar + math.log(2 * math.pi))

    def log_prob(self, c: Tensor) -> Tensor:
        """log q(c|x) of codes `c` (N, c_dim): `log_density` summed over dimensions, (N,)."""
        return self.log_density(c).sum(1)

    def kl(self) -> Tensor:
        """KL(q(c|x) || N(0, I)) of each image and dimension, in nats, (N, c_dim)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)

    @classmethod
    def cat(cls, posteriors: "Sequence[Posterior]") -> "Posterior":
        """One `Posterior` with the rows of all `posteriors`, in order."""
        return cls(torch.cat([part.mean for part in posteriors]), torch.cat([part.logvar for part in posteriors]))

    def __getitem__(self, rows: Any) -> "Posterior":
        return Posterior(self.mean[rows], self.logvar[rows])

    def __len__(self) -> int:
        return len(self.mean)
