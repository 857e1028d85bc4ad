"""The loop notices a divergence before it can be saved, and records what it should. Resuming: test_resume.py."""

import copy
import dataclasses
import re

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from idgan.data import Batches, DSprites
from idgan.errors import DivergedError
from idgan.networks import (
    BottleneckDiscriminatorConfig,
    ConvDiscriminatorConfig,
    ConvGeneratorConfig,
    ResNetGeneratorConfig,
    VAEConfig,
)
from idgan.objectives import BetaVAEConfig, BottleneckIDGANConfig, FactorVAEConfig, IDGANConfig
from idgan.recipes import Stage, apply_method, recipe_of
from idgan.training import train
from idgan.training.checkpoint import step_of
from idgan.training.loop import gradients


def test_a_divergence_is_an_error_and_the_last_saved_state_is_finite(tmp_path, tiny):
    with pytest.raises(DivergedError) as caught:
        train("dsprites", tmp_path, save_seconds=0.0, **tiny(vae_stage__optimizers__vae__lr=1e6))
    path = tmp_path / "vae" / "state.safetensors"
    step = int(re.search(r"at step (\d+): training has diverged", str(caught.value)).group(1))
    assert str(path) in str(caught.value)
    assert step_of(path) == step - 1 > 0
    assert all(tensor.isfinite().all() for tensor in load_file(path).values() if tensor.is_floating_point())
    assert not (tmp_path / "gan").exists()


def test_a_loss_beyond_reason_stops_at_once(tmp_path, tiny):
    with pytest.raises(DivergedError, match=r"the loss of phase 'vae' is .* at step 1: .*none yet"):
        train("dsprites", tmp_path, **tiny(vae_stage__objective__phases__0__beta_end=1e30))
    assert not (tmp_path / "vae" / "state.safetensors").exists()


def test_a_divergence_between_two_records_is_noticed_before_weights_are_measured(tmp_path, tiny):
    with pytest.raises(DivergedError, match="at step 4"):
        train("dsprites", tmp_path, **tiny(vae_stage__optimizers__vae__lr=1e6, vae_stage__select_every=4))


def test_images_that_are_not_numbers_are_a_divergence(tmp_path, tiny):
    class Broken(DSprites):
        stochastic = streams = False

        def images(self, indices, rng=None):
            return super().images(indices) * torch.nan

    with pytest.raises(DivergedError, match="is nan at step 1"):
        train(dataclasses.replace(recipe_of("dsprites"), data=Broken()), tmp_path, **tiny())


# ------------------------------------------------------------------ optional methods of an objective


class Bare(nn.Module):
    """A beta-VAE with the required attributes of an objective alone: no `lr_factor`, no `between_steps`."""

    prior = "aggregated"

    def __init__(self, inner):
        super().__init__()
        self.vae = inner.vae
        self.phases = inner.phases
        self.losses = inner.losses
        self.parameters_of = inner.parameters_of
        self.differentiates_twice = inner.differentiates_twice


@dataclasses.dataclass(frozen=True)
class BareConfig:
    def build(self, vae):
        return Bare(BetaVAEConfig().build(vae))


def test_an_objective_without_the_optional_methods_trains_the_same(tmp_path, tiny):
    weights = []
    for name, config in {"bare": BareConfig(), "whole": BetaVAEConfig()}.items():
        recipe = apply_method(recipe_of("dsprites"), "beta-vae")
        recipe = dataclasses.replace(recipe, vae_stage=dataclasses.replace(recipe.vae_stage, objective=config))
        settings = {path: value for path, value in tiny()["settings"].items() if not path.startswith("gan_stage")}
        path = train(recipe, tmp_path / name, **tiny() | {"settings": settings | {"vae_stage.steps": 3}})
        weights.append(load_file(path))
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items() if "bank" not in name)


def rates_of_training(out, objective, steps, lr, *, gamma=1.0, **more):
    """The learning rate of each step of a stage 1. Its SGD has a schedule of its own: a factor `gamma` a step."""
    rates = []

    @dataclasses.dataclass(frozen=True)
    class SGD:
        def build(self, parameters):
            optimizer = torch.optim.SGD(parameters, lr)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma)
            optimizer.register_step_pre_hook(lambda it, *_: rates.append(it.param_groups[0]["lr"]))
            optimizer.register_step_post_hook(lambda *_: schedule.step())
            return optimizer

    stage = Stage(objective, {"vae": SGD()}, steps=steps, batch_size=4, **more)
    recipe = dataclasses.replace(recipe_of("dsprites"), vae_stage=stage)
    train(recipe, out, stage="vae", device="cpu", threads=1, progress=False)
    return rates


def test_an_objective_without_lr_factor_leaves_the_schedule_of_an_optimizer_alone(tmp_path):
    assert rates_of_training(tmp_path / "run", BareConfig(), 3, 1e-6, gamma=0.5) == [1e-6, 0.5e-6, 0.25e-6]


def test_in_a_cooldown_the_learning_rate_falls_linearly(tmp_path):
    for cooldown, expected in (4, [4, 4, 4, 3, 2, 1]), (9, [4, 4 * 5 / 6, 4 * 4 / 6, 2, 4 * 2 / 6, 4 / 6]):
        rates = rates_of_training(tmp_path / f"{cooldown}", BetaVAEConfig(), 6, 4e-6, cooldown_steps=cooldown)
        assert rates == pytest.approx([rate * 1e-6 for rate in expected])


# ------------------------------------------------------------------ a batch in parts

SMALL = {"resolution": 64, "base_width": 2, "max_width": 4, "image_channels": 1}
VAE = VAEConfig(c_dim=4)


def small_gan(config):
    return config.build(VAE.build(), ConvGeneratorConfig(c_dim=4, s_dim=3).build(), ConvDiscriminatorConfig().build())


def small_bottleneck(config):
    return config.build(
        VAE.build(),
        ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build(),
        BottleneckDiscriminatorConfig(**SMALL).build(),
    )


def of_step(objective, parts, step=0):
    """phase -> (gradients of its parameters, what it logs), for dSprites' batch of a step in `parts`."""
    batch, outcome = Batches(DSprites(), 8, seed=0, parts=parts)(step).split(parts), {}
    for phase in objective.phases:
        objective.zero_grad()
        parameters = objective.parameters_of(phase)
        logged = gradients(objective, phase, batch, parameters)
        outcome[phase] = torch.cat([p.grad.flatten() for p in parameters]), logged
    return outcome


@pytest.mark.parametrize(
    "objective",
    [
        lambda: BetaVAEConfig().build(VAE.build()),
        lambda: small_gan(IDGANConfig(r1_weight=10.0)),
        lambda: small_gan(IDGANConfig(fresh_fakes=True, r1_weight=0.0)),
        lambda: small_bottleneck(BottleneckIDGANConfig(bottleneck_step=0.5)),
    ],
    ids=["beta-vae", "id-gan", "fresh fakes", "bottleneck"],
)
def test_the_gradients_of_parts_add_up_to_those_of_the_batch(objective):
    whole = objective()
    parted = copy.deepcopy(whole)
    expected, found = of_step(whole, 1), of_step(parted, 4)
    for phase, (gradient, logged) in expected.items():
        theirs, their_logged = found[phase]
        torch.testing.assert_close(theirs, gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())
        assert their_logged.keys() == logged.keys()
        for name, value in logged.items():
            torch.testing.assert_close(their_logged[name], value, rtol=1e-4, atol=1e-5)
    for name, state in whole.state_dict().items():  # beta too
        torch.testing.assert_close(parted.state_dict()[name], state)
    if "bottleneck_beta" in whole.state_dict():
        assert whole.bottleneck_beta != 0.1


def test_only_the_estimate_of_total_correlation_is_that_of_parts():
    whole = FactorVAEConfig(tc_weight=0.0).build(VAE.build())
    (_, expected), (_, found) = (of_step(copy.deepcopy(whole), parts)["vae"] for parts in (1, 2))
    for name in ("reconstruction", "kl", "vae"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_a_batch_in_parts_keeps_one_graph_of_the_generator_at_a_time():
    """What a part computes for a later phase is small: the codes, not the images."""
    objective = small_gan(IDGANConfig())
    parts = Batches(DSprites(), 8, seed=0)(0).split(4)
    gradients(objective, "discriminator", parts, objective.parameters_of("discriminator"))
    assert all(part._computed.keys() == {"posterior", "latents"} for part in parts)
    for part in parts:
        posterior, latents = part._computed["posterior"], part._computed["latents"]
        assert not any(tensor.requires_grad for tensor in (posterior.mean, posterior.logvar, *latents))


# ------------------------------------------------------------------ the log


def test_the_first_and_last_step_are_recorded_with_every_term(finished, log_of):
    first, selection, last = log_of(finished / "vae")
    assert [first["step"], selection["step"], last["step"]] == [1, 8, 12]
    assert first.keys() == last.keys() >= {"reconstruction", "kl", "tc", "vae", "tc_discriminator"}
    assert selection.keys() == {"step", "mig", "fvm", "mig_gaps"}
    first, last = log_of(finished / "gan")
    assert [first["step"], last["step"]] == [1, 12]
    assert first.keys() - last.keys() == {"r1"}  # every third step, from the first
    assert {"discriminator_loss", "generator_loss", "r_id", "discriminator", "generator"} <= last.keys()
