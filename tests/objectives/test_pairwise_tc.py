import math

import pytest
import torch

from idgan.errors import InvalidInputError
from idgan.networks import Posterior
from idgan.objectives import BetaVAEConfig, PairwiseTCVAEConfig, terms


def mixture(covariance, count, seed=0):
    """`Posterior` of `count` normals of variance 0.1; their mixture has mean 0 and about this covariance."""
    covariance = torch.as_tensor(covariance)
    factor = torch.linalg.cholesky(covariance - 0.1 * torch.eye(len(covariance)))
    mean = torch.randn(count, len(covariance), generator=torch.Generator().manual_seed(seed)) @ factor.T
    return Posterior(mean, torch.full_like(mean, math.log(0.1)))


def draws(posteriors, seed=1):
    return posteriors.sample(torch.randn(posteriors.mean.shape, generator=torch.Generator().manual_seed(seed)))


# ------------------------------------------------------------------ the estimate


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_of_normal_codes_it_is_the_closed_form(correlation):
    covariance = torch.eye(3)
    covariance[0, 2] = covariance[2, 0] = correlation
    c = draws(mixture(covariance, 2000))
    estimate = terms.pairwise_tc(c, mixture(covariance, 2000, seed=2))
    assert estimate.item() == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.05)


def test_pairs_add_up():
    covariance = torch.eye(4)
    covariance[0, 1] = covariance[1, 0] = covariance[2, 3] = covariance[3, 2] = 0.8
    posteriors = mixture(covariance, 1000)
    c = draws(posteriors)
    parts = [
        terms.pairwise_tc(c[:, pair], Posterior(posteriors.mean[:, pair], posteriors.logvar[:, pair]))
        for pair in ([0, 1], [2, 3])
    ]
    across = [
        terms.pairwise_tc(c[:, [i, j]], Posterior(posteriors.mean[:, [i, j]], posteriors.logvar[:, [i, j]]))
        for i in (0, 1)
        for j in (2, 3)
    ]
    torch.testing.assert_close(terms.pairwise_tc(c, posteriors), sum(parts) + sum(across))
    assert min(parts) > 5 * max(across)


def test_it_depends_neither_on_the_order_of_dimensions_nor_on_their_scale():
    covariance = torch.tensor([[1.0, 0.6, 0.2], [0.6, 1.0, 0.0], [0.2, 0.0, 1.0]])
    posteriors = mixture(covariance, 500)
    c, order, scale = draws(posteriors), [2, 0, 1], torch.tensor([10.0, 0.1, 1.0])
    moved = Posterior(posteriors.mean[:, order] * scale, posteriors.logvar[:, order] + 2 * scale.log())
    torch.testing.assert_close(
        terms.pairwise_tc(c[:, order] * scale, moved), terms.pairwise_tc(c, posteriors), rtol=1e-4, atol=1e-5
    )


def test_codes_far_from_every_posterior_are_no_nan():
    c = torch.full((3, 2), 50.0, requires_grad=True)
    estimate = terms.pairwise_tc(c, mixture(torch.eye(2), 100))
    estimate.backward()
    assert estimate.isfinite() and c.grad.isfinite().all()


def test_descent_turns_a_rotated_square_back_to_the_axes():
    """Uniform on a square, as two positions are. Only the rotation along the axes is free, and descent finds it."""
    generator = torch.Generator().manual_seed(0)
    square = 2 * torch.rand(4096, 2, generator=generator) - 1
    angle = torch.tensor(0.4, requires_grad=True)
    optimizer = torch.optim.Adam([angle], 0.03)
    for _ in range(40):
        rotation = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
        mean = square @ rotation
        posteriors = Posterior(mean.detach(), torch.full((4096, 2), -4.0))
        rows = torch.randint(4096, (256,), generator=generator)
        c = mean[rows] + math.exp(-2) * torch.randn(256, 2, generator=generator)
        optimizer.zero_grad()
        terms.pairwise_tc(c, posteriors).backward()
        optimizer.step()
    assert abs(angle.item()) < 0.1


# ------------------------------------------------------------------ the objective


def test_without_either_weight_it_is_the_vae(build, batches):
    config = PairwiseTCVAEConfig(tc_weight=0.0, weight=0.0)
    assert torch.equal(
        build(config).losses("vae", batches(5)).total, build(BetaVAEConfig(beta=1.0)).losses("vae", batches(5)).total
    )


@pytest.mark.parametrize(("kl", "slope"), [(3.0, 1.0), (4.4, 1.0), (4.6, 8.0)])
def test_the_capacity_bounds_the_kl_from_above_only(build, kl, slope):
    objective = build(PairwiseTCVAEConfig(capacity=9.0, capacity_steps=10, weight=7.0))
    kl = torch.tensor(kl, requires_grad=True)
    objective.kl_penalty(kl, step=5).backward()  # C is 4.5 there
    assert kl.grad == slope


def test_the_weight_is_that_of_the_estimate(build, batches):
    plain = build(PairwiseTCVAEConfig(tc_weight=0.0, memory=8)).losses("vae", batches(0))
    weighed = build(PairwiseTCVAEConfig(tc_weight=1e5, memory=8)).losses("vae", batches(0))
    assert abs(plain.logged["tc"]) > 1e-5  # small for an untrained encoder
    torch.testing.assert_close(weighed.total, plain.total + 1e5 * plain.logged["tc"])


def test_the_memory_holds_the_last_posteriors_and_starts_as_the_prior(build, batches):
    objective = build(PairwiseTCVAEConfig(memory=10))
    assert not objective.memory.any()  # mean 0, log-variance 0
    seen = []
    for step in range(3):
        posterior = objective.vae.encode(batches(step).x)
        seen.insert(0, torch.stack([posterior.mean, posterior.logvar]).detach())
        objective.losses("vae", batches(step))
    torch.testing.assert_close(objective.memory, torch.cat(seen, 1)[:, :10])


def test_only_training_moves_the_memory(build, batches):
    objective = build(PairwiseTCVAEConfig()).eval()
    objective.losses("vae", batches(0))
    assert not objective.memory.any()


def test_a_memory_needs_a_posterior():
    with pytest.raises(InvalidInputError, match="memory must be an integer of 1 or more, got 0"):
        PairwiseTCVAEConfig(memory=0)


TWO_PROCESSES = """
import torch, torch.distributed as dist
from idgan.data import Batches, DSprites
from idgan.networks import VAEConfig
from idgan.objectives import PairwiseTCVAEConfig
dist.init_process_group("gloo")
torch.manual_seed(0)
objective = PairwiseTCVAEConfig(memory=6).build(VAEConfig(c_dim=4).build())
for step in range(2):
    objective.losses("vae", Batches(DSprites(), 4, seed=0, rank=dist.get_rank(), world_size=2)(step))
print(objective.memory.flatten().tolist())
dist.destroy_process_group()
"""


def test_processes_keep_one_memory_of_all_their_posteriors(build, batches, two_processes):
    objective = build(PairwiseTCVAEConfig(memory=6))
    for step in range(2):
        objective.losses("vae", batches(step))
    first, second = (torch.tensor(eval(printed)) for printed in two_processes(TWO_PROCESSES))
    assert torch.equal(first, second)
    torch.testing.assert_close(first.view(2, 6, 4), objective.memory)
