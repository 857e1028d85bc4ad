import copy

import pytest
import torch
from torch import nn
from torch._dynamo.backends.debugging import aot_eager

from idgan.data import Batches, ColorDSprites, DSprites
from idgan.errors import InvalidInputError
from idgan.networks import (
    BottleneckDiscriminatorConfig,
    ConvDiscriminatorConfig,
    ConvGeneratorConfig,
    ResNetDiscriminatorConfig,
    ResNetGeneratorConfig,
    VAEConfig,
)
from idgan.objectives import BottleneckIDGANConfig, FactorVAEConfig, IDGANConfig
from idgan.recipes import Adam, Stage
from idgan.training.checkpoint import load_state, save_state
from idgan.training.loop import Trainer, gradients, memory_format_of
from idgan.training.precision import Compiled, float32_products


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    torch._dynamo.reset()


class Counting:
    """A backend of `torch.compile` that counts its calls. It differentiates ahead of time and needs no C++ compiler."""

    def __init__(self):
        self.graphs = self.runs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        compiled = aot_eager(graph, inputs)

        def run(*arguments):
            self.runs += 1
            return compiled(*arguments)

        return run


SMALL = {"resolution": 64, "base_width": 2, "max_width": 4, "image_channels": 1}


def gan(config=IDGANConfig(r1_interval=2)):  # noqa: B008 (frozen)
    torch.manual_seed(0)
    return config.build(
        VAEConfig(c_dim=4).build(), ConvGeneratorConfig(c_dim=4, s_dim=3).build(), ConvDiscriminatorConfig().build()
    )


def bottleneck():
    torch.manual_seed(0)
    generator, discriminator = (
        ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build(),
        BottleneckDiscriminatorConfig(**SMALL).build(),
    )
    return BottleneckIDGANConfig(r1_interval=2).build(VAEConfig(c_dim=4).build(), generator, discriminator)


def factor_vae():
    torch.manual_seed(0)
    return FactorVAEConfig().build(VAEConfig(c_dim=4).build())


def trainer(objective, **options):
    stage = Stage(None, {phase: Adam(1e-4) for phase in objective.phases}, steps=4, ema_decay=0.0)
    return Trainer(stage, objective, Batches(DSprites(), 4, seed=0), None, identity={}, report=None, **options)


@pytest.mark.parametrize("build", [gan, bottleneck, factor_vae])
def test_compiled_networks_train_as_others_do(build):
    """Steps with R1, which a compiled network would refuse, and steps without; the keys of the state stay the same."""
    backend = Counting()
    plain, compiled = trainer(build()), trainer(build(), compile=backend)
    keys = list(plain.objective.state_dict())
    for step in (0, 1, 2):
        expected, found = (each.train_step(each.batches(step)) for each in (plain, compiled))
        assert found.keys() == expected.keys()
        assert ("r1" in found) == (build is not factor_vae and step % 2 == 0)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)
    assert backend.graphs >= 2
    assert list(compiled.objective.state_dict()) == keys
    before = backend.runs
    compiled.train_step(compiled.batches(3))
    assert backend.runs > before


def test_outside_a_phase_networks_are_what_they_were():
    backend = Counting()
    objective = gan()
    with Compiled(objective, backend):
        objective.generator(torch.zeros(1, 7))
    assert backend.runs == 1
    objective.generator(torch.zeros(1, 7))
    copy.deepcopy(objective).generator(torch.zeros(1, 7))
    assert backend.runs == 1
    with pytest.raises(ZeroDivisionError), Compiled(objective, backend):
        raise ZeroDivisionError
    assert not [name for module in objective.modules() for name in vars(module) if name == "forward"]


def test_without_an_exception_for_r1_a_compiled_network_would_refuse_it():
    """The reason for `differentiates_twice`. If this fails, all phases may be compiled."""
    objective = gan()
    with Compiled(objective, "aot_eager"), pytest.raises(RuntimeError, match="double backward"):
        losses = objective.losses("discriminator", Batches(DSprites(), 4, seed=0)(0))
        losses.total.backward(inputs=objective.parameters_of("discriminator"))


def test_networks_that_cannot_be_compiled_are_one_error():
    def backend(graph, inputs):
        raise RuntimeError("no compiler anywhere")

    broken = trainer(gan(), compile=backend)
    with pytest.raises(InvalidInputError, match=r"cannot be compiled .*no compiler anywhere.* without compile"):
        broken.train_step(broken.batches(1))


def test_a_compiled_run_continues_to_the_same_bits(tmp_path):
    whole, first = trainer(gan(), compile="aot_eager"), trainer(gan(), compile="aot_eager")
    for step in range(4):
        whole.train_step(whole.batches(step))
    for step in range(2):
        first.train_step(first.batches(step))
    save_state(tmp_path / "state", first.state())
    second = trainer(gan(), compile="aot_eager")
    second.restore(load_state(tmp_path / "state"))
    for step in (2, 3):
        second.train_step(second.batches(step))
    expected = whole.objective.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in second.objective.state_dict().items())


def test_tf32_is_on_or_off_for_products_and_convolutions_and_then_as_it_was():
    def switches():
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision

    before = switches()
    for tf32, name in ((True, "tf32"), (False, "ieee")):
        with float32_products(tf32):
            assert switches() == (name, name)
        assert switches() == before
    with pytest.raises(ZeroDivisionError), float32_products(True):
        raise ZeroDivisionError
    assert switches() == before
    assert torch.backends.cuda.matmul.allow_tf32 in (True, False)  # the older names can be read still


def test_on_a_cpu_tf32_is_fp32():
    x, y = torch.randn(2, 50, 50)
    product = x @ y
    with float32_products(True):
        assert torch.equal(x @ y, product)


def test_padded_pooling_on_a_gpu_has_channels_first():
    padded, plain = (nn.Sequential(nn.Conv2d(3, 3, 3), nn.AvgPool2d(3, padding=padding)) for padding in (1, 0))
    assert memory_format_of(padded) == memory_format_of(plain) == torch.channels_last
    assert memory_format_of(plain.to("meta")) == torch.channels_last
    assert memory_format_of(padded.to("meta")) == torch.contiguous_format


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_a_gpu_computes_the_gradients_of_a_cpu(phase):
    """In fp32, with the networks of natural images, their maps with channels last, and R1."""
    torch.manual_seed(0)
    objective = IDGANConfig().build(
        VAEConfig(c_dim=4, image_channels=3).build(),
        ResNetGeneratorConfig(base_width=16, c_dim=4, s_dim=3).build(),
        ResNetDiscriminatorConfig(base_width=16).build(),
    )
    found = {}
    for device in ("cpu", "cuda"):
        there = copy.deepcopy(objective).to(device, memory_format=torch.channels_last).train()
        batch = Batches(ColorDSprites(), 64, seed=0, device=device)(0)
        batch.x = batch.x.contiguous(memory_format=torch.channels_last)
        parameters = there.parameters_of(phase)
        with float32_products(tf32=False):
            logged = gradients(there, phase, [batch], parameters)
        found[device] = [*logged.values(), *(parameter.grad for parameter in parameters)]
    for there, here in zip(found["cuda"], found["cpu"], strict=True):
        assert (there.cpu() - here).norm() <= 1e-3 * here.norm()
