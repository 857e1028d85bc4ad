import pytest
import torch
import torch.nn.functional as F

from idgan.errors import InvalidInputError
from idgan.networks import ProjectedDiscriminatorConfig
from idgan.networks.projected import FeatureMixing, ScaleDiscriminator, mixing_weight

SMALL = {"features": "tiny", "base_width": 4, "max_width": 6, "head_width": 8}


@pytest.fixture
def discriminator(tiny_pyramid):
    return ProjectedDiscriminatorConfig(**SMALL).build()


# ------------------------------------------------------------------ mixing


def mixing_of(seed):
    return FeatureMixing((3, 4, 5), (1.0, 2.0, 3.0), (6, 7, 8), torch.Generator().manual_seed(seed))


def test_mixing_is_fixed_by_the_seed():
    one, same, other = mixing_of(0).state_dict(), mixing_of(0).state_dict(), mixing_of(1).state_dict()
    assert len(one) == 3 + 2
    assert all(torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name]) for name in one)


def test_the_discriminator_of_a_run_mixes_by_the_run_s_seed(tiny_pyramid):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(ProjectedDiscriminatorConfig(**SMALL).build().mixing.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not any(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_mixing_adds_coarser_maps_to_finer_ones_from_the_top_down():
    mixing = mixing_of(0)
    maps = [torch.randn(2, channels, side, side) for channels, side in ((3, 16), (4, 8), (5, 4))]
    across = [
        F.conv2d(z, weight)
        for z, weight in zip(maps, (mixing.across_channels_0, mixing.across_channels_1, mixing.across_channels_2))
    ]
    up = lambda z: F.interpolate(z, scale_factor=2, mode="bilinear")
    middle = (across[1] + up(F.conv2d(across[2], mixing.across_scales_1))) / 2**0.5
    finest = (across[0] + up(F.conv2d(middle, mixing.across_scales_0))) / 2**0.5
    for made, expected in zip(mixing(maps), (finest, middle, across[2])):
        torch.testing.assert_close(made, expected)


def test_mixing_across_channels_comes_to_unit_deviation():
    rng = torch.Generator().manual_seed(0)
    weight = mixing_weight(64, 256, rng)
    assert F.conv2d(torch.randn(8, 64, 8, 8), weight).std() == pytest.approx(1, abs=0.05)
    mixing = FeatureMixing((64,), (5.0,), (256,), rng)
    (mixed,) = mixing([5 * torch.randn(8, 64, 8, 8)])
    assert mixed.std() == pytest.approx(1, abs=0.05)


# ------------------------------------------------------------------ the discriminator


def test_each_scale_gives_a_logit(discriminator):
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    maps = discriminator.features(x)
    assert [tuple(z.shape[1:]) for z in maps] == [(4, 32, 32), (6, 16, 16), (6, 8, 8), (6, 4, 4)]
    discriminator.eval()
    logits = discriminator.logits_of(maps)
    assert logits.shape == (3, 4)
    torch.testing.assert_close(discriminator(x), logits.sum(1))
    assert discriminator(x[:1]).shape == (1,)


def test_only_heads_have_parameters_and_states_hold_no_frozen_weights(discriminator):
    assert {name.split(".")[0] for name, _ in discriminator.named_parameters()} == {"heads"}
    assert {name.split(".")[0] for name in discriminator.state_dict()} == {"heads", "mixing"}
    discriminator.load_state_dict(discriminator.state_dict())
    assert discriminator.identity == {"features_sha256": 64 * "0", "features_from": "tiny-pyramid"}


def test_the_frozen_network_stays_in_eval_mode_and_in_float32(discriminator):
    x = torch.rand(2, 3, 64, 64)
    expected = discriminator.train().features(x)
    assert not any(module.training for module in discriminator.pyramid.modules())
    with torch.autocast("cpu", torch.bfloat16):
        made = discriminator.features(x.bfloat16().float())
    assert all(z.dtype == torch.float32 for z in made)
    for there, again in zip(expected, discriminator.features(x)):
        assert torch.equal(there, again)  # no statistics of batches


def test_the_frozen_network_moves_with_the_rest(discriminator):
    discriminator.double()
    assert all(weight.dtype == torch.float64 for weight in discriminator.pyramid.parameters())
    assert all(weight.dtype == torch.float64 for weight in discriminator.parameters())


def test_gray_images_are_repeated_to_rgb(discriminator):
    x = torch.rand(2, 1, 64, 64)
    for gray, rgb in zip(discriminator.features(x), discriminator.features(x.repeat(1, 3, 1, 1))):
        assert torch.equal(gray, rgb)


def test_larger_images_have_more_layers_and_smaller_ones_are_refused(tiny_pyramid):
    assert ProjectedDiscriminatorConfig(**SMALL, resolution=128).build()(torch.rand(2, 3, 128, 128)).shape == (2,)
    with pytest.raises(InvalidInputError, match="tiny needs a resolution of 64 or more, got 32"):
        ProjectedDiscriminatorConfig(**SMALL, resolution=32).build()
    with pytest.raises(InvalidInputError, match="power of two from 8 to 8192, got 96"):
        ProjectedDiscriminatorConfig(resolution=96)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("resolution", 4, "resolution must be an integer from 8 to 8192, got 4"),
        ("head_width", 0, "head_width must be an integer from 1 to 4096, got 0"),
        ("image_channels", 2, "image_channels must be 1 or 3, got 2"),
    ],
)
def test_sizes_out_of_range_are_refused(field, value, message):
    with pytest.raises(InvalidInputError, match=message):
        ProjectedDiscriminatorConfig(**{field: value})


def test_the_largest_singular_value_of_every_weight_is_one():
    head = ScaleDiscriminator(4, 16, 8)
    weights = [module.weight for module in head.layers if hasattr(module, "weight")]
    assert len(weights) == 3
    for _ in range(200):  # each forward takes one step of power iteration
        head(torch.randn(1, 4, 16, 16))
    for module in head.layers:
        if hasattr(module, "weight"):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_a_map_of_four_by_four_needs_one_convolution():
    assert len(ScaleDiscriminator(4, 4, 8).layers) == 1
