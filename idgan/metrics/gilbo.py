"""GILBO: how much of the code a fresh encoder can learn to read back from generated images, in nats."""

from copy import deepcopy

import torch
from tqdm import tqdm

from idgan.errors import DivergedError, check_integer
from idgan.metrics.result import MetricResult

__all__ = ["gilbo"]


def gilbo(
    sample,
    encoder,
    log_prior,
    *,
    seed,
    samples=10_000,
    batch_size=64,
    learning_rates=(1e-3, 1e-4),
    check_every=500,
    patience=5,
    tolerance=0.01,
    progress=False,
):
    """GILBO = max over e of E[log e(c | G(s, c)) - log p(c)], a lower bound on the mutual information of c and G(s, c).

    Every training batch is freshly generated, so there is nothing to overfit. Adam runs at each of `learning_rates` in turn. Every
    `check_every` steps the bound is taken on `samples` held-out images, the same each time; a rate ends when `patience` checks in a row
    have not raised the best bound by more than `tolerance` nats, and the next starts from the best weights. The value is then taken
    on `samples` further images, used for nothing else.

    Args:
        sample: `sample(n, rng) -> (images (n, C, H, W) in [0, 1], c (n, c_dim))`, drawing from a CPU `torch.Generator`.
        encoder: freshly initialized module, images -> Posterior (with `log_prob(c)` (n,)), on the images' device. Trained in place.
        log_prior: log density (n,) of the distribution that `sample` draws c from.
        progress: show a tqdm bar over steps.

    Returns:
        MetricResult in nats; confidence is the standard error over the final images. Details hold the steps and the held-out bounds.

    Raises:
        DivergedError: the loss is no longer finite.

    Source: Alemi & Fischer 2018.
    """
    check_integer(1, batch_size=batch_size, check_every=check_every, patience=patience, rates=len(learning_rates))
    check_integer(2, samples=samples)
    seeds = torch.randint(2**62, (3,), generator=torch.Generator().manual_seed(seed)).tolist()
    train, held_out, final = (torch.Generator().manual_seed(part) for part in seeds)
    held_out_start = held_out.get_state()
    history, best, best_weights = [], float("-inf"), None

    with tqdm(disable=not progress, desc="gilbo", unit="step") as bar:
        for rate in learning_rates:
            if best_weights is not None:
                encoder.load_state_dict(best_weights)
            optimizer = torch.optim.Adam(encoder.parameters(), lr=rate)
            stale = 0
            while stale < patience:
                _train(encoder, optimizer, sample, train, batch_size, check_every, bar)
                held_out.set_state(held_out_start)
                bound = _bound(encoder, sample, log_prior, held_out, samples, batch_size).mean().item()
                history.append(bound)
                bar.set_postfix(gilbo=f"{bound:.3f}", rate=rate)
                stale = 0 if bound > best + tolerance else stale + 1
                if bound > best:
                    best, best_weights = bound, deepcopy(encoder.state_dict())
    encoder.load_state_dict(best_weights)

    bound = _bound(encoder, sample, log_prior, final, samples, batch_size)
    return MetricResult(
        "gilbo",
        bound.mean().item(),
        f"fresh encoder, Adam {'/'.join(f'{rate:g}' for rate in learning_rates)}, batch {batch_size}, stopped after {patience} checks"
        f" of {check_every} steps within {tolerance:g} nats; {samples} final images",
        samples,
        seed,
        confidence=bound.std().item() / samples**0.5,
        details={"steps": len(history) * check_every, "held_out": history},
    )


def _train(encoder, optimizer, sample, rng, batch_size, steps, bar):
    """`steps` of maximum likelihood on fresh generator samples; log p(c) does not depend on the encoder."""
    encoder.train()
    for _ in range(steps):
        with torch.no_grad():
            images, c = sample(batch_size, rng)
        loss = -encoder(images).log_prob(c).mean()
        if not loss.isfinite():
            raise DivergedError(f"the GILBO encoder's loss became {loss.item()}; lower learning_rates")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        bar.update()


@torch.no_grad()
def _bound(encoder, sample, log_prior, rng, samples, batch_size):
    """log e(c | G(s, c)) - log p(c) of each of `samples` generated images, (samples,) float64."""
    encoder.eval()
    bounds = []
    for start in range(0, samples, batch_size):
        images, c = sample(min(batch_size, samples - start), rng)
        bounds.append((encoder(images).log_prob(c) - log_prior(c)).double().cpu())
    return torch.cat(bounds)
