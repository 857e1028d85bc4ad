from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from idgan.data import Batches
from idgan.errors import InvalidInputError
from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, Posterior, VAEConfig
from idgan.networks.modules import freeze
from idgan.objectives import (
    OBJECTIVES,
    BetaTCVAEConfig,
    BetaVAEConfig,
    BottleneckIDGANConfig,
    CapacityVAEConfig,
    ConditionalGANConfig,
    EndToEndIDGANConfig,
    FactorVAEConfig,
    GANConfig,
    IDGANConfig,
    InfoGANConfig,
    Losses,
    Objective,
    ProjectedIDGANConfig,
    TrainingObjective,
    VAEGANConfig,
    register_objective,
)


class TwoPhases(Objective):
    @property
    def phases(self):
        return {"left": self.left_losses, "right": self.right_losses}

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(1, 1), nn.Linear(1, 1)

    def left_losses(self, batch):
        return Losses(self.right(self.left(batch)).sum())

    def right_losses(self, batch):
        return Losses(-self.right(self.left(batch)).sum())


def test_a_phase_has_the_loss_and_the_network_of_its_name():
    objective, x = TwoPhases(), torch.ones(1, 1)
    assert objective.losses("left", x).total == -objective.losses("right", x).total
    assert objective.parameters_of("right") == [objective.right.weight, objective.right.bias]


def test_an_objective_may_move_several_networks_in_a_phase():
    class Joint(TwoPhases):
        def networks(self, phase):
            return [self.left, self.right]

    assert len(Joint().parameters_of("left")) == 4


def test_phases_map_names_to_functions_in_the_order_of_a_step(build, batches):
    objective = build(EndToEndIDGANConfig(stage_1=FactorVAEConfig()))
    assert list(objective.phases) == ["discriminator", "vae", "tc_discriminator", "generator"]
    for phase, function in objective.phases.items():
        assert torch.equal(function(batches(0)).total, objective.losses(phase, batches(0)).total)


def test_an_objective_needs_no_base_class(train_steps):
    class Halves(nn.Module):
        prior = "normal"

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.phases = {"only": self.compute}

        def compute(self, batch):
            return Losses(self.layer(batch).square().sum())

        def losses(self, phase, batch):
            return self.phases[phase](batch)

        def parameters_of(self, phase):
            return list(self.parameters())

        def differentiates_twice(self, phase, step):
            return False

    x = torch.ones(1, 1)
    objective: TrainingObjective = Halves()
    first = objective.losses("only", x).total.item()
    assert train_steps(objective, [x] * 20)["only"].total < first


def test_every_config_of_the_package_is_registered_under_its_name(config):
    assert OBJECTIVES[type(config).__name__] is type(config)


def test_a_user_registers_an_objective(monkeypatch):
    monkeypatch.setattr(OBJECTIVES, "_entries", dict(OBJECTIVES))

    @register_objective("mine")
    @dataclass(frozen=True)
    class MyConfig:
        def build(self, vae):
            return TwoPhases()

    assert OBJECTIVES["mine"] is MyConfig
    assert MyConfig().build(None).left.weight.dtype == torch.float32
    with pytest.raises(InvalidInputError, match="no objective is called 'min'; did you mean 'mine'"):
        OBJECTIVES["min"]
    with pytest.raises(InvalidInputError, match="expected a frozen dataclass with a build"):
        register_objective()(TwoPhases)


def test_class_hierarchies_stay_shallow():
    def depth(kind):
        bases = [base for base in kind.__bases__ if base.__module__.startswith("idgan.")]
        return 1 + max(map(depth, bases), default=0)

    kinds = [*OBJECTIVES.values(), Objective]
    for kind in kinds:
        kinds += [] if kind in OBJECTIVES.values() else kind.__subclasses__()
        assert depth(kind) <= 4, kind


def test_freeze_stops_gradients_of_the_module_but_not_through_it():
    module, x = freeze(nn.Sequential(nn.Linear(2, 1), nn.Dropout())), torch.ones(1, 2, requires_grad=True)
    module(x).sum().backward()
    assert not module.training
    assert all(not p.requires_grad and p.grad is None for p in module.parameters())
    torch.testing.assert_close(x.grad, module[0].weight)


# ------------------------------------------------------------------ what holds for every objective


def test_no_weight_is_negative_or_infinite(config):
    weights = [name for name in vars(config) if name == "beta" or name.endswith("weight")]
    assert weights
    for name in weights:
        least = -1 if (type(config), name) == (BetaTCVAEConfig, "tc_weight") else 0
        assert getattr(replace(config, **{name: float(least)}), name) == least
        for value in (least - 0.01, float("nan"), float("inf")):
            with pytest.raises(InvalidInputError, match=f"{name} must be {least} or more.*, got {value}"):
                replace(config, **{name: value})


def test_each_phase_gives_gradients_to_its_own_parameters_and_no_others(build, config, batches, gradients, moved):
    objective = build(config)
    for phase in objective.phases:
        given, _ = gradients(objective, phase, batches(0))
        expected = {name for name, _ in objective.named_parameters() if name.startswith(moved(objective, phase))}
        assert set(given) == expected
        assert {id(p) for p in objective.parameters_of(phase)} == {
            id(p) for n, p in objective.named_parameters() if n in expected
        }
        for name, gradient in given.items():
            assert gradient.isfinite().all(), name
            assert gradient.abs().sum() > 0, name


def test_every_trainable_parameter_belongs_to_one_phase(build, config):
    objective = build(config)
    moved = [id(parameter) for phase in objective.phases for parameter in objective.parameters_of(phase)]
    assert sorted(moved) == sorted(id(parameter) for parameter in objective.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_phases_of_a_batch_share_their_graph_while_optimizers_move_the_weights(
    build, config, batches, train_steps, weights, moved, precision
):
    """In-place steps between phases must not touch what a later backward pass needs; autograd raises if they do."""
    objective = build(config)
    before = weights(objective)
    losses = train_steps(objective, [batches(0), batches(1)], precision)
    changed = {name for name, parameter in objective.named_parameters() if not torch.equal(parameter, before[name])}
    prefixes = sum((moved(objective, phase) for phase in objective.phases), ())
    assert changed == {name for name, _ in objective.named_parameters() if name.startswith(prefixes)}
    assert all(losses[phase].total.isfinite() for phase in objective.phases)


def test_losses_are_functions_of_weights_and_batch_only(build, config, batches):
    for phase in build(config).phases:
        first = build(config).losses(phase, batches(3))
        torch.manual_seed(1)
        again = build(config).losses(phase, batches(3))
        assert torch.equal(first.total, again.total)
        assert first.logged.keys() == again.logged.keys()
        assert all(value.ndim == 0 for value in [first.total, *first.logged.values()])


def test_autocast_computes_losses_in_float32_and_changes_them_little(build, config, batches, gradients):
    objective = build(config)
    for phase in objective.phases:
        exact, losses = gradients(objective, phase, batches(0))
        rough, cast = gradients(objective, phase, batches(0), precision="bf16")
        assert cast.total.dtype == torch.float32
        assert all(value.dtype == torch.float32 for value in cast.logged.values())
        torch.testing.assert_close(cast.total, losses.total, rtol=0.02, atol=0.02)
        one, other = (torch.cat([g.flatten() for g in given.values()]) for given in (exact, rough))
        assert torch.cosine_similarity(one, other, dim=0) > 0.97


def test_state_dict_round_trip_continues_the_same(build, config, batches, train_steps):
    objective = build(config)
    train_steps(objective, [batches(0)])
    torch.manual_seed(1)
    restored = build(config)
    for parameter in restored.parameters():
        nn.init.normal_(parameter)
    restored.load_state_dict(objective.state_dict())
    there, here = train_steps(objective, [batches(1)]), train_steps(restored, [batches(1)])
    for phase in objective.phases:
        assert torch.equal(there[phase].total, here[phase].total)
    assert all(torch.equal(tensor, restored.state_dict()[name]) for name, tensor in objective.state_dict().items())


MEANS = (
    BetaVAEConfig,
    CapacityVAEConfig,
    GANConfig,
    IDGANConfig,
    ConditionalGANConfig,
    InfoGANConfig,
    VAEGANConfig,
    EndToEndIDGANConfig,
)


@pytest.mark.parametrize(
    "config",
    [config() for config in (*MEANS, BottleneckIDGANConfig, ProjectedIDGANConfig)],
    ids=lambda config: type(config).__name__,
)
def test_two_processes_average_to_the_gradient_of_one(build, config, batches, gradients):
    """True if the loss is a mean over images. The estimates of TC compare the images of one process."""
    for phase in build(config).phases:
        shares = [Batches(batches.dataset, batches.batch_size, seed=0, rank=rank, world_size=2)(0) for rank in range(2)]
        whole, _ = gradients(build(config), phase, batches(0))
        halves = [gradients(build(config), phase, share)[0] for share in shares]
        for name, gradient in whole.items():
            mean = (halves[0][name] + halves[1][name]) / 2
            torch.testing.assert_close(mean, gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())


def test_larger_images_are_seen_as_the_encoder_sees_them(build, batches):
    small, large = batches(0), batches(0)
    large.x = small.x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    objective = build(BetaVAEConfig())
    torch.testing.assert_close(objective.losses("vae", large).total, objective.losses("vae", small).total)


# ------------------------------------------------------------------ networks of a user


class EncoderOnly(nn.Module):
    """An encoder of four block means, without a decoder."""

    config = VAEConfig(c_dim=4)

    def encode(self, x):
        mean = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return Posterior(mean, torch.full_like(mean, -2.0))


def test_an_encoder_without_a_decoder_can_be_distilled(batches, train_steps):
    networks = ConvGeneratorConfig(c_dim=4, s_dim=3).build(), ConvDiscriminatorConfig().build()
    losses = train_steps(IDGANConfig().build(EncoderOnly(), *networks), [batches(0)])
    assert losses["generator"].logged["r_id"].isfinite()


@pytest.mark.parametrize("config", [BetaVAEConfig(), FactorVAEConfig()], ids=lambda config: type(config).__name__)
def test_a_vae_objective_refuses_an_encoder_without_a_decoder(config):
    with pytest.raises(
        InvalidInputError, match="needs a network with encode, decode_logits; EncoderOnly has no decode_l"
    ):
        config.build(EncoderOnly())


def test_info_gan_refuses_a_network_without_the_layers_that_it_shares():
    with pytest.raises(InvalidInputError, match="InfoGAN needs .*; EncoderOnly has no features, encoder"):
        InfoGANConfig().build(EncoderOnly(), nn.Identity(), nn.Identity())


# ------------------------------------------------------------------ PyTorch's state, and small codes


@pytest.fixture
def float64():
    """`float64()` makes float64 PyTorch's default dtype until the end of the test."""
    yield lambda: torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)


def test_objectives_hold_normal_float32_tensors_whatever_pytorchs_state_is(config, build, float64):
    float64()
    with torch.inference_mode():
        objective = build(config)
    tensors = [*objective.parameters(), *objective.buffers()]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert not any(tensor.is_inference() for tensor in tensors)


def test_losses_are_float32_whatever_the_default_dtype_is(config, build, batches, float64):
    objective, batch = build(config), batches(0)
    float64()
    batch.normal = lambda width: torch.randn(4, width, dtype=torch.float32)
    batch.uniform = lambda width: torch.rand(4, width, dtype=torch.float32)
    for phase in objective.phases:
        losses = objective.losses(phase, batch)
        assert losses.total.dtype == torch.float32
        assert {value.dtype for value in losses.logged.values()} == {torch.float32}


def test_one_code_dimension_is_enough(config, build, batches, gradients):
    objective = build(config, c_dim=1)
    for phase in objective.phases:
        given, losses = gradients(objective, phase, batches(0))
        assert losses.total.isfinite()
        assert all(gradient.isfinite().all() for gradient in given.values())
