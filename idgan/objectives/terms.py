"""The terms of the objectives, as functions of tensors. Each names its equation.

Losses are scalars to minimize, in nats. They sum over pixels and code dimensions and average over the batch. All
tensors are floating point, and a result has the dtype of its inputs (float32 in training).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from idgan.errors import InvalidInputError
from idgan.networks.posterior import Posterior

__all__ = [
    "LIKELIHOODS",
    "adversarial_loss",
    "annealed_capacity",
    "bernoulli_nll",
    "capacity_penalty",
    "check_likelihood",
    "decomposed_kl",
    "discriminator_loss",
    "image_error",
    "kl_divergence",
    "pairwise_tc",
    "permute_dims",
    "r1_penalty",
    "r_id",
    "reconstruction_loss",
    "squared_error",
    "tc_discriminator_loss",
    "tc_estimate",
]

# ------------------------------------------------------------------ VAE (Eq. 1)


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|c) of a Bernoulli decoder, from pixel `logits` and images `x` in [0, 1], both (N, C, H, W)."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


def squared_error(logits: Tensor, x: Tensor) -> Tensor:
    """Squared distance between sigmoid(`logits`) and images `x` in [0, 1], both (N, C, H, W).

    It has no factor 1/2, as in the reference settings.
    """
    return (torch.sigmoid(logits) - x).square().sum() / len(x)


LIKELIHOODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bernoulli": bernoulli_nll,
    "squared-error": squared_error,
}
"""Name -> reconstruction term."""


def check_likelihood(name: str) -> None:
    """Check that `name` is in `LIKELIHOODS`.

    Raises:
        InvalidInputError: names the value and what is accepted.
    """
    if name not in LIKELIHOODS:
        raise InvalidInputError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, got {name!r:.100}")


def reconstruction_loss(logits: Tensor, x: Tensor, likelihood: str) -> Tensor:
    """The term `likelihood` of `LIKELIHOODS` for pixel `logits` and images `x` in [0, 1], both (N, C, H, W).

    Raises:
        InvalidInputError: the shapes differ, or a dtype is not floating point.
    """
    if logits.shape != x.shape or not logits.is_floating_point() or not x.is_floating_point():
        raise InvalidInputError(
            f"the decoder gives {_describe(logits)} and the images are {_describe(x)}; "
            "both must be floating point and have the same shape"
        )
    return LIKELIHOODS[likelihood](logits, x)


def image_error(drawn: Tensor, x: Tensor, likelihood: str) -> Tensor:
    """The term `likelihood` of `LIKELIHOODS` for images `drawn`, instead of logits, and `x`, both in [0, 1].

    Values of `drawn` are limited to [1e-6, 1 - 1e-6], because 0 and 1 have no logits. Beyond, there
    are no gradients.
    """
    return reconstruction_loss(torch.logit(drawn, 1e-6), x, likelihood)


def _describe(x: Tensor) -> str:
    """Dtype and shape of a tensor, for messages."""
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"


def kl_divergence(posterior: Posterior) -> Tensor:
    """E_x KL(q(c|x) || N(0, I)) (Eq. 1 and Eq. 6)."""
    return posterior.kl().sum(1).mean()


def annealed_capacity(step: int, capacity: float, steps: int) -> float:
    """C at `step`, in nats: it rises linearly from 0 to `capacity` in `steps` steps (Burgess et al. 2018)."""
    return capacity * min(1.0, step / steps)


def capacity_penalty(kl: Tensor, capacity: float, weight: float) -> Tensor:
    """weight |KL - C| for the scalar `kl` and C = `capacity` (Burgess et al. 2018, Eq. 8)."""
    return weight * (kl - capacity).abs()


# ------------------------------------------------------------------ total correlation


def permute_dims(c: Tensor, ranks: Tensor) -> Tensor:
    """Codes (N, c_dim) with each column shuffled over the batch (Kim & Mnih 2018, Algorithm 1).

    The rows of the result are samples from the product of the marginals. `ranks` is independent continuous noise
    (N, c_dim). The order that sorts a column of it shuffles that column of `c`.
    """
    return c.gather(0, ranks.argsort(0))


def tc_estimate(logits: Tensor) -> Tensor:
    """Total correlation E log D(c) / (1 - D(c)) from logits (N, 2) of the TC discriminator (Kim & Mnih 2018, Eq. 3)."""
    return (logits[:, 0] - logits[:, 1]).mean()


def tc_discriminator_loss(logits_joint: Tensor, logits_product: Tensor) -> Tensor:
    """Cross entropy of the TC discriminator, from logits (N, 2). Class 0 are codes of q(c), class 1 permuted codes."""
    return 0.5 * (-F.log_softmax(logits_joint, 1)[:, 0].mean() - F.log_softmax(logits_product, 1)[:, 1].mean())


def decomposed_kl(c: Tensor, posterior: Posterior, data_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The KL of Eq. 1 as (index-code MI, total correlation, dimension-wise KL) (Chen et al. 2018, Eq. 2).

    Minibatch-weighted sampling estimates the parts. They are biased for finite N, as in that paper. Their sum is a
    one-sample estimate of the KL.

    Args:
        c: samples from `posterior`, (N, c_dim).
        posterior: q(c|x) of the N images.
        data_size: number of training images.
    """
    n = len(c)
    log_prior = -0.5 * (c.square() + math.log(2 * math.pi))
    pairwise = posterior[None].log_density(c[:, None])  # (N, N, c_dim): log q(c_i|x_j)
    log_q_given_x = posterior.log_prob(c)
    log_q = pairwise.sum(2).logsumexp(1) - math.log(n * data_size)
    log_q_product = (pairwise.logsumexp(1) - math.log(n * data_size)).sum(1)
    return (log_q_given_x - log_q).mean(), (log_q - log_q_product).mean(), (log_q_product - log_prior.sum(1)).mean()


def pairwise_tc(c: Tensor, posteriors: Posterior) -> Tensor:
    """sum_{i<j} E_c log q(c_i, c_j) / (q(c_i) q(c_j)), the mutual information of all pairs of dimensions.

    If the posteriors behind `c` are among `posteriors`, the estimate is too high. Fewer and narrower posteriors
    increase the bias.

    Args:
        c: samples from q(c), (N, c_dim).
        posteriors: M posteriors. q(c) is their mixture with equal weights.
    """
    log_densities = posteriors[None].log_density(c[:, None])  # (N, M, c_dim): log q(c_d|x_m)
    highest = log_densities.amax(1, keepdim=True).detach()
    densities = (log_densities - highest).exp()  # up to a factor, which cancels in the ratio
    single = densities.mean(1)
    paired = torch.einsum("nmi,nmj->nij", densities, densities) / len(posteriors)
    tiny = torch.finfo(densities.dtype).tiny
    information = paired.clamp(min=tiny).log() - single.log()[:, :, None] - single.log()[:, None]
    return information.mean(0).triu(1).sum()


# ------------------------------------------------------------------ GAN (Eq. 3)


def discriminator_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """-L_GAN, the loss of D: -E log D(x) - E log(1 - D(G(s, c))), from logits (N,) (Eq. 3)."""
    return F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean()


def adversarial_loss(logits_fake: Tensor) -> Tensor:
    """The non-saturating loss of G: -E log D(G(s, c)), from logits (N,) (Goodfellow et al. 2014, Section 3)."""
    return F.softplus(-logits_fake).mean()


def r1_penalty(logits_real: Tensor, x_real: Tensor) -> Tensor:
    """E ||grad_x D(x)||^2 over real images, without the factor 1/2 (Mescheder et al. 2018, Eq. 9).

    Args:
        logits_real: logits (N,) of D for `x_real`.
        x_real: images (N, C, H, W) that require gradients.

    Returns:
        A scalar that is differentiable with respect to the parameters of D.
    """
    (gradient,) = torch.autograd.grad(logits_real.sum(), x_real, create_graph=True)
    return gradient.square().sum() / len(x_real)


def r_id(posterior: Posterior, c: Tensor) -> Tensor:
    """E log q(c|G(s, c)), which is R_ID without its constant entropy (Eq. 4).

    `posterior` is q(c|G(s, c)) of the images that G made from the codes `c` (N, c_dim).
    """
    return posterior.log_prob(c).mean()
