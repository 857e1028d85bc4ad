"""What an encoder does not read of an image, found by optimization: the codes at which a generator draws that image again."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from tqdm import tqdm

from idgan.images import default_batch_size, encoder_view

__all__ = ["Inversion"]

DRAWS = 64
"""Points from which each image chooses its starts."""
LEARNING_RATE = 0.1
"""Adam's, at its peak, in standard deviations of the codes."""
WARM_UP = 0.1
"""Fraction of the steps over which the learning rate rises; over the rest it falls along a cosine."""
FEATURE_WEIGHT = 0.01
"""Of the encoder's features, beside the mean squared error of pixels."""
PRIOR_WEIGHT = 0.002
"""Of the codes' mean squared distance from their means, in standard deviations."""


@dataclass(frozen=True)
class Inversion:
    """A search for codes, (N, D), at which `render` draws each of N images again. Images do not depend on each other.

    Args:
        render: function of codes (M, D) -> images (M, C, H, H) in [0, 1], with gradients.
        encoder: an `nn.Sequential` over images of 64x64; the outputs of its ReLUs are compared.
        x: the images, (N, C, H, H) in [0, 1].
        mean, std: the normal distributions, (N, D) each, that codes are expected to come from; where `std` is 0, the code is `mean`.
    """

    render: object
    encoder: nn.Sequential
    x: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def run(self, steps, restarts, rng, progress=True):
        """The best codes found, (N, D): from the best `restarts` of 64 draws, each followed by Adam for `steps` steps.

        The draws, by the CPU `rng`, are the same for every image. `progress` shows a bar, on a terminal.
        """
        if not self.std.any():
            return self.mean.clone()
        n, dims = self.mean.shape
        draws = torch.randn(max(DRAWS, restarts), dims, generator=rng).to(self.mean)
        images = torch.arange(n, device=draws.device).repeat_interleave(restarts)
        batch = max(
            1, default_batch_size(self.x.shape[-1]) // 4
        )  # beside what gradients need: about 1 GB for the widest generator
        found = []
        with (
            torch.inference_mode(False),
            tqdm(
                total=len(images) * steps,
                desc="inverting",
                unit="step",
                leave=False,
                disable=None if progress else True,
            ) as bar,
        ):
            starts = self._best_draws(draws, restarts, batch)
            for rows, u in zip(images.split(batch), starts.split(batch)):
                found.append(self._descend(rows, u, steps, bar))
        loss, u = (torch.cat(parts) for parts in zip(*found))
        best = loss.unflatten(0, (n, restarts)).argmin(1)
        return self.mean + self.std * u.unflatten(0, (n, restarts))[torch.arange(n), best]

    @torch.no_grad()
    def _best_draws(self, draws, restarts, batch):
        """The `restarts` best of `draws` for each image, the best first: (N * restarts, D)."""
        best = []
        for row in range(len(self.x)):
            target = self._target(torch.full((1,), row, device=draws.device))
            loss = torch.cat([self._loss(part, *target) for part in draws.split(batch)])
            best.append(draws[loss.argsort(stable=True)[:restarts]])
        return torch.cat(best)

    def _descend(self, rows, u, steps, bar):
        """The least loss (M,), and where it was met (M, D), on Adam's way from `u` (M, D) to the images of `rows` (M,)."""
        target = self._target(rows)
        u = u.clone().requires_grad_()
        adam = torch.optim.Adam([u])
        best_loss, best_u = torch.full((len(u),), torch.inf, device=u.device), u.detach().clone()
        for step in range(steps + 1):
            with torch.set_grad_enabled(step < steps):
                loss = self._loss(u, *target)
            better = loss.detach() < best_loss
            best_loss[better], best_u[better] = loss.detach()[better], u.detach()[better]
            if step < steps:
                progress = step / steps
                adam.param_groups[0]["lr"] = (
                    LEARNING_RATE * min(1, (progress + 1 / steps) / WARM_UP) * (1 + math.cos(math.pi * progress)) / 2
                )
                (u.grad,) = torch.autograd.grad(
                    loss.sum(), u
                )  # of u alone: the networks keep whatever gradients they had
                adam.step()
                bar.update(len(u))
        return best_loss, best_u

    def _target(self, rows):
        """What `_loss` compares with, of the images in `rows` (M,)."""
        x = self.x[rows]
        with torch.no_grad():
            return x, self._features(x), self.mean[rows], self.std[rows]

    def _loss(self, u, x, features, mean, std):
        """(M,): squared error of pixels, relative squared error of the encoder's features, and distance from the prior."""
        drawn = self.render(mean + std * u)
        pixels = (drawn - x).square().flatten(1).mean(1)
        pairs = list(zip(self._features(drawn), features))
        ratios = [(here - there).square().sum(1) / there.square().sum(1).clamp(min=1e-8) for here, there in pairs]
        free = (std > 0).to(u)
        prior = (free * u.square()).sum(1) / free.sum(1)
        return pixels + FEATURE_WEIGHT * torch.stack(ratios).mean(0) + PRIOR_WEIGHT * prior

    def _features(self, x):
        """The outputs of the encoder's ReLUs, flattened, in float32."""
        x = encoder_view(x).to(next(self.encoder.parameters()).dtype)
        features = []
        for layer in self.encoder:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                features.append(x.flatten(1).float())
        return features
