"""Rotating, clearing and unlocking dimensions changes what it should and nothing else."""

import math

import pytest
import torch

from idgan.networks import ConvGeneratorConfig, VAEConfig
from idgan.objectives import alignment


@pytest.fixture
def vae():
    return VAEConfig(c_dim=5).build()


@pytest.fixture
def images():
    return torch.rand(6, 1, 64, 64)


def same_variances(vae, pair):
    """Give two dimensions the same log-variances. Rotating them is then exact."""
    head, c_dim = vae.encoder[-1], vae.config.c_dim
    with torch.no_grad():
        for tensor in (head.weight, head.bias):
            tensor[c_dim + pair[1]] = tensor[c_dim + pair[0]]


# ------------------------------------------------------------------ rotation


@pytest.mark.parametrize("angle", [-0.75, -0.3, 0.0, 0.02, 0.5, 0.75])
def test_a_turned_square_is_found_back(angle):
    square = 3 * torch.rand(6_000, 2) - 1
    turned = square.double() @ alignment.rotation(angle).T
    assert alignment.square_angle(turned) == pytest.approx(angle, abs=0.02)
    back = turned @ alignment.rotation(alignment.square_angle(turned))
    assert (back - square).abs().max() < 0.1


def test_a_noisy_rectangle_is_found_back_too():
    rectangle = (torch.rand(6_000, 2) - 0.5) * torch.tensor([2.0, 1.8]) + 0.05 * torch.randn(6_000, 2)
    assert alignment.square_angle(rectangle.double() @ alignment.rotation(0.3).T) == pytest.approx(0.3, abs=0.03)


def test_no_other_angle_has_a_smaller_fourth_moment():
    z = torch.randn(500, 2).exp() @ torch.tensor([[1.0, 0.4], [-0.3, 2.0]])
    z = z.double() - z.double().mean(0)

    def moment(angle):
        return (z @ alignment.rotation(angle)).pow(4).mean(0).sum().item()

    found = alignment.square_angle(z)
    assert -math.pi / 4 <= found <= math.pi / 4
    assert moment(found) == pytest.approx(min(moment(t / 1000) for t in range(-786, 787)), rel=1e-5)


@torch.no_grad()
def test_rotating_the_code_changes_mean_codes_and_no_image_and_no_kl(vae, images):
    pair, turn = [1, 3], alignment.rotation(0.6)
    same_variances(vae, pair)
    before, decoded = vae.encode(images), vae.decode(vae.encode(images).mean)
    alignment.rotate_code(vae, pair, turn)
    after = vae.encode(images)
    torch.testing.assert_close(after.mean[:, pair], before.mean[:, pair] @ turn.float())
    others = [0, 2, 4]
    assert torch.equal(after.mean[:, others], before.mean[:, others])
    torch.testing.assert_close(vae.decode(after.mean), decoded)
    torch.testing.assert_close(after.kl().sum(1), before.kl().sum(1))


@torch.no_grad()
def test_a_generator_draws_the_same_at_the_turned_codes():
    s_dim, pair, turn = 3, [0, 2], alignment.rotation(-0.4)
    generator = ConvGeneratorConfig(c_dim=5, s_dim=s_dim).build()
    s, c = torch.randn(4, s_dim), torch.randn(4, 5)
    before = generator(torch.cat([s, c], 1))
    alignment.rotate_columns(generator.layers[0], [s_dim + d for d in pair], turn)
    turned = c.clone()
    turned[:, pair] = c[:, pair] @ turn.float()
    torch.testing.assert_close(generator(torch.cat([s, turned], 1)), before)


# ------------------------------------------------------------------ locking and unlocking


@torch.no_grad()
def test_a_cleared_dimension_is_the_prior_and_is_not_read(vae, images):
    before = vae.encode(images)
    alignment.clear_dimensions(vae, [1, 4])
    after = vae.encode(images)
    assert (
        (after.mean[:, [1, 4]] == 0).all()
        and (after.logvar[:, [1, 4]] == 0).all()
        and (after.kl()[:, [1, 4]] == 0).all()
    )
    assert torch.equal(after.mean[:, [0, 2, 3]], before.mean[:, [0, 2, 3]])
    other = after.mean.clone()
    other[:, [1, 4]] = torch.randn(6, 2)
    assert torch.equal(vae.decode(other), vae.decode(after.mean))


@torch.no_grad()
def test_a_cold_dimension_begins_near_the_prior_and_is_a_function_of_the_seed(vae, images):
    alignment.clear_dimensions(vae, [2, 3])
    before = vae.encode(images)
    alignment.unlock_random(vae, [2], torch.Generator().manual_seed(1), encoder=0.02, decoder=0.3)
    after, weights = vae.encode(images), vae.encoder[-1].weight.clone()
    assert 0 < after.kl()[:, 2].max() < 1e-3
    assert torch.equal(after.mean[:, [0, 1, 3, 4]], before.mean[:, [0, 1, 3, 4]])
    assert 0 < vae.decoder[0].weight[:, 2].abs().max() <= 0.3 / math.sqrt(5)
    assert (vae.decoder[0].weight[:, 3] == 0).all()
    alignment.unlock_random(vae, [2], torch.Generator().manual_seed(1), encoder=0.02, decoder=0.3)
    assert torch.equal(weights, vae.encoder[-1].weight)


@torch.no_grad()
def test_a_hot_dimension_reads_what_the_code_does_not_contain(vae):
    """Features are a code, its square, and one more number. The new mean is that number, standardized."""
    code, more = torch.randn(2_000, 1), torch.rand(2_000, 1)
    mix = torch.randn(3, 256)
    features = torch.cat([code, code.square(), 0.3 * more], 1) @ mix + 0.001 * torch.randn(2_000, 256)
    alignment.unlock_hot(vae, [4], features, torch.Generator().manual_seed(0), codes=code)
    head = vae.encoder[-1]
    mean = features @ head.weight[4] + head.bias[4]
    assert abs(torch.corrcoef(torch.stack([mean, more[:, 0]]))[0, 1]) > 0.99
    assert abs(torch.corrcoef(torch.stack([mean, code[:, 0]]))[0, 1]) < 0.05
    assert mean.mean().item() == pytest.approx(0, abs=1e-3)
    assert mean.std().item() == pytest.approx(1, abs=1e-3)
    logvar = features @ head.weight[9] + head.bias[9]
    assert (head.bias[9] == -2) and logvar.std() < 0.1


def test_directions_do_not_depend_on_an_eigenvectors_sign_and_come_in_order():
    features = torch.randn(3_000, 4) * torch.tensor([1.0, 3.0, 0.5, 2.0])
    directions = alignment.unexplained_directions(features, torch.randn(3_000, 1), 2)
    assert directions.abs().argmax(0).tolist() == [1, 3]
    assert (directions.gather(0, directions.abs().argmax(0, keepdim=True)) > 0).all()


def test_a_dimension_without_information_explains_nothing():
    codes, features = torch.randn(2_000, 2), torch.randn(2_000, 5)
    features[:, 0] += codes[:, 0] * codes[:, 1]
    with_dead = torch.cat([codes, torch.zeros(2_000, 1)], 1)
    ours, theirs = (alignment.unexplained_directions(features, each, 2) for each in (with_dead, codes))
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_monomials_are_all_products_up_to_the_degree():
    z = torch.randn(1_000, 3, dtype=torch.float64)
    products = alignment.monomials(z, 5)
    assert products.shape == (1_000, math.comb(8, 5))
    assert (products[:, 0] == 1).all()
    standardized = (z - z.mean(0)) / z.std(0)
    for column in (standardized[:, 1], standardized[:, 0] * standardized[:, 2] ** 4, standardized.prod(1)):
        assert (products - column[:, None]).abs().amax(0).min() < 1e-9
    assert alignment.monomials(z[:100], 5).shape == (100, math.comb(5, 2))


def test_the_points_farthest_from_the_median_are_outliers():
    z = torch.cat([torch.rand(90, 2, generator=torch.Generator().manual_seed(0)), torch.full((10, 2), 50.0)])
    assert torch.equal(alignment.without_outliers(z, 0.1), z[:90])
    assert torch.equal(alignment.without_outliers(z, 0.0), z)


def test_a_rotated_square_is_found_among_outliers():
    """The outliers have the shape of a cross, which has its smallest fourth moments on other axes."""
    rng = torch.Generator().manual_seed(0)
    square = 2 * torch.rand(4_500, 2, generator=rng, dtype=torch.float64) - 1
    cross = torch.zeros(500, 2, dtype=torch.float64)
    cross[:250, 0] = cross[250:, 1] = 3 + 3 * torch.rand(250, generator=rng, dtype=torch.float64)
    z = torch.cat([square, cross * (torch.rand(500, 1, generator=rng) - 0.5).sign()])
    z = z @ alignment.rotation(0.3).T
    assert abs(alignment.square_angle(z) - 0.3) > 0.5
    assert alignment.square_angle(alignment.without_outliers(z, 0.12)) == pytest.approx(0.3, abs=0.04)
