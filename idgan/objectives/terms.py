"""The terms of every objective, as pure functions of tensors. Each names its source.

Losses are scalars to be minimized; sums over pixels and code dimensions, means over the batch, in nats.
"""

import math

import torch
import torch.nn.functional as F

__all__ = [
    "LIKELIHOODS",
    "adversarial_loss",
    "bernoulli_nll",
    "decomposed_kl",
    "discriminator_loss",
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

# ------------------------------------------------------------------ VAE (eq. 1)


def bernoulli_nll(logits, x):
    """-log p(x|c) of a Bernoulli decoder: pixel `logits` and images `x` in [0, 1], both (N, C, H, W)."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


def squared_error(logits, x):
    """Squared distance between sigmoid(`logits`) and `x` in [0, 1], both (N, C, H, W); no factor 1/2, as in the reference settings."""
    return (torch.sigmoid(logits) - x).square().sum() / len(x)


LIKELIHOODS = {"bernoulli": bernoulli_nll, "squared-error": squared_error}


def reconstruction_loss(logits, x, likelihood):
    """The term of `LIKELIHOODS` that is called `likelihood`: "bernoulli" or "squared-error"."""
    return LIKELIHOODS[likelihood](logits, x)


def kl_divergence(posterior):
    """E_x KL(q(c|x) || N(0, I)) (eq. 1 and eq. 6)."""
    return posterior.kl().sum(1).mean()


# ------------------------------------------------------------------ total correlation


def permute_dims(c, ranks):
    """Codes (N, c_dim) with every column shuffled over the batch: draws of the product of marginals (Kim & Mnih 2018, algorithm 1).

    The column orders are those that sort `ranks`, (N, c_dim) of independent continuous noise.
    """
    return c.gather(0, ranks.argsort(0))


def tc_estimate(logits):
    """Total correlation by density ratio, E log D(c) / (1 - D(c)), from the critic's logits (N, 2) (Kim & Mnih 2018, eq. 3)."""
    return (logits[:, 0] - logits[:, 1]).mean()


def tc_discriminator_loss(logits_joint, logits_product):
    """Cross entropy of the critic: class 0 for codes of q(c), class 1 for permuted ones, logits (N, 2) each."""
    return 0.5 * (-F.log_softmax(logits_joint, 1)[:, 0].mean() - F.log_softmax(logits_product, 1)[:, 1].mean())


def decomposed_kl(c, posterior, data_size):
    """The KL of eq. 1 as (index-code MI, total correlation, dimension-wise KL), by minibatch-weighted sampling (Chen et al. 2018, eq. 2).

    `c` (N, c_dim) are draws from `posterior` of the N images; `data_size` is the number of training images. The three sum to a
    one-sample estimate of the KL. They are biased for finite N, as in that paper.
    """
    n = len(c)
    log_prior = -0.5 * (c.square() + math.log(2 * math.pi))
    pairwise = posterior[None].log_density(c[:, None])  # (N, N, c_dim): log q(c_i|x_j)
    log_q_given_x = posterior.log_prob(c)
    log_q = pairwise.sum(2).logsumexp(1) - math.log(n * data_size)
    log_q_product = (pairwise.logsumexp(1) - math.log(n * data_size)).sum(1)
    return (log_q_given_x - log_q).mean(), (log_q - log_q_product).mean(), (log_q_product - log_prior.sum(1)).mean()


def pairwise_tc(c, posteriors):
    """sum_{i<j} E_c log q(c_i, c_j) / (q(c_i) q(c_j)): the mutual information of all pairs of dimensions, with q(c) a mixture.

    `c` (N, c_dim) are draws from q(c), the equal mixture of `posteriors` (M of them). Biased upwards by few posteriors, the more the
    narrower they are, if those that `c` was drawn from are among them.
    """
    log_densities = posteriors[None].log_density(c[:, None])  # (N, M, c_dim): log q(c_d|x_m)
    highest = log_densities.amax(1, keepdim=True).detach()
    densities = (log_densities - highest).exp()  # in proportion, which the ratio does not need
    single = densities.mean(1)
    paired = torch.einsum("nmi,nmj->nij", densities, densities) / len(posteriors)
    tiny = torch.finfo(densities.dtype).tiny
    information = paired.clamp(min=tiny).log() - single.log()[:, :, None] - single.log()[:, None]
    return information.mean(0).triu(1).sum()


# ------------------------------------------------------------------ GAN (eq. 3)


def discriminator_loss(logits_real, logits_fake):
    """-L_GAN for D: -E log D(x) - E log(1 - D(G(s, c))), from logits (eq. 3)."""
    return F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean()


def adversarial_loss(logits_fake):
    """The non-saturating loss for G: -E log D(G(s, c)), from logits (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-logits_fake).mean()


def r1_penalty(logits_real, x_real):
    """E ||grad_x D(x)||^2 over real images, without the factor 1/2 (Mescheder et al. 2018, eq. 9).

    `x_real` (N, C, H, W) must require gradients and have produced `logits_real` (N,). The result is differentiable with respect to D.
    """
    (gradient,) = torch.autograd.grad(logits_real.sum(), x_real, create_graph=True)
    return gradient.square().sum() / len(x_real)


def r_id(posterior, c):
    """E log q(c | G(s, c)), R_ID without its constant entropy (eq. 4): codes `c` under the `posterior` of the fakes made from them."""
    return posterior.log_prob(c).mean()
