"""Inversion finds codes that draw the image, keeps fixed codes, and changes nothing else."""

import copy

import pytest
import torch
from torch import nn

import idgan
from idgan.data import open_dataset
from idgan.errors import InvalidInputError
from idgan.images import as_batch, psnr
from idgan.inversion import Inversion
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, ResNetGeneratorConfig, VAEConfig
from idgan.sampler import Sampler

C_DIM, S_DIM = 4, 3
ACTIVE, INACTIVE = [0, 2], [1, 3]


def build(s_dim=S_DIM, inactive=INACTIVE, generator=None):
    """A sampler on gray 64x64 whose codes show in its images: random networks, made to answer more strongly."""
    torch.manual_seed(0)
    mean, logvar = torch.randn(64, C_DIM), torch.full((64, C_DIM), -3.0)
    mean[:, inactive], logvar[:, inactive] = 0.0, 0.0
    config = ModelConfig(VAEConfig(C_DIM), generator or ConvGeneratorConfig(C_DIM, s_dim))
    sampler = Sampler(config, bank=Posterior(mean, logvar))
    for parameter in sampler.parameters():
        parameter.mul_(2.5 if parameter.ndim > 1 else 1)
    return sampler


@pytest.fixture
def sampler():
    return build()


def linear(dims, seed=0):
    """An encoder, and a `render` that paints each code dimension with a pattern of its own."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(dims, 64 * 64, generator=generator) / dims**0.5
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 8), nn.ReLU()).requires_grad_(False)
    return encoder, lambda code: (0.5 + 0.1 * code @ patterns).unflatten(1, (1, 64, 64))


def found(render, encoder, x, mean, std, steps=150, restarts=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return Inversion(render, lambda x: [encoder(x)], x, mean, std).run(steps, restarts, rng, show_progress=False)


# ------------------------------------------------------------------ the search


def test_codes_of_a_linear_generator_are_found():
    encoder, render = linear(6)
    truth = torch.tensor([[1.0, -2.0, 0.5, 0.0, 1.5, -1.0], [3.0, 0.3, 1.0, -0.5, 2.0, 0.0]])
    mean, std = torch.full((2, 6), 0.5), torch.full((2, 6), 2.0)
    code = found(render, encoder, render(truth), mean, std)
    assert (code - truth).abs().max() < 0.4  # the prior draws it a little towards the mean
    assert (psnr(render(code).clamp(0, 1), render(truth).clamp(0, 1)) > 30).all()


def test_the_prior_decides_what_the_image_does_not():
    encoder, render = linear(2)
    blind = lambda code: render(code * torch.tensor([1.0, 0.0]))  # the second dimension does not show
    code = found(blind, encoder, blind(torch.tensor([[1.0, 9.0]])), torch.tensor([[0.0, 0.7]]), torch.ones(1, 2))
    assert code[0, 0].item() == pytest.approx(1.0, abs=0.25)  # the prior draws it a little towards its mean of 0
    assert code[0, 1].item() == pytest.approx(0.7, abs=0.02)


def test_dimensions_without_spread_are_held():
    encoder, render = linear(3)
    mean, std = torch.tensor([[0.1, -0.7, 0.3]]), torch.tensor([[1.0, 0.0, 1.0]])
    code = found(render, encoder, render(torch.tensor([[1.0, 2.0, -1.0]])), mean, std, steps=20)
    assert code[0, 1] == mean[0, 1]
    assert (code[0] != mean[0]).tolist() == [True, False, True]


def test_with_no_steps_the_best_draw_is_kept():
    encoder, render = linear(1)
    truth = torch.linspace(-1.5, 1.5, 7)[:, None]
    for restarts in (1, 3, 70):  # 70 take more draws
        code = found(render, encoder, render(truth), torch.zeros(7, 1), torch.ones(7, 1), steps=0, restarts=restarts)
        assert (code - truth).abs().max() < 0.3


def test_a_step_too_far_is_not_kept():
    encoder, render = linear(1)
    truth = torch.linspace(-1.5, 1.5, 7)[:, None]
    before, after = (
        found(render, encoder, render(truth), torch.zeros(7, 1), torch.ones(7, 1), steps, restarts=1)
        for steps in (0, 1)
    )
    assert ((after - truth).abs() <= (before - truth).abs() + 1e-3).all()


def test_what_is_held_does_not_choose_the_draw():
    encoder, render = linear(1)
    truth = torch.linspace(-1.5, 1.5, 7)[:, None]
    std = torch.zeros(7, 300)
    std[:, 0] = 1.0
    code = found(lambda code: render(code[:, :1]), encoder, render(truth), torch.zeros(7, 300), std, steps=0)
    assert (code[:, :1] - truth).abs().max() < 0.3


def test_the_encoders_features_have_a_say():
    """The pixels are closest at 0. The encoder sees the pattern of the image and that of the generator as one."""
    ours, theirs = torch.zeros(2, 1, 64, 64)
    ours[:, :32], theirs[:, 32:] = 1.0, 1.0
    render = lambda code: 0.2 + 0.3 * code[..., None, None] * ours
    x = 0.2 + 0.6 * theirs[None]
    codes = []
    for weight in (0.0, 1 / 64):
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 1, bias=False), nn.ReLU()).requires_grad_(False)
        encoder[1].weight.fill_(weight)
        codes.append(found(render, encoder, x, torch.zeros(1, 1), torch.ones(1, 1)).item())
    assert codes[0] == pytest.approx(0.0, abs=0.02)
    assert codes[1] > codes[0] + 0.02


def test_the_better_of_two_valleys_is_kept():
    """One draw in a few falls where the slope leads to the image; each restart follows one of them."""
    encoder, _ = linear(1)
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    render = lambda code: (
        0.5 + 0.5 * torch.sin(3 * code)[..., None, None] * ramp * code[..., None, None].tanh()
    ).clamp(0, 1)
    x = render(torch.tensor([[1.6]]))
    codes = [found(render, encoder, x, torch.zeros(1, 1), torch.ones(1, 1), restarts=restarts) for restarts in (1, 8)]
    first, best = (psnr(render(code), x).item() for code in codes)
    assert best >= first - 0.1  # the end of a search is not exact
    assert best > 35


# ------------------------------------------------------------------ of a sampler


def test_what_it_finds_draws_the_image_better_than_any_draw(sampler):
    x = sampler.sample(n=3, seed=5)
    c, s = sampler.invert(x, steps=60, restarts=2)
    assert c.shape == (3, C_DIM)
    assert s.shape == (3, S_DIM)
    drawn = torch.stack([psnr(sampler.reconstruct(x, seed=seed), x) for seed in range(64)])
    assert (psnr(sampler.sample(c, s), x) > drawn.max(0).values).all()
    assert torch.equal(c[:, ACTIVE], sampler.encode(x)[:, ACTIVE])
    assert (c[:, INACTIVE] != 0).all()
    assert max(s.abs().max(), c[:, INACTIVE].abs().max()) < 6


@pytest.mark.parametrize("refine_c", [False, True])
def test_more_steps_do_not_harm(sampler, refine_c):
    x = torch.rand(2, 1, 64, 64)
    scores = [
        psnr(sampler.sample(*sampler.invert(x, steps=steps, restarts=2, refine_c=refine_c)), x) for steps in (0, 40)
    ]
    assert (scores[1] > scores[0]).all()


def test_refined_codes_stay_in_the_posterior(sampler):
    x = sampler.sample(n=2, seed=5)
    posterior = sampler.posterior(x)
    c, _ = sampler.invert(x, steps=50, restarts=2, refine_c=True)
    off = ((c - posterior.mean) / (0.5 * posterior.logvar).exp())[:, ACTIVE].abs()
    assert (off > 0).all()
    assert off.max() < 6


def test_images_do_not_depend_on_each_other(sampler):
    x = sampler.sample(n=17, seed=5)  # with 4 restarts more than one batch
    together = sampler.invert(x, steps=5, restarts=4)
    for row in (0, 16):
        alone = sampler.invert(x[row : row + 1], steps=5, restarts=4)
        assert all(torch.allclose(one[0], all_[row], atol=1e-3) for one, all_ in zip(alone, together))


def test_a_seed_fixes_it(sampler):
    x = torch.rand(1, 1, 64, 64)
    first = sampler.invert(x, steps=3, seed=1)
    torch.manual_seed(77)
    before = torch.get_rng_state()
    assert all(map(torch.equal, sampler.invert(x, steps=3, seed=1), first))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(sampler.invert(x, steps=3, seed=2)[1], first[1])


def test_it_works_without_nuisance():
    bare = build(s_dim=0)
    x = bare.sample(n=1, seed=5)
    c, s = bare.invert(x, steps=50)
    assert s.shape == (1, 0)
    assert psnr(bare.sample(c, s), x) > psnr(bare.reconstruct(x), x)


def test_with_nothing_to_find_the_code_is_the_encoders():
    full = build(s_dim=0, inactive=[])
    x = full.sample(n=2, seed=5)
    c, s = full.invert(x)
    assert torch.equal(c, full.encode(x))
    assert s.shape == (2, 0)
    refined, _ = full.invert(x, steps=30, refine_c=True)
    assert (psnr(full.sample(refined), x) > psnr(full.sample(c), x)).all()


def test_the_networks_are_left_as_they_were(sampler):
    touched = next(sampler.generator.parameters())
    touched.requires_grad_(True).grad = torch.ones_like(touched)
    before = copy.deepcopy(sampler)
    sampler.invert(torch.rand(1, 1, 64, 64), steps=2)
    for (name, parameter), old in zip(sampler.named_parameters(), before.parameters()):
        assert torch.equal(parameter, old), name
        assert parameter.requires_grad == (parameter is touched), name
        assert parameter is touched or parameter.grad is None, name
    assert (touched.grad == 1).all()


def test_it_works_where_gradients_are_off(sampler):
    x = torch.rand(1, 1, 64, 64)
    expected = sampler.invert(x, steps=3)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert all(map(torch.equal, sampler.invert(x, steps=3), expected))
            assert all(map(torch.equal, sampler.invert(x.clone(), steps=3), expected))
    assert not any(code.requires_grad for code in expected)


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
)
def test_it_works_in_other_dtypes_and_places(sampler, device):
    x = sampler.sample(n=1, seed=5)
    there = copy.deepcopy(sampler).to(device, torch.bfloat16)
    c, s = there.invert(x, steps=8, restarts=1)
    assert (c.dtype, s.dtype, c.device.type) == (torch.float32, torch.float32, device)
    drawn = torch.stack([psnr(there.reconstruct(x, seed=seed).cpu(), x) for seed in range(16)])
    assert (psnr(there.sample(c, s).cpu(), x) > drawn.mean(0)).all()


def test_images_larger_than_the_encoders_are_compared_at_their_own_size():
    large = build(
        generator=ResNetGeneratorConfig(resolution=128, base_width=4, c_dim=C_DIM, s_dim=S_DIM, image_channels=1)
    )
    x = large.sample(n=1, seed=5)
    c, s = large.invert(x, steps=40, restarts=1)
    assert psnr(large.sample(c, s), x) > psnr(large.reconstruct(x), x)


def test_dsprites_are_drawn_again_better_than_by_chance():
    g = idgan.load("dsprites")
    x = open_dataset("dsprites").images(torch.tensor([400_000]))
    chance = torch.stack([psnr(g.reconstruct(x, seed=seed), x) for seed in range(8)]).mean(0)
    assert (psnr(g.reconstruct(x, invert=True), x) > chance + 1).all()


# ------------------------------------------------------------------ a generator of one's own


def test_the_tuned_generator_draws_the_image(sampler):
    x = torch.rand(1, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    c, s = sampler.invert(x, steps=30)
    before = copy.deepcopy(sampler)
    own = sampler.tuned(x, c, s, steps=40)
    assert psnr(own.sample(c, s), x) > psnr(sampler.sample(c, s), x) + 3
    assert all(map(torch.equal, sampler.state_dict().values(), before.state_dict().values()))
    assert own.vae is sampler.vae and torch.equal(own.bank.mean, sampler.bank.mean)
    assert not any(parameter.requires_grad for parameter in own.parameters())
    assert own.info["name"] == "unnamed, tuned to one image"


def test_tuning_keeps_the_effect_of_edits(sampler, monkeypatch):
    x = torch.rand(1, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    c, s = sampler.invert(x, steps=30)
    changed = sampler.changed(c, {2: 1.0})
    effect = lambda g: g.sample(changed, s) - g.sample(c, s)
    errors = []
    for weight in (0.0, 3.0):
        monkeypatch.setattr("idgan.inversion.EDIT_WEIGHT", weight)
        errors.append((effect(sampler.tuned(x, c, s, steps=40)) - effect(sampler)).square().mean())
    assert errors[1] < 0.8 * errors[0]


def test_tuning_follows_the_seed_alone(sampler):
    x = torch.rand(2, 1, 64, 64)
    c, s = sampler.invert(x, steps=1)
    expected = sampler.tuned(x, c, s, steps=3, seed=4).sample(c, s)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert torch.equal(sampler.tuned(x.clone(), c, s, steps=3, seed=4).sample(c, s), expected)
    assert not torch.equal(sampler.tuned(x, c, s, steps=3, seed=5).sample(c, s), expected)
    assert torch.equal(sampler.tuned(x, c, s, steps=0).sample(c, s), sampler.sample(c, s))
    with pytest.raises(InvalidInputError, match="one c and one s for each image, got 2 and 1 for 2"):
        sampler.tuned(x, c, s[:1])
    with pytest.raises(InvalidInputError, match="steps must be an integer from 0"):
        sampler.tuned(x, c, s, steps=-1)


def test_a_tuned_sampler_keeps_its_dtype(sampler):
    x = torch.rand(1, 1, 64, 64)
    half = copy.deepcopy(sampler).to(torch.bfloat16)
    c, s = half.invert(x, steps=2)
    own = half.tuned(x, c, s, steps=20)
    assert own.dtype == torch.bfloat16
    assert psnr(own.sample(c, s), x) > psnr(half.sample(c, s), x)


def test_edits_start_from_the_tuned_generator():
    shape = {"resolution": 8, "base_width": 2, "max_width": 4, "image_channels": 1}
    sampler = build(generator=ResNetGeneratorConfig(c_dim=C_DIM, s_dim=S_DIM, **shape))
    x = torch.rand(2, 1, 8, 8)
    edited = sampler.edit(x, {2: 1.5}, seed=3, tune=True)
    c, s = (part[:1] for part in sampler.invert(x, seed=3))
    alone = sampler.tuned(x[:1], c, s, seed=3).sample(sampler.changed(c, {2: 1.5}), s)
    assert torch.allclose(edited[:1], alone, atol=1e-3)
    with pytest.raises(InvalidInputError, match="tune=True finds s, so s cannot be given"):
        sampler.edit(x, {}, s=torch.zeros(S_DIM), tune=True)


# ------------------------------------------------------------------ edits


def test_edits_start_from_what_was_found(sampler):
    x = torch.rand(1, 1, 64, 64)
    c, s = sampler.invert(x, seed=3)
    assert torch.equal(sampler.edit(x, {2: 1.5}, seed=3, invert=True), sampler.sample(sampler.changed(c, {2: 1.5}), s))


def test_images_of_any_kind_are_inverted_and_cropped(sampler):
    x = torch.rand(1, 1, 64, 96)
    with pytest.raises(InvalidInputError, match="96 wide and 64 high"):
        sampler.invert(x)
    middle = as_batch(x, channels=1, resolution=64, crop=True)
    assert all(map(torch.equal, sampler.invert(x, steps=2, crop=True), sampler.invert(middle, steps=2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps must be an integer from 0 to 2147483647, got -1"),
        ({"steps": 1.5}, "steps must be an integer from 0 to 2147483647, got 1.5"),
        ({"restarts": 0}, "restarts must be an integer from 1 to 2147483647, got 0"),
        ({"seed": -1}, "seed must be an integer from 0"),
    ],
)
def test_bad_input_is_named(sampler, options, message):
    with pytest.raises(InvalidInputError, match=message):
        sampler.invert(torch.rand(1, 1, 64, 64), **options)


def test_nuisance_is_given_or_found(sampler):
    with pytest.raises(InvalidInputError, match="invert=True finds s, so s cannot be given"):
        sampler.reconstruct(torch.rand(1, 1, 64, 64), torch.zeros(S_DIM), invert=True)
