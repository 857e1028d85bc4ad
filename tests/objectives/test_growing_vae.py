"""The schedule of a growing VAE, its loss, and its changes between two steps."""

import copy
from dataclasses import replace

import pytest
import torch

from idgan.data import Batches, Dataset, DSprites
from idgan.errors import InvalidInputError
from idgan.networks import Posterior, TwoStackVAEConfig, VAEConfig
from idgan.objectives import (
    OBJECTIVES,
    BetaVAEConfig,
    FactorVAEConfig,
    GrowingVAEConfig,
    Phase,
    alignment,
    growing_phases,
    growing_phases_in_two_parts,
)
from idgan.recipes import Adam

SHORT = (
    Phase(steps=3, dims=2, beta_start=8.0, beta_end=4.0, beta_steps=2, align=True),
    Phase(steps=2, dims=3, unlock="cold", tc_weight_end=20.0, tc_weight_steps=2),
    Phase(steps=4, dims=4, unlock="hot", lr_end=0.5, warmup_steps=0, settle_every=3),
)
CONFIG = GrowingVAEConfig(phases=SHORT, images=80, critic_width=16)
STARTS = (0, 3, 5)


@pytest.fixture
def optimizers():
    return lambda objective: {phase: Adam(1e-3).build(objective.parameters_of(phase)) for phase in objective.phases}


@torch.no_grad()
def test_locked_dimensions_are_zero_and_cost_nothing(build, batches):
    objective = build(CONFIG)
    for step, dims in ((0, 2), (2, 2), (3, 3), (4, 3), (5, 4), (100, 4)):
        posterior, c = objective.codes(batches(step))
        assert (c[:, dims:] == 0).all() and (c[:, :dims] != 0).all()
        assert (posterior.kl()[:, dims:] == 0).all() and (posterior.kl()[:, :dims] != 0).all()


def test_with_all_dimensions_and_constant_weights_it_is_factor_vae_with_beta(build, batches):
    constant = {"steps": 9, "dims": 4, "tc_weight_end": 7.0}
    plain = build(FactorVAEConfig(tc_weight=7.0))
    for beta in (1.0, 3.0):
        objective = build(GrowingVAEConfig(phases=(Phase(beta_start=beta, beta_end=beta, **constant),)))
        objective.tc_discriminator = plain.tc_discriminator
        losses, expected = objective.losses("vae", batches(1)), plain.losses("vae", batches(1))
        torch.testing.assert_close(losses.total, expected.total + (beta - 1) * expected.logged["kl"])
        critic = [each.losses("tc_discriminator", batches(1)).total for each in (objective, plain)]
        assert torch.equal(*critic)


def test_weights_and_rates_follow_the_schedule(build):
    objective = build(CONFIG)
    phases = [objective.phase_at(step) for step in range(12)]
    assert [phase.beta(since) for phase, since in phases[:5]] == [8.0, 6.0, 4.0, 4.0, 4.0]
    assert [phase.tc_weight(since) for phase, since in phases[3:7]] == [0.0, 10.0, 0.0, 0.0]
    assert [objective.lr_factor("vae", step) for step in (0, 3, 5, 7, 9, 50)] == [1 / 200, 1 / 200, 1.0, 0.75, 0.5, 0.5]
    assert objective.lr_factor("tc_discriminator", 0) == 1


def test_the_default_schedule_has_as_many_steps_as_it_is_given():
    assert sum(phase.steps for phase in growing_phases(9_000)) == 9_000
    assert sum(phase.steps for phase in growing_phases(100)) == 4_250
    different = [(a, b) for a, b in zip(growing_phases(100), growing_phases(9_000), strict=True) if a != b]
    assert [(a.steps, b.steps) for a, b in different] == [(500, 5_250)]
    assert sum(phase.steps for phase in growing_phases_in_two_parts(11_000)) == 11_000
    assert sum(phase.steps for phase in growing_phases_in_two_parts(100)) == 8_700


@torch.no_grad()
def test_before_the_first_step_locked_dimensions_are_cleared(build, batches, optimizers):
    objective, x = build(CONFIG), batches(0).x
    before = objective.vae.encode(x)
    objective.between_steps(0, batches, optimizers(objective))
    after = objective.vae.encode(x)
    assert (after.kl()[:, 2:] == 0).all()
    assert torch.equal(after.mean[:, :2], before.mean[:, :2])


def state(objective):
    return {name: tensor.clone() for name, tensor in objective.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_networks_change_at_borders_and_where_the_schedule_says_so(build, batches, optimizers):
    objective = build(CONFIG)
    objective.between_steps(0, batches, optimizers(objective))
    moved, logged = {}, {}
    for step in range(1, 12):
        before = state(objective)
        logged[step] = objective.between_steps(step, batches, optimizers(objective))
        moved[step] = {name.split(".")[0] for name in changed(before, state(objective))}
    everything = {"vae", "tc_discriminator"}
    assert {step: names for step, names in moved.items() if names} == {
        3: everything,
        5: everything,
        8: {"vae"},
        9: {"vae"},
    }
    assert [step for step in logged if logged[step]] == [3, 8, 9]
    assert logged[3]["aligned"] == [0, 1]


def test_it_is_a_function_of_the_seed_and_the_step(build, batches, optimizers):
    states = []
    for seed in (0, 0, 1):
        objective = build(CONFIG)
        for step in (0, 3, 5):
            objective.between_steps(step, Batches(batches.dataset, 4, seed), optimizers(objective))
        states.append(state(objective))
    assert not changed(states[0], states[1])
    assert changed(states[0], states[2])


def test_moments_begin_anew_with_a_fresh_phase_and_stay_otherwise(build, batches, train_steps, optimizers):
    for fresh in (True, False):
        objective = build(replace(CONFIG, phases=(SHORT[0], replace(SHORT[1], fresh=fresh))))
        built = optimizers(objective)
        objective.losses("vae", batches(0)).total.backward(inputs=objective.parameters_of("vae"))
        built["vae"].step()
        critic = objective.tc_discriminator.layers[0].weight.clone()
        objective.between_steps(3, batches, built)
        assert bool(built["vae"].state) != fresh
        assert torch.equal(critic, objective.tc_discriminator.layers[0].weight) != fresh


def test_a_hot_dimension_is_active_at_once_and_a_cold_one_is_not(build, batches, optimizers):
    objective = build(CONFIG)
    for step in (0, 3, 5):
        objective.between_steps(step, batches, optimizers(objective))
    with torch.no_grad():
        posterior = objective.vae.encode(Batches(batches.dataset, 64, 1)(0).x)
    kl = posterior.kl().mean(0)
    assert kl[3] > 0.3 and 0 < kl[2] < 1e-2
    assert posterior.mean[:, 3].std().item() == pytest.approx(1, abs=0.4)


def test_inactive_dimensions_are_cleared_where_the_schedule_settles(build, batches, optimizers):
    objective = build(CONFIG)
    for step in (0, 3, 5, 9):
        objective.between_steps(step, batches, optimizers(objective))
    with torch.no_grad():
        kl = objective.vae.encode(batches(0).x).kl().mean(0)
    assert kl[2] == 0 and kl[3] > 0.05


def test_a_code_of_one_dimension_has_nothing_to_turn(batches, optimizers):
    objective = CONFIG.build(VAEConfig(c_dim=1).build())
    for step in (0, 3, 5, 9):
        objective.between_steps(step, batches, optimizers(objective))
    assert objective.losses("vae", batches(9)).total.isfinite()


def test_pictures_in_color_and_of_other_sizes_are_seen_as_the_encoder_sees_them(optimizers):
    class Photos(Dataset):
        resolution, image_channels = 96, 3

        def __len__(self):
            return 50

        def images(self, indices, rng=None):
            return torch.rand(len(indices), 3, 96, 96, generator=torch.Generator().manual_seed(int(indices.sum())))

    photos, objective = Batches(Photos(), 4, 0), CONFIG.build(VAEConfig(c_dim=20, image_channels=3).build())
    for step in (0, 3, 5, 9):
        objective.between_steps(step, photos, optimizers(objective))
    assert objective.losses("vae", photos(9)).total.isfinite()


def test_other_objectives_change_nothing_between_steps(build, batches, optimizers):
    for config in (BetaVAEConfig(), FactorVAEConfig()):
        objective = build(config)
        before = state(objective)
        assert objective.between_steps(0, batches, optimizers(objective)) == {}
        assert not changed(before, state(objective))
        assert {objective.lr_factor(phase, 5) for phase in objective.phases} == {1.0}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"unlock": "warm"}, "unlock must be one of none, cold, full, hot, got 'warm'"),
        ({"steps": 0}, "steps must be an integer of 1 or more"),
        ({"frozen_dims": -1}, "frozen_dims must be an integer of 0 or more"),
        ({"dims": 0}, "dims must be an integer of 1 or more"),
        ({"beta_end": -1.0}, "beta_end must be 0 or more"),
        ({"tc_weight_start": float("nan")}, "tc_weight_start must be 0 or more"),
        ({"lr_end": -0.1}, "lr_end must be 0 or more"),
        ({"warmup_steps": -1}, "warmup_steps must be an integer of 0 or more"),
    ],
)
def test_a_phase_that_could_not_be_trained_is_refused(setting, message):
    with pytest.raises(InvalidInputError, match=message):
        replace(SHORT[0], **setting)


@pytest.mark.parametrize(
    "setting",
    [{"phases": ()}, {"images": 1}, {"critic_depth": 0}, {"critic_width": 0}, {"inactive_kl": -1.0}, {"outliers": 1.0}],
)
def test_a_schedule_that_could_not_be_trained_is_refused(setting):
    with pytest.raises(InvalidInputError):
        replace(CONFIG, **setting)


def test_images_between_steps_are_a_function_of_the_seed_and_the_step():
    batches, same, other = (Batches(DSprites(), 4, seed) for seed in (0, 0, 1))
    first = batches.images(3, batches.rng(7))
    assert torch.equal(first, same.images(3, same.rng(7)))
    assert not torch.equal(first, other.images(3, other.rng(7)))
    assert not torch.equal(first, batches.images(3, batches.rng(8)))


def test_a_vae_without_the_linear_layers_is_refused():
    odd = VAEConfig(c_dim=4).build()
    odd.encoder.append(torch.nn.ReLU())
    with pytest.raises(InvalidInputError, match=r"GrowingVAE needs a linear layer encoder\[-1\], got ReLU"):
        CONFIG.build(odd)
    del odd.encoder
    with pytest.raises(InvalidInputError, match="GrowingVAE needs .*; VAE has no encoder"):
        CONFIG.build(odd)


def test_its_config_is_registered():
    assert OBJECTIVES["GrowingVAEConfig"] is GrowingVAEConfig


# ------------------------------------------------------------------ a code that grows in two parts

IN_TWO_PARTS = (
    Phase(steps=2, dims=1, warmup_steps=0),
    Phase(steps=2, dims=2, unlock="cold", warmup_steps=0),
    Phase(steps=3, dims=4, unlock="full", frozen_dims=2, warmup_steps=0, align=True),
    Phase(steps=3, dims=4, frozen_dims=2, warmup_steps=0, fresh=False),
)


@pytest.fixture
def in_two_parts():
    return GrowingVAEConfig(phases=IN_TWO_PARTS, images=80, critic_width=16).build(TwoStackVAEConfig(c_dim=4).build())


def step_through(objective, batches, built, steps):
    for step in steps:
        objective.between_steps(step, batches, built)
        for phase, optimizer in built.items():
            optimizer.zero_grad()
            objective.losses(phase, batches(step)).total.backward(inputs=objective.parameters_of(phase))
            optimizer.step()


def test_the_second_stack_is_read_once_dimensions_are_frozen(in_two_parts, batches, optimizers):
    built, x = optimizers(in_two_parts), batches(0).x
    second = in_two_parts.vae.encoder[0].stacks[1]
    for steps, reads in ((range(4), False), (range(4, 6), True)):
        before = copy.deepcopy(second.state_dict())
        step_through(in_two_parts, batches, built, steps)
        assert changed(before, second.state_dict()) == (set(before) if reads else set())
        mean = in_two_parts.vae.encode(x).mean
        with torch.no_grad():
            second[0].weight.add_(1)
        assert torch.equal(in_two_parts.vae.encode(x).mean, mean) != reads


def test_frozen_dimensions_keep_their_encoder_and_the_others_learn(in_two_parts, batches, optimizers):
    built, x = optimizers(in_two_parts), batches(0).x
    step_through(in_two_parts, batches, built, range(4))
    before, decoder = in_two_parts.vae.encode(x), in_two_parts.vae.decoder[0].weight.clone()
    step_through(in_two_parts, batches, built, range(4, 10))
    after = in_two_parts.vae.encode(x)
    for old, new in ((before.mean, after.mean), (before.logvar, after.logvar)):
        torch.testing.assert_close(new[:, :2], old[:, :2], rtol=0, atol=1e-6)  # unlocked columns of 0 add rounding
        assert (new[:, 2:] != old[:, 2:]).all()
    assert (in_two_parts.vae.decoder[0].weight != decoder).any(0).all()


def test_only_dimensions_that_are_trained_are_rotated(in_two_parts, batches, optimizers):
    built = optimizers(in_two_parts)
    step_through(in_two_parts, batches, built, range(7))
    assert in_two_parts.between_steps(7, batches, built)["aligned"] == [2, 3]


def test_outliers_do_not_turn_the_axes(in_two_parts, batches, monkeypatch):
    """Codes fill a square that is rotated by 0.3. A twentieth of them is far away, on the axes of that square."""
    rng = torch.Generator().manual_seed(0)
    codes = torch.rand(6_000, 4, generator=rng) - 0.5
    codes[:300, 2:] = 0
    codes[:150, 2] = codes[150:300, 3] = 3 * (torch.rand(150, generator=rng) - 0.5).sign()
    codes[:, 2:] = codes[:, 2:] @ alignment.rotation(0.3).float().T
    posterior = Posterior(codes, torch.full_like(codes, -3.0))
    monkeypatch.setattr(in_two_parts, "encode_images", lambda *_: (codes, posterior))
    angles = []
    for share in (0.0, 0.1):
        in_two_parts.config = replace(in_two_parts.config, outliers=share)
        logged = in_two_parts.align(batches, batches.rng(1), phase=IN_TWO_PARTS[2], clear_inactive=False)
        angles.append(logged["angle"])
    assert angles[1] == pytest.approx(0.3, abs=0.05)
    assert abs(angles[0] - 0.3) > 0.5


def test_moments_of_frozen_weights_are_forgotten(batches, optimizers):
    """Otherwise Adam would go on moving them, although their gradients are 0."""
    phases = [replace(phase, fresh=False) for phase in IN_TWO_PARTS]
    objective = GrowingVAEConfig(phases=tuple(phases), images=80).build(TwoStackVAEConfig(c_dim=4).build())
    built, x = optimizers(objective), batches(0).x
    step_through(objective, batches, built, range(4))
    before = objective.vae.encode(x).mean
    step_through(objective, batches, built, range(4, 6))
    torch.testing.assert_close(objective.vae.encode(x).mean[:, :2], before[:, :2], rtol=0, atol=1e-6)


def test_a_frozen_dimension_that_is_inactive_is_cleared_like_any_other(batches, optimizers):
    phases = (*IN_TWO_PARTS[:3], replace(IN_TWO_PARTS[3], settle_every=1))
    objective = GrowingVAEConfig(phases=phases, images=80).build(TwoStackVAEConfig(c_dim=4).build())
    built = optimizers(objective)
    step_through(objective, batches, built, range(9))
    kl = objective.vae.encode(batches(0).x).kl().mean(0)
    assert kl[1] == 0 and (objective.vae.encoder[-1].weight[1] == 0).all()


@pytest.mark.parametrize(
    ("dims", "frozen", "message"),
    [
        ((4, 4), (1, 1), r"0 in the first phases and one other number in all later phases, got \[1, 1\]"),
        ((4, 4, 4), (0, 1, 0), r"got \[0, 1, 0\]"),
        ((4, 4, 4), (0, 1, 2), r"got \[0, 1, 2\]"),
        ((4, 4), (0, 4), "frozen_dims is 4, so a phase would train no dimension"),
        ((4, 6), (0, 4), "frozen_dims is 4, so a phase would train no dimension"),  # the code has 4
        ((1, 4), (0, 2), "frozen_dims is 2, but the phases before unlock only 1 dimensions"),
    ],
)
def test_frozen_dims_that_do_not_fit_are_refused(dims, frozen, message):
    phases = tuple(Phase(steps=1, dims=each, frozen_dims=share) for each, share in zip(dims, frozen))
    with pytest.raises(InvalidInputError, match=message):
        GrowingVAEConfig(phases=phases).build(TwoStackVAEConfig(c_dim=4).build())


def test_a_code_in_two_parts_needs_two_stacks():
    with pytest.raises(InvalidInputError, match="frozen_dims needs a TwoStackVAE, got VAE"):
        GrowingVAEConfig(phases=IN_TWO_PARTS).build(VAEConfig(c_dim=4).build())
