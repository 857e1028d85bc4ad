"""GILBO: how much of the code a newly trained encoder reads from generated images, in nats."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from idgan.errors import DivergedError, check_integer, check_range
from idgan.metrics.result import MetricResult
from idgan.progress import progress as progress_bar
from idgan.rng import seeded_rng

__all__ = ["gilbo"]

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""(n, CPU generator) -> images (n, C, H, W) in [0, 1] and their codes (n, c_dim)."""


def gilbo(
    sample: Draw,
    encoder: nn.Module,
    log_prior: Callable[[Tensor], Tensor],
    *,
    seed: int,
    samples: int = 10_000,
    batch_size: int = 64,
    learning_rates: Sequence[float] = (1e-3, 1e-4),
    check_every: int = 500,
    patience: int = 5,
    tolerance: float = 0.01,
    progress: bool = False,
) -> MetricResult:
    """GILBO = max over e of E[log e(c | G(s, c)) - log p(c)], a lower bound on the mutual information of c and G(s, c).

    Every training batch is newly generated, so the encoder cannot overfit. Adam runs at each of `learning_rates` in
    turn. The bound is checked on held-out images, always the same. A rate ends when `patience` checks in a row fail to
    raise the best bound by `tolerance`. The next rate starts from the best weights. The value is measured on other
    images, which serve no other purpose.

    Args:
        sample: function that generates images and their codes.
        encoder: module with new weights: images -> `Posterior`, on the images' device. It is trained in place.
        log_prior: log density (n,) of codes under the distribution that `sample` uses.
        seed: seed of all random numbers.
        samples: number of held-out images, and of images behind the value.
        batch_size: images of a training step.
        learning_rates: learning rates, in the order of their use.
        check_every: training steps between two checks.
        patience: checks without improvement before a rate ends.
        tolerance: smallest improvement, in nats.
        progress: show the number of steps.

    Returns:
        MetricResult in nats. The confidence is the standard error over the images behind the value. Details hold the
        number of steps and the held-out bounds.

    Raises:
        DivergedError: the loss became NaN or infinite.

    Source: Alemi & Fischer 2018.
    """
    check_integer(1, batch_size=batch_size, check_every=check_every, patience=patience, rates=len(learning_rates))
    check_integer(2, samples=samples)
    for rate in learning_rates:
        check_range(0, learning_rate=rate, exclusive=True)
    seeds = torch.randint(2**62, (3,), generator=seeded_rng(seed), device="cpu").tolist()
    train, held_out, final = (torch.Generator().manual_seed(part) for part in seeds)
    held_out_start = held_out.get_state()
    history: list[float] = []
    best, best_weights = float("-inf"), deepcopy(encoder.state_dict())

    with progress_bar(None, "gilbo", "step", progress) as bar:
        for number, rate in enumerate(learning_rates):
            if number:
                encoder.load_state_dict(best_weights)
            optimizer = torch.optim.Adam(encoder.parameters(), lr=rate)
            stale = 0
            while stale < patience:
                _train(encoder, optimizer, sample, train, batch_size, check_every, bar)
                held_out.set_state(held_out_start)
                bound = _bound(encoder, sample, log_prior, held_out, samples, batch_size).mean().item()
                history.append(bound)
                bar.set_postfix(gilbo=f"{bound:.3f}", rate=rate, refresh=False)
                stale = 0 if bound > best + tolerance else stale + 1
                if bound > best:
                    best, best_weights = bound, deepcopy(encoder.state_dict())
    encoder.load_state_dict(best_weights)

    bounds = _bound(encoder, sample, log_prior, final, samples, batch_size)
    rates = "/".join(f"{rate:g}" for rate in learning_rates)
    rule = f"stopped after {patience} checks of {check_every} steps within {tolerance:g} nats"
    return MetricResult(
        "gilbo",
        bounds.mean().item(),
        f"fresh encoder, Adam {rates}, batch {batch_size}, {rule}; {samples} final images",
        samples,
        seed,
        confidence=bounds.std().item() / samples**0.5,
        details={"steps": len(history) * check_every, "held_out": history},
    )


def _train(
    encoder: nn.Module,
    optimizer: torch.optim.Optimizer,
    sample: Draw,
    rng: torch.Generator,
    batch_size: int,
    steps: int,
    bar: Any,
) -> None:
    """Train for `steps` by maximum likelihood on newly generated images. log p(c) does not depend on the encoder."""
    encoder.train()
    for _ in range(steps):
        with torch.no_grad():
            images, c = sample(batch_size, rng)
        loss = -encoder(images).log_prob(c).mean()
        if not loss.isfinite():
            raise DivergedError(f"the loss of the GILBO encoder became {loss.item()}; lower learning_rates")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        bar.update()


@torch.no_grad()
def _bound(
    encoder: nn.Module,
    sample: Draw,
    log_prior: Callable[[Tensor], Tensor],
    rng: torch.Generator,
    samples: int,
    batch_size: int,
) -> Tensor:
    """log e(c | G(s, c)) - log p(c) of each of `samples` generated images, (samples,) float64 on the CPU."""
    encoder.eval()
    bounds = []
    for start in range(0, samples, batch_size):
        images, c = sample(min(batch_size, samples - start), rng)
        bounds.append((encoder(images).log_prob(c) - log_prior(c)).double().cpu())
    return torch.cat(bounds)
