"""Inversion: find the codes from which a generator makes given images, and fit a copy of the generator to the images.

The codes alone give a similar image. The fitted copy gives the image itself (pivotal tuning, Roich et al. 2021).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from idgan.images import default_batch_size
from idgan.progress import progress

__all__ = ["Inversion", "tune_generator"]

MIN_CANDIDATES = 64
"""Number of random codes from which each image chooses its starting points."""
LEARNING_RATE = 0.2
"""Peak learning rate of Adam, in standard deviations of the codes."""
WARM_UP = 0.1
"""Fraction of the steps over which the learning rate rises. It then falls along a cosine."""
FEATURE_WEIGHT = 0.01
"""Weight of the distance in features, relative to the mean squared error of pixels."""
PRIOR_WEIGHT = 0.002
"""Weight of the codes' mean squared distance from their means, in standard deviations."""

TUNING_RATE = 0.002
"""Peak learning rate of Adam for the weights of a generator."""
EDIT_WEIGHT = 0.3
"""Weight of the effect of edits, relative to the mean squared error of pixels."""


@dataclass(frozen=True)
class Inversion:
    """Search for codes (N, D) from which `render` makes N given images. The images are independent of each other.

    Args:
        render: function of codes (M, D) -> images (M, C, H, H) in [0, 1], with gradients.
        features: function of images (M, C, H, H) -> tensors (M, ...), with gradients. Their distances join the loss.
        x: the images, (N, C, H, H) in [0, 1].
        mean: means of the codes' normal distributions, (N, D).
        std: their standard deviations, (N, D). Where it is 0, the code stays at `mean`.
    """

    render: Callable[[Tensor], Tensor]
    features: Callable[[Tensor], list[Tensor]]
    x: Tensor
    mean: Tensor
    std: Tensor

    def run(self, steps: int, restarts: int, rng: torch.Generator, show_progress: bool = True) -> Tensor:
        """The best codes found, (N, D).

        For each image, Adam starts from the best `restarts` of 64 random codes and takes `steps` steps. The CPU
        generator `rng` draws these candidates, which are the same for all images.
        """
        if not self.std.any():
            return self.mean.clone()
        n, dims = self.mean.shape
        candidates = torch.randn(max(MIN_CANDIDATES, restarts), dims, dtype=torch.float32, device="cpu", generator=rng)
        candidates = candidates.to(self.mean)
        rows = torch.arange(n, device=candidates.device).repeat_interleave(restarts)
        # Gradients need several times the memory of images alone. This takes about 1 GB for the widest generator.
        batch_size = max(1, default_batch_size(self.x.shape[-1]) // 4)
        found = []
        with (
            torch.inference_mode(False),
            progress(len(rows) * steps, "inverting", "step", show_progress, leave=False) as bar,
        ):
            starts = self._best_candidates(candidates, restarts, batch_size)
            for batch, u in zip(rows.split(batch_size), starts.split(batch_size)):
                found.append(self._descend(batch, u, steps, bar))
        loss, u = (torch.cat(parts) for parts in zip(*found))
        best = loss.unflatten(0, (n, restarts)).argmin(1)
        return self.mean + self.std * u.unflatten(0, (n, restarts))[torch.arange(n, device=u.device), best]

    @torch.no_grad()
    def _best_candidates(self, candidates: Tensor, restarts: int, batch_size: int) -> Tensor:
        """The `restarts` best of `candidates` for each image, best first: (N * restarts, D)."""
        best = []
        for row in range(len(self.x)):
            target = self._target(torch.full((1,), row, device=candidates.device, dtype=torch.int64))
            loss = torch.cat([self._loss(part, *target) for part in candidates.split(batch_size)])
            best.append(candidates[loss.argsort(stable=True)[:restarts]])
        return torch.cat(best)

    def _descend(self, rows: Tensor, u: Tensor, steps: int, bar: tqdm) -> tuple[Tensor, Tensor]:
        """Follow Adam from `u` (M, D) to the images `rows` (M,). Returns the lowest loss (M,) and its codes (M, D)."""
        target = self._target(rows)
        u = u.clone().requires_grad_()
        adam = torch.optim.Adam([u])
        best_loss = torch.full((len(u),), torch.inf, device=u.device, dtype=torch.float32)
        best_u = u.detach().clone()
        for step in range(steps + 1):
            with torch.set_grad_enabled(step < steps):
                loss = self._loss(u, *target)
            better = loss.detach() < best_loss
            # An assignment to best_loss[better] would wait for the GPU.
            best_loss = torch.where(better, loss.detach(), best_loss)
            best_u = torch.where(better[:, None], u.detach(), best_u)
            if step < steps:
                adam.param_groups[0]["lr"] = LEARNING_RATE * _schedule(step, steps)
                # With respect to `u` alone: the gradients of the networks' parameters stay as they were.
                (u.grad,) = torch.autograd.grad(loss.sum(), u)
                with torch.device("cpu"):  # Adam counts its steps on the default device
                    adam.step()
                bar.update(len(u))
        return best_loss, best_u

    def _target(self, rows: Tensor) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """The arguments of `_loss` after `u`, for the images `rows` (M,)."""
        x = self.x[rows]
        with torch.no_grad():
            return x, self._flat_features(x), self.mean[rows], self.std[rows]

    def _loss(self, u: Tensor, x: Tensor, features: list[Tensor], mean: Tensor, std: Tensor) -> Tensor:
        """Loss (M,) of standardized codes `u` (M, D).

        It sums the squared error of pixels, the relative squared error of features, and the distance from the prior.
        """
        images = self.render(mean + std * u)
        pixel_loss = (images - x).square().flatten(1).mean(1)
        errors = [
            (feature - target).square().sum(1) / target.square().sum(1).clamp(min=1e-8)
            for feature, target in zip(self._flat_features(images), features)
        ]
        free = (std > 0).to(u)
        prior_loss = (free * u.square()).sum(1) / free.sum(1)
        return pixel_loss + FEATURE_WEIGHT * torch.stack(errors).mean(0) + PRIOR_WEIGHT * prior_loss

    def _flat_features(self, x: Tensor) -> list[Tensor]:
        """Features of images, flattened to (M, F), in float32."""
        return [feature.flatten(1).float() for feature in self.features(x)]


def tune_generator(
    generator: nn.Module,
    render: Callable[[nn.Module, Tensor], Tensor],
    x: Tensor,
    code: Tensor,
    editable: Tensor,
    steps: int,
    rng: torch.Generator,
    show_progress: bool = True,
) -> nn.Module:
    """A copy of `generator` with weights that make the images `x` from their codes (Roich et al. 2021).

    A second term keeps the effect of edits: at each step, one random edit of each code must change the image as it did
    before.

    Args:
        generator: the network. It is not changed.
        render: function of a generator and codes (M, D) -> images (M, C, H, H) in [0, 1], with gradients.
        x: the images, (N, C, H, H) in [0, 1].
        code: their codes (N, D), from `Inversion`.
        editable: mask of the dimensions that edits change, bool (D,).
        steps: steps of Adam.
        rng: CPU generator of the edits.
        show_progress: show progress on stderr.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        progress(steps, "tuning", "step", show_progress, leave=False) as bar,
    ):
        x, code, editable = x.clone(), code.clone(), editable.clone()
        tuned = copy.deepcopy(generator).float().requires_grad_()
        reference = copy.deepcopy(generator).float().requires_grad_(False)
        with torch.no_grad():
            before = render(reference, code)
        edits = torch.empty(steps, *code.shape, dtype=torch.float32, device="cpu")
        for edit in edits:
            edit.normal_(generator=rng)
        edits = edits.to(code) * editable  # one copy: a GPU would wait for one at each step
        # One pass over the weights instead of ten. Some devices lack it.
        adam = torch.optim.Adam(tuned.parameters(), betas=(0.9, 0.99), fused=x.device.type in ("cpu", "cuda"))
        for step, edit in enumerate(edits):
            adam.param_groups[0]["lr"] = TUNING_RATE * _schedule(step, steps)
            with torch.no_grad():
                edited_before = render(reference, code + edit)
            after, edited_after = render(tuned, torch.cat([code, code + edit])).chunk(2)
            effect_loss = ((edited_after - after) - (edited_before - before)).square().mean()
            loss = (after - x).square().mean() + EDIT_WEIGHT * effect_loss
            adam.zero_grad()
            loss.backward()
            with torch.device("cpu"):  # Adam counts its steps on the default device
                adam.step()
            bar.update()
        return tuned.requires_grad_(False).to(next(generator.parameters()).dtype)


def _schedule(step: int, steps: int) -> float:
    """Fraction of the peak learning rate at a step: a linear rise, then a cosine."""
    done = step / steps
    return min(1, (done + 1 / steps) / WARM_UP) * (1 + math.cos(math.pi * done)) / 2
