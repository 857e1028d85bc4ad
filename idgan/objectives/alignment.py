"""Changes to a trained VAE between two steps: rotate, clear and unlock dimensions of its code.

The functions need a VAE like `idgan.networks.VAE`. Its encoder ends in the linear layer `encoder[-1]` with `c_dim` rows
for means and then `c_dim` rows for log-variances. Its decoder starts with the linear layer `decoder[0]` with one column
for each dimension.
"""

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import cast

import numpy as np
import torch
from torch import Generator, Tensor, nn

from idgan.networks.vae import VAE

__all__ = [
    "clear_dimensions",
    "monomials",
    "reset_linear",
    "rotate_code",
    "rotate_columns",
    "rotation",
    "square_angle",
    "unexplained_directions",
    "unlock_hot",
    "unlock_random",
    "without_outliers",
]

IMAGES_PER_MONOMIAL = 8
"""Fewest images for each regressor. `monomials` lowers its degree if there are fewer."""
LOGVAR_SCALE = 0.02
"""Size of new log-variance weights, relative to a new linear layer."""


def posterior_layer(vae: VAE) -> nn.Linear:
    """The last layer of the encoder."""
    return cast(nn.Linear, vae.encoder[-1])


def code_layer(vae: VAE) -> nn.Linear:
    """The first layer of the decoder."""
    return cast(nn.Linear, vae.decoder[0])


# ------------------------------------------------------------------ rotation of two dimensions


def square_angle(z: Tensor) -> float:
    """The angle t in [-pi/4, pi/4] for which the axes of `z @ rotation(t)` are the sides of a square.

    The points `z` (N, 2) fill a rotated square. Along its sides, a square has the smallest fourth moments. The angle
    minimizes sum_d E[(z R(t))_d^4] of the centered points. With w = z_0 + i z_1, that sum is
    (3 E|w|^4 + Re(e^{-4it} E[w^4])) / 4, so t = arg(-E[w^4]) / 4.
    """
    z = z.double() - z.double().mean(0)
    moment = torch.complex(z[:, 0], z[:, 1]).pow(4).mean()
    return math.atan2(-moment.imag.item(), -moment.real.item()) / 4


def without_outliers(z: Tensor, share: float) -> Tensor:
    """The points `z` (N, 2) without the `share` of them that is farthest from the median of each coordinate."""
    distance = (z - z.median(0).values).norm(dim=1)
    return z[distance <= distance.quantile(1 - share)]


def rotation(angle: float) -> Tensor:
    """The matrix R(t), (2, 2), in float64. Points in rows rotate by -t: `z @ R`."""
    rows = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return torch.tensor(rows, dtype=torch.float64, device="cpu")


@torch.no_grad()
def rotate_columns(layer: nn.Linear, pair: Sequence[int], turn: Tensor) -> None:
    """Change the columns `pair` of `layer`, so that inputs rotated by `turn` (2, 2) give the outputs of before.

    In the first layer of a generator, dimension d of c has the column `s_dim` + d.
    """
    columns = list(pair)
    layer.weight[:, columns] = (layer.weight[:, columns].double() @ turn.to(layer.weight.device)).to(layer.weight.dtype)


@torch.no_grad()
def rotate_code(vae: VAE, pair: Sequence[int], turn: Tensor) -> None:
    """Rotate two dimensions of the code: mean codes c[:, pair] become c[:, pair] @ `turn`. The decoder reverses it.

    Decoded images of mean codes stay the same. Log-variances are mixed with the squares of `turn`. If the two
    log-variances are equal, this is exact, and the KL stays the same too.
    """
    head = posterior_layer(vae)
    c_dim = head.out_features // 2
    for rows, mix in ((list(pair), turn), ([c_dim + d for d in pair], turn.square())):
        mix = mix.T.to(head.weight.device)
        head.weight[rows] = (mix @ head.weight[rows].double()).to(head.weight.dtype)
        head.bias[rows] = (mix @ head.bias[rows].double()).to(head.bias.dtype)
    rotate_columns(code_layer(vae), pair, turn)


# ------------------------------------------------------------------ locking and unlocking


@torch.no_grad()
def clear_dimensions(vae: VAE, dims: Sequence[int]) -> None:
    """Make dimensions carry no information: q(c_d|x) = N(0, 1), and the decoder does not read them."""
    head = posterior_layer(vae)
    rows = _rows(head, dims)
    head.weight[rows] = 0
    head.bias[rows] = 0
    code_layer(vae).weight[:, list(dims)] = 0


@torch.no_grad()
def reset_linear(layer: nn.Linear, rng: Generator) -> None:
    """Draw new weights and biases from the distribution of a new `nn.Linear`: U(-b, b) with b = 1 / sqrt(fan-in)."""
    layer.weight.copy_(_uniform(layer.weight.shape, layer.in_features, rng))
    layer.bias.copy_(_uniform(layer.bias.shape, layer.in_features, rng))


@torch.no_grad()
def unlock_random(vae: VAE, dims: Sequence[int], rng: Generator, *, encoder: float, decoder: float) -> None:
    """Give dimensions random weights. If these are small, the posteriors are near N(0, 1).

    Args:
        encoder, decoder: size of the new weights, relative to a new linear layer.
    """
    head = posterior_layer(vae)
    rows = _rows(head, dims)
    head.weight[rows] = (encoder * _uniform((len(rows), head.in_features), head.in_features, rng)).to(head.weight)
    head.bias[rows] = 0
    _draw_columns(code_layer(vae), dims, decoder, rng)


@torch.no_grad()
def unlock_hot(
    vae: VAE,
    dims: Sequence[int],
    features: Tensor,
    rng: Generator,
    *,
    codes: Tensor,
    logvar: float = -2.0,
    decoder: float = 0.5,
) -> None:
    """Let dimensions read what the encoder sees and the other dimensions do not contain.

    The new means are the `unexplained_directions`, with mean 0 and standard deviation 1.

    Args:
        features: last hidden layer of the encoder for N images, (N, F).
        codes: mean codes of these images in the k dimensions unlocked before, (N, k).
        logvar: the new log-variances, up to small random weights.
        decoder: size of the new columns, relative to a new linear layer.
    """
    head = posterior_layer(vae)
    features = features.double().cpu()
    directions = unexplained_directions(features, codes, len(dims))
    projections = torch.from_numpy(features.numpy() @ directions.numpy())
    means = list(dims)
    head.weight[means] = (directions / projections.std(0)).T.to(head.weight)
    head.bias[means] = (-projections.mean(0) / projections.std(0)).to(head.bias)
    logvars = [head.out_features // 2 + d for d in dims]
    noise = _uniform((len(dims), head.in_features), head.in_features, rng)
    head.weight[logvars] = (LOGVAR_SCALE * noise).to(head.weight)
    head.bias[logvars] = logvar
    _draw_columns(code_layer(vae), dims, decoder, rng)


def unexplained_directions(features: Tensor, codes: Tensor, count: int) -> Tensor:
    """The `count` directions in which `features` (N, F) vary most without being explained by `codes` (N, k).

    E are the residuals of a regression of the features on the `monomials` of the codes. The directions are the first
    solutions p of S_E p = l (S_H - S_E + tr(S_E) / 2F I) p: unexplained variance relative to explained variance.

    Returns:
        The directions in columns, (F, count), in float64 on the CPU. The entry of largest absolute value is positive.
    """
    regressors = monomials(codes.double().cpu()).numpy()
    centered = features.double().cpu().numpy()
    centered = centered - centered.mean(0)
    # Linear algebra of PyTorch does not give the same bits at every call on every CPU (seen with MKL on a Xeon).
    residuals = centered - regressors @ np.linalg.lstsq(regressors, centered, rcond=None)[0]
    unexplained = residuals.T @ residuals / len(centered)
    whole = centered.T @ centered / len(centered)
    ridge = 0.5 * np.trace(unexplained) / len(whole) * np.eye(len(whole))
    inverse = np.linalg.inv(np.linalg.cholesky(whole - unexplained + ridge))
    directions = inverse.T @ np.linalg.eigh(inverse @ unexplained @ inverse.T).eigenvectors[:, -count:][:, ::-1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(0, keepdims=True), 0)
    return torch.from_numpy(directions * np.sign(largest))  # eigh leaves the sign open


def monomials(z: Tensor, degree: int = 5) -> Tensor:
    """All products of at most `degree` columns of `z` (N, k), with the constant 1. Columns are standardized first.

    The degree is lower if `z` has fewer than `IMAGES_PER_MONOMIAL` rows for each product.
    """
    z = (z - z.mean(0)) / z.std(0).clamp(min=1e-6)
    while degree > 1 and math.comb(z.shape[1] + degree, degree) * IMAGES_PER_MONOMIAL > len(z):
        degree -= 1
    columns = [torch.ones_like(z[:, 0])]
    for size in range(1, degree + 1):
        columns += [z[:, list(which)].prod(1) for which in combinations_with_replacement(range(z.shape[1]), size)]
    return torch.stack(columns, 1)


def _rows(head: nn.Linear, dims: Sequence[int]) -> list[int]:
    """Rows of the means of `dims`, and then of their log-variances."""
    return [*dims, *(head.out_features // 2 + d for d in dims)]


def _draw_columns(layer: nn.Linear, dims: Sequence[int], scale: float, rng: Generator) -> None:
    noise = _uniform((layer.out_features, len(dims)), layer.in_features, rng)
    layer.weight[:, list(dims)] = (scale * noise).to(layer.weight)


def _uniform(shape: Sequence[int], fan_in: int, rng: Generator) -> Tensor:
    """U(-b, b) noise with b = 1 / sqrt(fan-in)."""
    return (2 * torch.rand(*shape, generator=rng, dtype=torch.float32, device="cpu") - 1) / math.sqrt(fan_in)
