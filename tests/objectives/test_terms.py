import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from idgan.errors import InvalidInputError
from idgan.networks import Posterior
from idgan.objectives import terms


def random_posterior(n=6, c_dim=3):
    return Posterior(torch.randn(n, c_dim), torch.randn(n, c_dim))


def as_normal(posterior):
    return Normal(posterior.mean, (posterior.logvar / 2).exp())


# ------------------------------------------------------------------ VAE


def test_bernoulli_nll_is_that_of_torch():
    logits, x = 3 * torch.randn(5, 2, 4, 4), torch.rand(5, 2, 4, 4).round()
    expected = -Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3)).mean()
    torch.testing.assert_close(terms.bernoulli_nll(logits, x), expected)


def test_bernoulli_nll_of_gray_pixels_is_the_cross_entropy():
    logits, x = torch.randn(5, 1, 4, 4), torch.rand(5, 1, 4, 4)
    p = logits.sigmoid()
    torch.testing.assert_close(terms.bernoulli_nll(logits, x), -(x * p.log() + (1 - x) * (1 - p).log()).sum() / 5)


def test_squared_error_is_the_squared_distance_of_each_image():
    logits, x = torch.randn(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    distances = torch.stack([torch.dist(image.sigmoid(), target) for image, target in zip(logits, x)])
    torch.testing.assert_close(terms.squared_error(logits, x), distances.square().mean())


@pytest.mark.parametrize("likelihood", ["bernoulli", "squared-error"])
def test_reconstruction_loss_is_chosen_by_name_and_does_not_grow_with_the_batch(likelihood):
    logits, x = torch.randn(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    loss = terms.reconstruction_loss(logits, x, likelihood)
    function = {"bernoulli": terms.bernoulli_nll, "squared-error": terms.squared_error}[likelihood]
    assert torch.equal(loss, function(logits, x))
    torch.testing.assert_close(
        terms.reconstruction_loss(logits.repeat(3, 1, 1, 1), x.repeat(3, 1, 1, 1), likelihood), loss
    )


@pytest.mark.parametrize(
    ("logits", "x", "message"),
    [
        (
            torch.zeros(2, 1, 8, 8),
            torch.zeros(2, 3, 8, 8),
            r"decoder gives float32 \(2, 1, 8, 8\).*float32 \(2, 3, 8, 8\)",
        ),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 8, 8), r"\(2, 1, 4, 4\).* must .* have the same shape"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8).byte(), r"images are uint8 \(2, 1, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8).long(), torch.zeros(2, 1, 8, 8), r"decoder gives int64 \(2, 1, 8, 8\)"),
    ],
)
@pytest.mark.parametrize("likelihood", terms.LIKELIHOODS)
def test_a_decoder_that_does_not_fit_the_images_is_refused(logits, x, message, likelihood):
    """Otherwise the squared error would broadcast a gray image over three channels."""
    with pytest.raises(InvalidInputError, match=message):
        terms.reconstruction_loss(logits, x, likelihood)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (5, 3.0), (10, 6.0), (11, 6.0)])
def test_annealed_capacity_rises_linearly_and_then_stays(step, expected):
    assert terms.annealed_capacity(step, 6.0, 10) == expected


def test_kl_divergence_is_that_of_torch():
    posterior = random_posterior()
    expected = kl_divergence(as_normal(posterior), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(terms.kl_divergence(posterior), expected)


# ------------------------------------------------------------------ total correlation


def test_permute_dims_sorts_each_column_by_its_own_ranks():
    c = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    ranks = torch.tensor([[0.2, 0.9], [0.1, 0.5], [0.3, 0.7]])
    assert torch.equal(terms.permute_dims(c, ranks), torch.tensor([[2.0, 20.0], [1.0, 30.0], [3.0, 10.0]]))


def test_permute_dims_keeps_the_marginals_and_breaks_the_joint():
    c = torch.randn(2000, 1).repeat(1, 3)  # three equal columns
    permuted = terms.permute_dims(c, torch.rand(2000, 3))
    assert torch.equal(permuted.sort(0).values, c.sort(0).values)
    correlation = torch.corrcoef(permuted.T)
    assert (correlation - torch.eye(3)).abs().max() < 0.1


def test_tc_estimate_of_the_perfect_discriminator_is_the_total_correlation():
    rho, n = 0.8, 100_000
    first, noise = torch.randn(n, dtype=torch.float64), torch.randn(n, dtype=torch.float64)
    c = torch.stack([first, rho * first + math.sqrt(1 - rho**2) * noise], 1)
    joint = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.tensor([[1, rho], [rho, 1]]).double())
    logits = torch.stack(
        [joint.log_prob(c), Normal(0.0, 1.0).log_prob(c).sum(1)], 1
    )  # up to a common constant, the output of the best discriminator
    assert terms.tc_estimate(logits).item() == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.02)


def test_tc_estimate_is_the_mean_log_odds():
    logits = torch.randn(50, 2)
    p = logits.softmax(1)[:, 0]
    torch.testing.assert_close(terms.tc_estimate(logits), (p / (1 - p)).log().mean())


def test_tc_discriminator_loss_is_the_cross_entropy():
    joint, product = torch.randn(8, 2), torch.randn(8, 2)
    expected = F.cross_entropy(torch.cat([joint, product]), torch.tensor([0] * 8 + [1] * 8))
    torch.testing.assert_close(terms.tc_discriminator_loss(joint, product), expected)


def test_tc_discriminator_loss_weighs_both_classes_alike():
    joint, product = torch.randn(3, 2), torch.randn(9, 2)
    torch.testing.assert_close(
        terms.tc_discriminator_loss(joint, product), terms.tc_discriminator_loss(joint.repeat(3, 1), product)
    )
    assert terms.tc_discriminator_loss(torch.zeros(3, 2), torch.zeros(9, 2)).item() == pytest.approx(math.log(2))


def decomposed_kl_by_loops(c, posterior, data_size):
    """Equations S2 to S4 of minibatch-weighted sampling, written out."""
    n, c_dim = c.shape
    normal, prior = as_normal(posterior), Normal(0.0, 1.0)
    sums = torch.zeros(3, dtype=c.dtype)
    for i in range(n):
        per_dimension = [
            [Normal(normal.loc[j, d], normal.scale[j, d]).log_prob(c[i, d]).exp() for d in range(c_dim)]
            for j in range(n)
        ]
        log_q = math.log(sum(math.prod(row) for row in per_dimension) / (n * data_size))
        log_marginals = sum(math.log(sum(row[d] for row in per_dimension) / (n * data_size)) for d in range(c_dim))
        log_q_given_x = math.log(math.prod(per_dimension[i]))
        sums += torch.tensor([log_q_given_x - log_q, log_q - log_marginals, log_marginals - prior.log_prob(c[i]).sum()])
    return sums / n


def test_decomposed_kl_is_what_loops_give():
    posterior = Posterior(torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64))
    c = posterior.sample(torch.randn(5, 3, dtype=torch.float64))
    expected = decomposed_kl_by_loops(c, posterior, data_size=1000)
    torch.testing.assert_close(torch.stack(terms.decomposed_kl(c, posterior, 1000)), expected)


def test_the_three_parts_of_the_kl_sum_to_its_one_sample_estimate():
    posterior = random_posterior(n=16, c_dim=5)
    c = posterior.sample(torch.randn(16, 5))
    expected = (as_normal(posterior).log_prob(c).sum(1) - Normal(0.0, 1.0).log_prob(c).sum(1)).mean()
    torch.testing.assert_close(sum(terms.decomposed_kl(c, posterior, 737_280)), expected)


@pytest.mark.parametrize("n", [1, 7])
def test_one_posterior_for_all_images_carries_no_information(n):
    """q(c) is then the factorized posterior. MI and TC are the constants of the weighting, log M and (D - 1) log M."""
    posterior = Posterior(torch.randn(1, 4).expand(n, 4), torch.randn(1, 4).expand(n, 4))
    c = posterior.sample(torch.randn(n, 4))
    to_prior = (as_normal(posterior).log_prob(c) - Normal(0.0, 1.0).log_prob(c)).sum(1).mean().item()
    for data_size in (1, 50):
        index_code, tc, dimension_wise = (part.item() for part in terms.decomposed_kl(c, posterior, data_size))
        assert index_code == pytest.approx(math.log(data_size), abs=1e-5)
        assert tc == pytest.approx(3 * math.log(data_size), abs=1e-4)
        assert dimension_wise == pytest.approx(to_prior - 4 * math.log(data_size), abs=1e-4)


def test_two_dimensions_that_repeat_each_other_cost_their_entropy():
    """Narrow, distinct posteriors on the diagonal: N atoms, known from either dimension, so MI = TC = log N."""
    n = 8
    atoms = torch.arange(n).double()[:, None].repeat(1, 2)
    posterior = Posterior(atoms, torch.full((n, 2), -12.0).double())
    index_code, tc, _ = terms.decomposed_kl(posterior.sample(torch.randn(n, 2).double()), posterior, data_size=1)
    assert index_code.item() == pytest.approx(math.log(n))
    assert tc.item() == pytest.approx(math.log(n))


# ------------------------------------------------------------------ GAN


def test_discriminator_loss_is_minus_l_gan():
    real, fake = torch.randn(20), torch.randn(30)
    expected = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    torch.testing.assert_close(terms.discriminator_loss(real, fake), expected)


def test_adversarial_loss_is_the_non_saturating_one():
    fake = torch.randn(20)
    torch.testing.assert_close(terms.adversarial_loss(fake), -fake.sigmoid().log().mean())


def test_gan_losses_are_finite_for_any_logit():
    extreme = torch.tensor([-1e4, 1e4])
    assert terms.discriminator_loss(extreme, extreme).item() == pytest.approx(1e4)
    assert terms.adversarial_loss(extreme).item() == pytest.approx(5e3)


def test_r1_of_a_linear_discriminator_is_the_squared_norm_of_its_weight():
    discriminator = nn.Linear(3 * 4 * 4, 1)
    for n in (1, 6):
        x = torch.randn(n, 3, 4, 4, requires_grad=True)
        penalty = terms.r1_penalty(discriminator(x.flatten(1)).squeeze(1), x)
        torch.testing.assert_close(penalty, discriminator.weight.square().sum())
        (gradient,) = torch.autograd.grad(penalty, discriminator.weight)
        torch.testing.assert_close(gradient, 2 * discriminator.weight)


def test_r1_of_a_quadratic_discriminator_is_the_mean_over_images():
    scale, x = torch.tensor(1.5, requires_grad=True), torch.randn(6, 1, 4, 4, requires_grad=True)
    penalty = terms.r1_penalty(scale * x.square().sum((1, 2, 3)) / 2, x)  # gradient of the image: scale * x
    mean_square = x.detach().square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalty, scale.square() * mean_square)
    torch.testing.assert_close(torch.autograd.grad(penalty, scale)[0], 2 * scale.detach() * mean_square)


def test_r1_leaves_no_gradient_on_the_images():
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    terms.r1_penalty(x.square().sum((1, 2, 3)), x)
    assert x.grad is None


def test_r_id_is_the_log_likelihood_of_torch():
    posterior, c = random_posterior(), torch.randn(6, 3)
    torch.testing.assert_close(terms.r_id(posterior, c), as_normal(posterior).log_prob(c).sum(1).mean())


def test_r_id_is_highest_where_the_code_is_read_back():
    posterior = random_posterior()
    best = terms.r_id(posterior, posterior.mean)
    assert best > terms.r_id(posterior, posterior.mean + 0.1)
    assert best > terms.r_id(posterior, posterior.mean - 0.1)
