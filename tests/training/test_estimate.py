import dataclasses

import pytest
import torch

from idgan.data import DSprites
from idgan.objectives import BetaVAEConfig, GANConfig
from idgan.recipes import METHODS, RECIPES, Adam, RMSprop, Stage, apply_method, override, recipe_of
from idgan.training.estimate import Cost, Noise, cost_of, largest_batch, parameters_of, seconds_per_step

DSPRITES = apply_method(recipe_of("dsprites"), "beta-vae")


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_parameters_are_those_of_the_networks(name):
    recipe = recipe_of(name)
    with torch.device("meta"):
        expected = {part: size(recipe.build(part)) for part in ("vae", "generator", "discriminator")}
    found = parameters_of(recipe)
    assert {part: count for part, count in found.items() if part != "tc_discriminator"} == expected
    assert found.get("tc_discriminator", 134_914) == (10 * 256 + 256) + 2 * (256**2 + 256) + 2 * 256 + 2


def test_the_discriminator_of_factor_vae_is_that_of_table_a2():
    """Six layers of 1000 and one of 2."""
    found = parameters_of(apply_method(recipe_of("dsprites"), "factor-vae"))
    assert found["tc_discriminator"] == (10 * 1000 + 1000) + 5 * (1000**2 + 1000) + 2 * 1000 + 2 == 5_018_002


@pytest.mark.parametrize("method", METHODS)
def test_each_network_of_a_method_counts_once(method, packages_of):
    packages_of(method)
    found = parameters_of(apply_method(recipe_of("dsprites"), method))
    assert found["vae"] == 764_245  # table A.2, for 10 dimensions
    assert ("generator" in found) == (
        method not in ("vae-gan", "vae", "beta-vae", "capacity-vae", "factor-vae", "beta-tcvae", "growing-vae")
    )
    assert list(found) == list(dict.fromkeys(found))


# ------------------------------------------------------------------ operations

# Multiplications with addition, twice: (output pixels x taps x widths before and after) of table A.2, for one image
FIRST = 2 * 32**2 * 16 * 1 * 32
CONVOLUTIONS = FIRST + 2 * (16**2 * 16 * 32 * 32 + 8**2 * 16 * 32 * 64 + 4**2 * 16 * 64 * 64)
ENCODER = CONVOLUTIONS + 2 * (1024 * 256 + 256 * 20)
DECODER = CONVOLUTIONS + 2 * (1024 * 256 + 256 * 10)
CRITIC = CONVOLUTIONS + 2 * (1024 * 256 + 256)


def test_operations_of_a_vae_are_three_times_its_forward_pass():
    """Forward, gradients of weights and of inputs; of the images themselves nobody asks the gradient."""
    assert cost_of(DSPRITES, "vae").flops == 64 * (3 * (ENCODER + DECODER) - FIRST)


def test_operations_of_a_gan_with_its_penalty():
    """D's phase: G and D on fakes, D on reals, gradients of D. G's phase: gradients through D. R1 comes on top."""

    def flops(**settings):
        recipe = apply_method(recipe_of("dsprites"), "gan")
        stage = dataclasses.replace(recipe.gan_stage, objective=GANConfig(**settings))
        return cost_of(dataclasses.replace(recipe, gan_stage=stage), "gan").flops / 64

    d_phase = 2 * (3 * CRITIC - FIRST)  # on reals and fakes; the fakes are detached
    g_phase = (
        2 * CRITIC + 3 * DECODER - 2 * 10 * 256
    )  # D forward and its gradient of the image; G, but for the gradient of the code
    assert flops(r1_weight=0.0) == pytest.approx(d_phase + g_phase, rel=1e-9)
    # R1: the gradient of the image, and its gradients of weights and activations, without those of the constant output
    penalty = 3 * CRITIC - 2 * 256
    assert flops(r1_interval=1) == pytest.approx(d_phase + g_phase + penalty, rel=1e-9)
    assert flops(r1_interval=4) == pytest.approx(d_phase + g_phase + penalty / 4, rel=1e-9)
    assert flops(r1_weight=0.0, fresh_fakes=True) == pytest.approx(d_phase + g_phase + DECODER, rel=1e-9)


# ------------------------------------------------------------------ memory


@pytest.mark.parametrize(("optimizer", "moments"), [(Adam(), 2), (RMSprop(), 1)])
def test_weights_gradients_and_moments_do_not_depend_on_the_batch(optimizer, moments):
    stage = Stage(BetaVAEConfig(), {"vae": optimizer}, steps=1, batch_size=1)
    assert cost_of(dataclasses.replace(DSPRITES, vae_stage=stage), "vae").fixed == 4 * 764_245 * (2 + moments)


def test_the_rest_grows_with_the_batch_and_shrinks_with_its_parts():
    def rest(**settings):
        cost = cost_of(
            override(recipe_of("celeba-64-w16"), {f"gan_stage.{name}": value for name, value in settings.items()}),
            "gan",
        )
        assert cost.memory > cost.fixed > 0
        return cost.memory - cost.fixed

    one, two = rest(batch_size=64), rest(batch_size=128)
    assert two == pytest.approx(2 * one, rel=0.02)
    images = 64 * 3 * 64 * 64 * 4
    parted = rest(batch_size=64, accumulation_steps=4) - images
    assert (one - images) / 8 < parted < (one - images) / 4  # nor are fakes kept from one phase for the next


@pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name in sorted(RECIPES) for stage in recipe_of(name).stages]
)
def test_every_stage_of_every_recipe_has_a_cost(name, stage):
    cost = cost_of(recipe_of(name), stage)
    assert cost.memory > cost.fixed > 0 and cost.flops > 0


def test_the_cost_is_that_of_a_step_with_all_phases():
    recipe = apply_method(recipe_of("dsprites"), "reconstructing")
    both = cost_of(recipe, "gan")
    without = override(recipe, {"gan_stage.objective.reconstruction_steps": 0, "gan_stage.objective.head_start": 0})
    assert both == cost_of(without, "gan")
    alone = override(without, {"gan_stage.objective.reconstruction_weight": 0.0})
    assert both.flops > 1.1 * cost_of(alone, "gan").flops


def test_what_is_kept_for_the_backward_pass_is_counted():
    """A VAE's inputs and every layer's output, at least."""
    outputs = 2 * (32 * 32**2 + 32 * 16**2 + 64 * 8**2 + 64 * 4**2) + 2 * 256
    cost = cost_of(DSPRITES, "vae")
    assert 4 * 64 * (outputs + 2 * 64**2) < cost.memory - cost.fixed < 3 * 4 * 64 * (outputs + 2 * 64**2)


# ------------------------------------------------------------------ time


def test_a_step_takes_time_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = override(recipe_of("dsprites"), {f"{stage}_stage.batch_size": 2 for stage in ("vae", "gan")})
    before = torch.get_rng_state()
    for name, source in ("vae", DSprites()), ("gan", Noise(recipe)):
        assert 0 < seconds_per_step(recipe, name, source, "cpu") < 10
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_has_the_shape_of_the_recipe_s_images():
    for name in "dsprites", "celeba-128":
        recipe = recipe_of(name)
        x = Noise(recipe).images(torch.arange(2))
        assert x.shape == (
            2,
            recipe.discriminator.image_channels,
            recipe.discriminator.resolution,
            recipe.discriminator.resolution,
        )
        assert 0 <= x.min() < x.max() <= 1


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    recipe = override(recipe_of("dsprites"), {"gan_stage.batch_size": 2**20, "gan_stage.accumulation_steps": 4})
    assert largest_batch(recipe, "gan", Cost(0, 2**30, 2**29), "cpu") == recipe
    halved = largest_batch(recipe, "gan", Cost(0, 2**50, 0), "cpu")  # a GiB an image
    assert 4 <= halved.gan_stage.batch_size < 2**20
    assert halved.gan_stage.batch_size.bit_count() == 1
    assert largest_batch(recipe, "gan", Cost(0, 2**51, 2**50), "cpu") is None
