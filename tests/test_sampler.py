"""The sampler uses the codes that are given, draws the others by the seed, and changes nothing else."""

import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributions import Normal, kl_divergence

import idgan
from idgan.codes import sweep
from idgan.errors import InvalidInputError
from idgan.images import to_pil, to_unit
from idgan.networks import ConvGeneratorConfig, ModelConfig, NuisanceEncoderConfig, Posterior, VAEConfig
from idgan.sampler import MIN_ACTIVE_KL, Sampler

C_DIM, S_DIM = 4, 2
ACTIVE, INACTIVE = [2, 0], [1, 3]  # in the order of what they carry


class Probe(nn.Module):
    """A generator that keeps the codes it was given, and paints the first few of them into its pixels."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, code):
        self.seen.append(code)
        pixels = torch.tanh(code * self.scale)
        return pixels[:, :, None, None].expand(-1, -1, 64, 64).mean(1, keepdim=True)


def posteriors(m=64):
    """Posteriors: dimension 2 carries the most, 0 carries less, 1 and 3 are at the prior."""
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.zeros(m, C_DIM), torch.zeros(m, C_DIM)
    mean[:, 0], logvar[:, 0] = 0.8 * torch.randn(m, generator=generator), -1.0
    mean[:, 2], logvar[:, 2] = torch.randn(m, generator=generator), -3.0
    return Posterior(mean, logvar)


def build(s_dim=S_DIM, bank=None, generator=None, channels=1):
    config = ModelConfig(VAEConfig(C_DIM, channels), ConvGeneratorConfig(C_DIM, s_dim, channels))
    return Sampler(config, generator=generator, bank=bank or posteriors(), info={"name": "small"})


@pytest.fixture(params=[0, S_DIM], ids=["no nuisance", "nuisance"])
def sampler(request):
    return build(request.param)


@pytest.fixture
def probed():
    """A sampler whose generator is a `Probe`."""
    return build(generator=Probe())


def seen(sampler, call):
    """The pair (c, s) that reached the generator of a probed sampler during `call()`."""
    sampler.generator.seen.clear()
    call()
    s, c = torch.cat(sampler.generator.seen).split([S_DIM, C_DIM], dim=1)
    return c, s


def same(a, b, tolerance=1e-6):
    return a.shape == b.shape and torch.allclose(a, b, atol=tolerance, rtol=0)


# ------------------------------------------------------------------ what it is


def test_dimensions_are_ordered_by_their_kl(sampler):
    bank = posteriors()
    kl = kl_divergence(Normal(bank.mean, (0.5 * bank.logvar).exp()), Normal(0.0, 1.0)).mean(0)
    assert sampler.dim_kl == pytest.approx(kl.tolist(), abs=1e-6)
    assert sampler.active_dims == ACTIVE
    assert sampler.active.tolist() == [kl >= MIN_ACTIVE_KL for kl in sampler.dim_kl]


def test_it_tells_its_shapes(sampler):
    assert (sampler.c_dim, sampler.resolution, sampler.image_channels) == (C_DIM, 64, 1)
    assert sampler.s_dim == sampler.config.s_dim
    assert repr(sampler) == f"Sampler(small: c 4 (2 active), s {sampler.s_dim} -> 1 x 64 x 64, cpu, torch.float32)"


def test_it_is_frozen_and_stays_in_eval_mode(sampler):
    assert sampler.train() is sampler
    assert not any(module.training for module in sampler.modules())
    assert not any(parameter.requires_grad for parameter in sampler.parameters())
    x = sampler.sample(n=2, seed=0)
    made = [x, sampler.decode(torch.zeros(C_DIM)), sampler.encode(x), sampler.reconstruct(x), sampler.edit(x, {0: 1.0})]
    made += [
        sampler.traverse(seed=0),
        sampler.interpolate(torch.zeros(C_DIM), torch.ones(C_DIM)),
        sampler.posterior(x).logvar,
    ]
    c = torch.ones(C_DIM, requires_grad=True)
    made += [sampler.sample(c), sampler.decode(c), sampler.traverse(c), sampler.interpolate(c, c)]
    assert not any(tensor.requires_grad for tensor in made)


def test_forward_lets_gradients_through_to_the_codes(sampler):
    c, s = (code.requires_grad_() for code in sampler.codes(2, seed=0))
    sampler(c, s).sum().backward()
    assert (c.grad.abs().sum(1) > 0).all()
    assert sampler.s_dim == 0 or (s.grad.abs().sum(1) > 0).all()


def test_the_generator_gets_nuisance_first_and_its_range_becomes_unit(probed):
    c, s = probed.codes(3, seed=0)
    x = probed(c, s)
    (code,) = probed.generator.seen
    assert torch.equal(code, torch.cat([s, c], dim=1))
    assert same(x[:, 0, 0, 0], to_unit(torch.tanh(code).mean(1)))


def test_images_stay_in_the_unit_interval_whatever_the_generator_does(probed):
    probed.generator.forward = lambda code: code[:, :1, None, None].expand(-1, 1, 64, 64) * 2
    assert sorted(probed.sample(torch.ones(3, C_DIM), [[-1, 0], [0, 0], [1, 0]])[:, 0, 0, 0].tolist()) == [
        0.0,
        0.5,
        1.0,
    ]


def test_only_the_networks_are_state(sampler):
    assert {name.partition(".")[0] for name in sampler.state_dict()} == {"vae", "generator"}


def test_a_copy_is_equal_and_independent(sampler):
    twin = copy.deepcopy(sampler)
    before = sampler.sample(n=2, seed=0)
    assert torch.equal(twin.sample(n=2, seed=0), before)
    for parameter in twin.parameters():
        parameter.zero_()
    twin.bank.mean.fill_(9.0)
    assert torch.equal(sampler.sample(n=2, seed=0), before)


def test_other_dtypes_compute_in_them_and_give_float32(sampler):
    expected = sampler.sample(n=4, seed=0)
    bf16 = copy.deepcopy(sampler).to(torch.bfloat16)
    assert bf16.dtype == torch.bfloat16
    c, s = bf16.codes(4, seed=0)
    assert torch.equal(c, sampler.codes(4, seed=0)[0])  # the draws do not depend on it
    for x, tolerance in ((bf16.sample(c, s), 0.01), (bf16.decode(c), None), (bf16.reconstruct(expected), None)):
        assert x.dtype == torch.float32
        assert x.min() >= 0
        assert x.max() <= 1
        assert tolerance is None or same(x, expected, tolerance)
    assert bf16.encode(expected).dtype == torch.float32
    assert torch.equal(bf16.to(torch.float32).bank.logvar, sampler.bank.logvar)


def test_without_a_bank_codes_are_normal_and_all_dimensions_count():
    bare = Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3)))
    x = torch.rand(2, 1, 64, 64)
    assert bare.active_dims == [0, 1, 2]
    assert torch.equal(bare.encode(x), bare.posterior(x).mean)
    assert torch.equal(bare.codes(5, seed=0)[0], bare.codes(5, seed=0, prior="normal")[0])
    assert bare.traverse(seed=0, steps=2).shape == (3, 2, 1, 64, 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_draws_are_the_same_on_every_device(sampler):
    there = copy.deepcopy(sampler).to("cuda")
    c, s = there.codes(4, seed=0)
    assert c.device.type == s.device.type == there.sample(n=1).device.type == "cuda"
    assert torch.equal(c.cpu(), sampler.codes(4, seed=0)[0])
    assert same(there.sample(n=4, seed=0).cpu(), sampler.sample(n=4, seed=0), 1e-3)


# ------------------------------------------------------------------ draws


def test_a_seed_fixes_every_draw(sampler):
    x = torch.rand(2, 1, 64, 64)
    a, b = torch.zeros(C_DIM), torch.ones(C_DIM)
    for call in (
        lambda seed: torch.cat(sampler.codes(4, seed), dim=1),
        lambda seed: sampler.sample(n=4, seed=seed),
        lambda seed: sampler.sample(a, seed=seed),
        lambda seed: sampler.reconstruct(x, seed=seed),
        lambda seed: sampler.edit(x, {2: 1.0}, seed=seed),
        lambda seed: sampler.traverse(seed=seed, steps=2),
        lambda seed: sampler.traverse(a, seed=seed, steps=2),
        lambda seed: sampler.interpolate(a, b, seed=seed),
    ):
        first = call(1)
        torch.manual_seed(77)  # the global generator plays no part
        assert torch.equal(call(1), first)
        assert not torch.equal(call(2), first)


def test_drawing_by_seed_leaves_the_global_generator_alone(sampler):
    before = torch.get_rng_state()
    sampler.sample(n=2, seed=0)
    sampler.reconstruct(torch.rand(1, 1, 64, 64, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_drawn_where_everything_is_given(sampler):
    c, s = sampler.codes(2, seed=0)
    before = torch.get_rng_state()
    assert torch.equal(sampler.sample(c, s), sampler(c, s))
    assert torch.equal(sampler.traverse(c[0], s[0], steps=2), sampler.traverse(c[0], s[0], steps=2))
    assert torch.equal(torch.get_rng_state(), before)
    sampler.sample(torch.zeros(C_DIM), s)  # inactive zeros are not given
    assert not torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_the_global_generator_gives_one(sampler):
    torch.manual_seed(0)
    first, second = sampler.sample(n=2), sampler.sample(n=2)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(sampler.sample(n=2), first)


def test_posterior_draws_have_the_moments_of_the_aggregated_posterior():
    bank = posteriors()
    c, s = build().codes(40_000, seed=0)
    assert same(c.mean(0), bank.mean.mean(0), 0.03)
    assert same(c.var(0), bank.logvar.exp().mean(0) + bank.mean.var(0, correction=0), 0.04)
    assert same(s.var(0), torch.ones(S_DIM), 0.04)


def test_normal_draws_do_not_know_the_bank():
    c, _ = build().codes(40_000, seed=0, prior="normal")
    assert same(c.mean(0), torch.zeros(C_DIM), 0.03)
    assert same(c.var(0), torch.ones(C_DIM), 0.04)
    other = Posterior(torch.full((7, C_DIM), 5.0), torch.zeros(7, C_DIM))
    assert torch.equal(
        build(bank=other).codes(3, seed=0, prior="normal")[0], build().codes(3, seed=0, prior="normal")[0]
    )


def test_every_bit_of_a_seed_counts(sampler):
    draws = [torch.cat(sampler.codes(2, seed), 1) for seed in (0, 2**32, 2**63, 2**64 - 1, 1, 2**32 + 1)]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)


# ------------------------------------------------------------------ render


def test_render_gives_batches_of_the_codes_as_they_are(probed):
    c, s = torch.zeros(7, C_DIM), torch.ones(S_DIM, requires_grad=True)
    batches = list(probed.render(c, s, batch_size=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert not any(batch.requires_grad for batch in batches)
    assert torch.equal(torch.cat(probed.generator.seen), torch.cat([s.detach().expand(7, -1), c], dim=1))
    assert torch.equal(torch.cat(batches), probed(c, s.expand(7, -1)))


def test_render_repeats_a_single_code(probed):
    s = torch.rand(4, S_DIM)
    c = [1.0, 0.0, 2.0, 0.0]
    assert torch.equal(torch.cat(list(probed.render(c, s))), probed(torch.tensor([c] * 4), s))


# ------------------------------------------------------------------ global state of PyTorch


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "state",
    [
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.bfloat16),
        lambda: torch.device("meta"),
        torch.no_grad,
        torch.inference_mode,
    ],
    ids=["float64", "bfloat16", "meta", "no_grad", "inference_mode"],
)
def test_global_state_changes_no_result(sampler, state):
    x = sampler.sample(n=2, seed=1)

    def results():
        c = sampler.encode(x)
        yield from (c, *sampler.codes(2, seed=3), sampler.sample(n=2, seed=3), sampler.sample(c, seed=3))
        yield from (
            sampler.edit(x, {0: 1.0}),
            sampler.decode(c),
            sampler.traverse(steps=2),
            sampler.posterior(x).logvar,
        )
        yield from (sampler.interpolate(c[0], c[1], steps=2), *sampler.invert(x, steps=2))

    expected = list(results())
    with state():
        found = list(results())
        sampler.sample()  # a seed from the global generator
    assert all(tensor.dtype == torch.float32 for tensor in found)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    "state", [lambda: default_dtype(torch.float64), lambda: torch.device("meta"), torch.inference_mode]
)
def test_a_model_loads_under_any_global_state(state):
    with state():
        g = idgan.load("dsprites", device="cpu")
    x = g.sample(n=1, seed=0)
    assert torch.equal(x, idgan.load("dsprites", device="cpu").sample(n=1, seed=0))
    g.invert(x, steps=1, restarts=1)


# ------------------------------------------------------------------ networks of one's own


class MeanEncoder(nn.Module):
    """An encoder without decoder or hidden features: its codes are the first pixels."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def encode(self, x):
        mean = self.scale * x.flatten(1)[:, :C_DIM]
        return Posterior(mean, torch.full_like(mean, -2.0))


def test_a_vae_without_decoder_reads_and_edits_images():
    own = Sampler(
        ModelConfig(VAEConfig(C_DIM), ConvGeneratorConfig(C_DIM, S_DIM)), vae=MeanEncoder(), bank=posteriors()
    )
    x = torch.rand(2, 1, 64, 64)
    assert torch.equal(own.encode(x)[:, ACTIVE], x.flatten(1)[:, ACTIVE])
    assert own.edit(x, {2: 1.0}).shape == x.shape
    assert own.untrained == ("decoder",)
    with pytest.raises(InvalidInputError, match=r"the VAE of this model \(MeanEncoder\) has no decoder"):
        own.decode(torch.zeros(C_DIM))


def test_an_encoder_without_hidden_features_is_compared_by_its_means():
    own = Sampler(
        ModelConfig(VAEConfig(C_DIM), ConvGeneratorConfig(C_DIM, S_DIM)), vae=MeanEncoder(), bank=posteriors()
    )
    x = own.sample(n=1, seed=5)
    c, s = own.invert(x, steps=20)
    assert torch.equal(c[:, ACTIVE], own.encode(x)[:, ACTIVE])
    assert (own.sample(c, s) - x).abs().mean() < (own.reconstruct(x, seed=1) - x).abs().mean()


def test_a_model_with_one_code_dimension_works():
    own = Sampler(ModelConfig(VAEConfig(1), ConvGeneratorConfig(1)))
    x = own.sample([[0.5], [1.0]])
    assert own.encode(x).shape == (2, 1)
    assert own.traverse(steps=3, seed=0).shape == (1, 3, 1, 64, 64)
    assert own.edit(x, {0: 1.0}).shape == x.shape


# ------------------------------------------------------------------ sample


@pytest.mark.parametrize("prior", ["aggregated", "normal"])
def test_sample_is_the_images_of_its_codes(sampler, prior):
    codes = sampler.codes(4, seed=0, prior=prior)
    x = sampler.sample(n=4, seed=0, prior=prior)
    assert torch.equal(x, sampler.sample(*codes))
    assert torch.equal(x, sampler(*codes))
    assert x.shape == (4, 1, 64, 64)
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() <= 1


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batch_size_does_not_show(sampler, batch_size):
    assert same(sampler.sample(n=7, seed=0, batch_size=batch_size), sampler.sample(n=7, seed=0))


def test_batches_are_as_small_as_asked(probed):
    probed.sample(n=7, batch_size=3)
    assert [len(code) for code in probed.generator.seen] == [3, 3, 1]


def test_one_of_either_goes_with_many_of_the_other(probed):
    many_c, many_s = probed.codes(5, seed=1)
    for c, s in (
        (many_c, many_s),
        (many_c[0], many_s),
        (many_c, many_s[0]),
        (many_c[:1], many_s[:1]),
        (many_c[0], many_s[0]),
    ):
        got_c, got_s = seen(probed, lambda c=c, s=s: probed.sample(c, s))
        rows = max(c.ndim == 2 and len(c), s.ndim == 2 and len(s), 1)
        assert torch.equal(got_c, c.expand(rows, -1))
        assert torch.equal(got_s, s.expand(rows, -1))


def test_what_is_not_given_is_drawn(probed):
    c, s = probed.codes(5, seed=1)
    drawn_c, drawn_s = probed.codes(5, seed=2)
    assert torch.equal(torch.cat(seen(probed, lambda: probed.sample(c, seed=2)), 1), torch.cat([c, drawn_s], 1))
    assert torch.equal(torch.cat(seen(probed, lambda: probed.sample(s=s, seed=2)), 1), torch.cat([drawn_c, s], 1))
    one_c_many_s = seen(probed, lambda: probed.sample(c[0], n=5, seed=2))
    assert torch.equal(torch.cat(one_c_many_s, 1), torch.cat([c[:1].expand(5, -1), drawn_s], 1))


def test_codes_may_be_lists_arrays_and_integers(sampler):
    c = [1.0, 2.0, 3.0, 4.0]
    expected = sampler.sample(torch.tensor(c), seed=0)
    for other in (c, [c], np.array(c), np.array([c]), [1, 2, 3, 4], torch.tensor(c, dtype=torch.float64)):
        assert torch.equal(sampler.sample(other, seed=0), expected)
        assert torch.equal(sampler.decode(other), sampler.decode(torch.tensor([c])))


def test_decode_is_the_decoder_at_the_code_as_given(sampler):
    c = torch.tensor([[0.0, 0.0, 1.0, 0.0]])  # inactive zeros stay zeros
    assert torch.equal(sampler.decode(c), sampler.vae.decode(c))


# ------------------------------------------------------------------ inactive dimensions


def test_inactive_zeros_are_drawn_and_all_else_is_kept(probed):
    given = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0], [0.0, -1e-20, 5.0, -0.0]])
    drawn, _ = probed.codes(3, seed=3)
    c, _ = seen(probed, lambda: probed.sample(given, seed=3))
    missing = torch.zeros(3, C_DIM, dtype=torch.bool)
    missing[:, INACTIVE] = True
    missing &= given == 0
    assert missing.sum() == 3
    assert torch.equal(c[missing], drawn[missing])
    assert torch.equal(c[~missing], given[~missing])


def test_encode_says_exactly_zero_where_the_encoder_says_nothing(sampler):
    x = torch.rand(3, 1, 64, 64)
    c, mean = sampler.encode(x), sampler.posterior(x).mean
    assert torch.equal(c[:, ACTIVE], mean[:, ACTIVE])
    assert (c[:, INACTIVE] == 0).all()
    assert (mean[:, INACTIVE] != 0).all()


def test_more_images_than_are_encoded_at_once_have_the_codes_of_each(sampler):
    x = torch.rand(300, 1, 64, 64)
    whole, last = sampler.posterior(x), sampler.posterior(x[290:])
    assert len(whole.mean) == len(whole.logvar) == 300
    torch.testing.assert_close((whole.mean[290:], whole.logvar[290:]), (last.mean, last.logvar), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sampler.decode(whole.mean)[290:], sampler.decode(last.mean), rtol=1e-4, atol=1e-5)


def test_an_edit_of_nothing_is_the_reconstruction(sampler):
    x = torch.rand(3, 1, 64, 64)
    assert torch.equal(sampler.edit(x, {}), sampler.reconstruct(x))
    assert torch.equal(sampler.edit(x, {}, seed=5), sampler.reconstruct(x, seed=5))
    s = torch.ones(sampler.s_dim)
    assert torch.equal(sampler.edit(x, {}, s=s), sampler.reconstruct(x, s))


@pytest.mark.parametrize("dim", range(C_DIM))
def test_an_edit_moves_one_dimension_from_where_the_reconstruction_has_it(probed, dim):
    x = torch.rand(3, 1, 64, 64)
    before, s = seen(probed, lambda: probed.reconstruct(x))
    after, s_after = seen(probed, lambda: probed.edit(x, {dim: -1.5}))
    shift = torch.zeros(C_DIM)
    shift[dim] = -1.5
    assert torch.equal(after, before + shift)
    assert torch.equal(s, s_after)


@pytest.mark.parametrize("dim", range(C_DIM))
def test_an_absolute_edit_puts_the_value_there_zero_included(probed, dim):
    x = torch.rand(3, 1, 64, 64)
    before, _ = seen(probed, lambda: probed.reconstruct(x))
    after, _ = seen(probed, lambda: probed.edit(x, {dim: 0}, absolute=True))
    before[:, dim] = 0
    assert torch.equal(after, before)


def test_changed_leaves_its_argument_alone(sampler):
    c = torch.zeros(2, C_DIM)
    changed = sampler.changed(c, {0: 1, np.int64(2): np.float32(0.5)})
    assert changed.tolist() == [[1.0, 0.0, 0.5, 0.0]] * 2
    assert (c == 0).all()


# ------------------------------------------------------------------ traversals and interpolations


def test_a_traversal_sweeps_one_dimension_and_holds_the_rest(probed):
    start, nuisance = probed.complete(seed=4)
    dims = [3, 0, 1]
    c, s = seen(probed, lambda: probed.traverse(dims=dims, span=(-2, 2), steps=5, seed=4))
    path = c.unflatten(0, (3, 5))
    assert torch.equal(s, nuisance.expand(15, -1))
    for row, dim in zip(path, dims):
        assert row[:, dim].tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]  # 0 is a value here, in inactive dimensions too
        others = [d for d in range(C_DIM) if d != dim]
        assert torch.equal(row[:, others], start[:, others].expand(5, -1))


def test_a_traversal_starts_where_it_is_told(probed):
    c, s = torch.tensor([0.5, 0.0, -0.5, 2.0]), torch.tensor([1.0, -1.0])
    swept, nuisance = seen(probed, lambda: probed.traverse(c, s, dims=[0], steps=2, seed=6))
    assert torch.equal(nuisance, s.expand(2, -1))
    assert torch.equal(swept[:, 2:], c[2:].expand(2, -1))
    assert torch.equal(swept[:, 1], probed.codes(1, seed=6)[0][:, 1].expand(2))  # inactive and not given


def test_shapes_of_traversals(sampler):
    assert sampler.traverse(seed=0).shape == (2, 7, 1, 64, 64)
    assert torch.equal(sampler.traverse(seed=0), sampler.traverse(seed=0, dims=ACTIVE))
    assert sampler.traverse(seed=0, dims=(1,), steps=1).shape == (1, 1, 1, 64, 64)
    assert sampler.traverse(seed=0, dims=np.array([3, 3])).shape == (2, 7, 1, 64, 64)


def test_a_traversal_through_its_own_start_meets_the_sample(sampler):
    c, s = sampler.codes(1, seed=0)
    here = c[0, 2].item()
    middle = sampler.traverse(c, s, dims=[2], span=(here - 1, here + 1), steps=3)[0, 1]
    assert same(middle, sampler.sample(c, s)[0], 1e-5)


def test_an_interpolation_goes_straight_from_end_to_end(probed):
    a, b = torch.tensor([0.0, -1.0, 1.0, 0.0]), torch.tensor([2.0, 1.0, 3.0, 0.0])
    drawn, nuisance = probed.codes(1, seed=8)
    c, s = seen(probed, lambda: probed.interpolate(a, b, steps=3, seed=8))
    held = drawn[0, 3].item()  # inactive, given at neither end: the same everywhere
    assert c.tolist() == [[0.0, -1.0, 1.0, held], [1.0, 0.0, 2.0, held], [2.0, 1.0, 3.0, held]]
    assert torch.equal(s, nuisance.expand(3, -1))
    c, _ = seen(probed, lambda: probed.interpolate(a, b, steps=3, seed=None))
    assert len(set(c[:, 3].tolist())) == 1


def test_an_interpolation_ends_in_the_samples(sampler):
    (a, b), s = sampler.codes(2, seed=0)[0], torch.ones(sampler.s_dim)
    x = sampler.interpolate(a, b, steps=5, s=s)
    assert x.shape == (5, 1, 64, 64)
    assert same(x[[0, -1]], sampler.sample(torch.stack([a, b]), s))


def test_sweep_takes_its_ends_exactly():
    path = sweep(torch.zeros(1, 3), [1], (-0.7, 1.3), 4)
    assert path.shape == (1, 4, 3)
    assert path[0, [0, -1], 1].tolist() == pytest.approx([-0.7, 1.3], abs=1e-7)
    assert path[0, :, [0, 2]].abs().max() == 0


# ------------------------------------------------------------------ images of any kind


@pytest.mark.parametrize("size", [32, 64, 128, 100])
def test_every_kind_of_image_has_the_same_code(sampler, tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "image.png")
    expected = sampler.encode(pixels)
    assert expected.shape == (1, C_DIM)
    tensor = torch.from_numpy(pixels)[None, None]
    for x in (picture, picture.convert("RGB"), pixels / 255, tensor, tensor[0].float() / 255, tmp_path / "image.png"):
        assert same(sampler.encode(x), expected, 1e-5)
    assert same(sampler.encode([picture, pixels]), expected.expand(2, -1), 1e-5)


def test_what_it_makes_it_can_read(sampler):
    x = sampler.sample(n=3, seed=0)
    assert same(sampler.encode(to_pil(x)), sampler.encode(x), 0.02)  # 8 bits
    assert sampler.edit(to_pil(x), {0: 1.0}).shape == x.shape


def test_color_models_take_gray_images():
    color = build(channels=3)
    assert color.sample(n=2, seed=0).shape == (2, 3, 64, 64)
    assert color.reconstruct(Image.new("L", (64, 64), 128)).shape == (1, 3, 64, 64)


def test_images_that_are_not_square_are_cropped_only_when_asked(sampler):
    x = torch.rand(1, 1, 64, 96)
    for call in (sampler.posterior, sampler.encode, sampler.reconstruct, lambda x, **crop: sampler.edit(x, {}, **crop)):
        with pytest.raises(InvalidInputError, match="96 wide and 64 high"):
            call(x)
        call(x, crop=True)
    assert torch.equal(sampler.encode(x, crop=True), sampler.encode(x[..., 16:80]))


# ------------------------------------------------------------------ errors


NAN, INF = float("nan"), float("inf")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.codes(0), "n must be an integer from 1 to 2147483647, got 0"),
        (lambda g: g.codes(-1), "n must be an integer from 1"),
        (lambda g: g.codes(2.0), "n must be an integer from 1 to 2147483647, got 2.0"),
        (lambda g: g.codes(True), "n must be an integer from 1"),
        (lambda g: g.sample(n=0), "n must be an integer from 1 to 2147483647, got 0"),
        (lambda g: g.sample(torch.ones(C_DIM), n=0), "n must be an integer from 1 to 2147483647, got 0"),
        (lambda g: g.sample(batch_size=0), "batch_size must be an integer from 1 to 2147483647, got 0"),
        (lambda g: g.sample(seed=-1), "seed must be an integer from 0"),
        (
            lambda g: g.sample(seed=2**64),
            "seed must be an integer from 0 to 18446744073709551615, got 18446744073709551616",
        ),
        (lambda g: g.sample(n=2**63), "n must be an integer from 1 to 2147483647, got 9223372036854775808"),
        (lambda g: g.sample(n=10**400), "n must be an integer from 1 to 2147483647, got 1000"),
        (lambda g: g.sample(seed="0"), "seed must be an integer .* got '0'"),
        (lambda g: g.sample(seed=True), "seed must be"),
        (lambda g: g.sample(prior="uniform"), "prior must be one of aggregated, normal, got 'uniform'"),
        (
            lambda g: g.sample(torch.ones(3, C_DIM), torch.ones(2, S_DIM)),
            r"c has 3 rows and s has 2; sizes must match \(a single row is broadcast\)",
        ),
        (
            lambda g: g.sample(torch.ones(3, C_DIM), n=4),
            r"c has 3 rows and n is 4; sizes must match \(a single row is broadcast\)",
        ),
        (lambda g: g.sample(torch.ones(3, C_DIM), n=1), "c has 3 rows and n is 1; sizes must match"),
        (lambda g: g.sample(torch.ones(3, C_DIM + 1)), r"c must be of shape \(N, 4\) or \(4,\), got \(3, 5\)"),
        (lambda g: g.sample(torch.ones(0, C_DIM)), r"got \(0, 4\)"),
        (lambda g: g.sample(torch.ones(1, 1, C_DIM)), r"got \(1, 1, 4\)"),
        (lambda g: g.sample(s=torch.ones(1)), r"s must be of shape \(N, 2\) or \(2,\), got \(1,\)"),
        (lambda g: g.sample([NAN, 0, 0, 0]), "c has values that are not finite"),
        (lambda g: g.sample([1e300, 0, 0, 0]), "c has values that are not finite"),
        (lambda g: g.sample("0,0,0,0"), "c must be numbers of shape"),
        (lambda g: g.sample([[1, 2], [3]]), "c must be numbers of shape"),
        (lambda g: g.sample([10**400, 0, 0, 0]), "c must be numbers|c has values"),
        (lambda g: g.decode([INF, 0, 0, 0]), "c has values that are not finite"),
        (
            lambda g: g.traverse(dims=[4]),
            r"code dimension must be an integer from 0 to 3, got 4; the active ones are \[2, 0\]",
        ),
        (lambda g: g.traverse(dims=[-1]), "code dimension must be .*, got -1"),
        (lambda g: g.traverse(dims=["x"]), "code dimension must be .*, got 'x'"),
        (lambda g: g.traverse(dims=[]), "dims must be a list"),
        (lambda g: g.traverse(dims=2), "dims must be a list of code dimensions, got 2"),
        (lambda g: g.traverse(steps=0), "steps must be an integer from 1"),
        (lambda g: g.traverse(dims=0.5), "dims must be a list of code dimensions, got 0.5"),
        (lambda g: g.traverse(dims="01"), "dims must be a list of code dimensions, got '01'"),
        (lambda g: g.traverse(span=5), "span must be two finite numbers, got 5"),
        (lambda g: g.traverse(span=(0, 10**400)), "span must be two finite numbers"),
        (lambda g: g.traverse(span=("a", "b")), "span must be two finite numbers"),
        (lambda g: g.traverse(span=(0, NAN)), "span must be two finite numbers"),
        (lambda g: g.traverse(span=(0, 1, 2)), "span must be two finite numbers"),
        (lambda g: g.traverse(torch.ones(2, C_DIM)), "one code and one nuisance, got 2"),
        (lambda g: g.traverse(s=torch.ones(2, S_DIM)), "one code and one nuisance, got 2"),
        (lambda g: g.interpolate(torch.ones(2, C_DIM), torch.ones(C_DIM)), "one code per end"),
        (
            lambda g: g.interpolate(torch.ones(C_DIM), torch.ones(C_DIM), steps=1.5),
            "steps must be an integer from 1 to 2147483647, got 1.5",
        ),
        (lambda g: g.edit(torch.rand(1, 64, 64), {9: 1.0}), "code dimension must be .*, got 9"),
        (lambda g: g.edit(torch.rand(1, 64, 64), {0: "1"}), "change of dimension 0 must be a finite number, got '1'"),
        (lambda g: g.edit(torch.rand(1, 64, 64), {0: True}), "change of dimension 0"),
        (lambda g: g.edit(torch.rand(1, 64, 64), {0: INF}), "change of dimension 0 must be a finite number, got inf"),
        (lambda g: g.edit(torch.rand(1, 64, 64), {0: 1e39}), "the changed c has values that are not finite"),
        (lambda g: g.edit(torch.rand(1, 64, 64), {0: 1e39}, absolute=True), "the changed c has values that are not"),
        (lambda g: g.sample(n=10**5000), "n must be an integer from 1 to 2147483647, got <int that cannot be shown>"),
        (lambda g: g.traverse(span=(1e308, -1e308)), "span must be two numbers up to 3.40282e.38"),
        (lambda g: g.traverse(span=np.array(3)), "span must be two finite numbers"),
        (lambda g: g.traverse(dims=torch.ones(2).to_sparse()), "dims must be a list .*sparse_coo"),
        (lambda g: g.traverse(dims=torch.ones(2, device="meta")), "dims must be a list .*meta"),
        (lambda g: g.invert(torch.rand(1, 64, 64), refine_c="no"), "refine_c must be True or False, got 'no'"),
        (
            lambda g: g.edit(torch.rand(1, 64, 64), {0: 10**400}),
            "change of dimension 0 must be a finite number, got 1000",
        ),
        (
            lambda g: g.edit(torch.rand(1, 64, 64), 5),
            r"changes must map code dimensions to numbers, as \{3: 1.5\}, got 5",
        ),
        (
            lambda g: g.edit(torch.rand(1, 64, 64), [1, 2]),
            r"changes must map code dimensions to numbers, .*got \[1, 2\]",
        ),
        (
            lambda g: g.sample(torch.ones(2, C_DIM).to_sparse()),
            "c must be a dense .*got a sparse_coo tensor of float32 on cpu",
        ),
        (
            lambda g: g.sample(torch.ones(2, C_DIM, device="meta")),
            "c must be a dense .*got a strided tensor of float32 on meta",
        ),
        (lambda g: g.sample(torch.ones(2, C_DIM, dtype=torch.complex64)), "c must be a dense .*complex64"),
        (
            lambda g: g.sample(torch.nested.nested_tensor([torch.ones(C_DIM), torch.ones(C_DIM)])),
            "c must be a dense tensor of real numbers, got a nested tensor",
        ),
        (lambda g: g.encode(torch.rand(1, 64, 64) - 2), r"float images must lie in \[0, 1\]"),
        (lambda g: g.encode(None), "expected a PIL image"),
        (lambda g: g.encode([]), "got an empty list"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(build())


def test_numpy_integers_are_integers(sampler):
    assert torch.equal(sampler.sample(n=np.int64(2), seed=np.int32(3)), sampler.sample(n=2, seed=3))


# ------------------------------------------------------------------ a model that reads s


def reading():
    config = ModelConfig(VAEConfig(C_DIM, 1), ConvGeneratorConfig(C_DIM, S_DIM, 1), NuisanceEncoderConfig(S_DIM, 1))
    return Sampler(config, generator=Probe(), bank=posteriors())


def test_the_nuisance_of_an_image_comes_from_its_encoder():
    sampler, x = reading(), torch.rand(3, 1, 64, 64)
    c, s = sampler.read(x, seed=1)
    assert torch.equal(s, sampler.nuisance_encoder.encode(x).mean) and torch.equal(s, sampler.read(x, seed=2)[1])
    assert torch.equal(c, sampler.encode(x)) and (c[:, INACTIVE] == 0).all()
    sampler.edit(x, {2: 1.5})
    (seen,) = sampler.generator.seen
    assert torch.equal(seen[:, :S_DIM], s)
    assert torch.equal(sampler.sample(c, s), sampler.sample(c, s)) and torch.equal(
        sampler.sample(c, s), sampler.reconstruct(x)
    )
    given = torch.full((S_DIM,), 0.5)
    assert torch.equal(sampler.read(x, given)[1], given.expand(3, -1))
    assert not any(parameter.requires_grad for parameter in sampler.nuisance_encoder.parameters())


def test_without_that_encoder_the_nuisance_is_drawn():
    sampler, x = build(), torch.rand(3, 1, 64, 64)
    assert sampler.nuisance_encoder is None
    c, s = sampler.read(x, seed=1)
    assert torch.equal(s, sampler.codes(3, seed=1)[1]) and torch.equal(c[:, ACTIVE], sampler.encode(x)[:, ACTIVE])


def test_a_tuned_sampler_reads_s_as_before():
    sampler, x = reading(), torch.rand(1, 1, 64, 64)
    own = sampler.tuned(x, *sampler.read(x), steps=1, progress=False)
    assert torch.equal(own.read(x)[1], sampler.read(x)[1])
