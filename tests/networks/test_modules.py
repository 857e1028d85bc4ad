"""How networks are built, whatever state PyTorch is in."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks import NETWORKS, VAEConfig, register_network
from idgan.networks.modules import build_mode, usable_device

SMALL = {
    "ResNetGeneratorConfig": {"resolution": 8, "base_width": 2, "max_width": 4, "s_dim": 3, "c_dim": 2},
    "ResNetDiscriminatorConfig": {"resolution": 8, "base_width": 2, "max_width": 4},
    "BottleneckDiscriminatorConfig": {"resolution": 8, "base_width": 2, "max_width": 4},
    "NuisanceEncoderConfig": {"s_dim": 3},
}


@pytest.fixture(params=list(NETWORKS))
def config(request):
    """The config of each registered network in turn, small."""
    return NETWORKS[request.param](**SMALL.get(request.param, {}))


@pytest.fixture
def float64():
    """float64 as PyTorch's default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def tensors(network):
    return [*network.parameters(), *network.buffers()]


def test_the_default_dtype_has_no_effect(config, float64):
    network = config.build()
    assert {tensor.dtype for tensor in tensors(network)} == {torch.float32}
    assert torch.get_default_dtype() == torch.float64


def test_the_default_device_has_no_effect(config):
    torch.set_default_device("cuda" if torch.cuda.is_available() else "cpu:0")
    try:
        assert {tensor.device for tensor in tensors(config.build())} == {torch.device("cpu")}
    finally:
        torch.set_default_device(None)


def test_on_the_meta_device_networks_have_shapes_only(config):
    with torch.device("meta"):
        network = config.build()
    assert {tensor.device.type for tensor in tensors(network)} == {"meta"}
    shapes = {name: tensor.shape for name, tensor in config.build().state_dict().items()}
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == shapes


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_networks_built_without_gradients_can_be_trained(config, context):
    with context():
        network = config.build()
        assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)
    assert all(parameter.requires_grad and not parameter.is_inference() for parameter in network.parameters())
    sum(parameter.square().sum() for parameter in network.parameters()).backward()


def test_random_weights_are_the_same_in_every_mode(config, float64):
    states = []
    for context in (torch.enable_grad, torch.inference_mode):
        torch.manual_seed(0)
        with context():
            states.append(config.build().state_dict())
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    states.append(config.build().state_dict())
    for state in states[1:]:
        assert all(torch.equal(tensor, states[0][name]) for name, tensor in state.items())


def test_a_failed_build_leaves_the_default_dtype(float64):
    with pytest.raises(ZeroDivisionError), build_mode():
        raise ZeroDivisionError
    assert torch.get_default_dtype() == torch.float64


def test_networks_of_a_user_are_built_the_same_way_and_carry_their_config(monkeypatch, float64):
    monkeypatch.setattr(NETWORKS, "_entries", dict(NETWORKS))

    @register_network("counted")
    @dataclass(frozen=True)
    class Config:
        width: int = 3

        def build(self):
            return nn.Sequential(nn.Linear(2, self.width), nn.BatchNorm1d(self.width))

    config = Config(width=5)
    network = config.build()
    assert network.config is config
    assert {tensor.dtype for tensor in tensors(network)} == {torch.float32, torch.int64}
    assert NETWORKS["counted"] is Config


def test_a_build_that_returns_no_module_is_named(monkeypatch):
    monkeypatch.setattr(NETWORKS, "_entries", dict(NETWORKS))

    @register_network()
    @dataclass(frozen=True)
    class Forgetful:
        def build(self):
            nn.Linear(1, 1)

    with pytest.raises(InvalidInputError, match=r"Forgetful.build\(\) must return a torch.nn.Module, got NoneType"):
        Forgetful().build()


@pytest.mark.parametrize("c_dim", [1, 2])
def test_one_code_dimension_is_enough(c_dim):
    vae = VAEConfig(c_dim=c_dim).build()
    posterior = vae.encode(torch.rand(3, 1, 64, 64))
    assert posterior.mean.shape == posterior.logvar.shape == (3, c_dim)
    assert vae.as_generator()(posterior.mean).shape == vae.decode(posterior.mean).shape == (3, 1, 64, 64)


@pytest.mark.parametrize("device", ["tpu0", "cuda:99", "", "cpu:cpu"])
def test_devices_that_cannot_be_used_are_named(device):
    with pytest.raises(InvalidInputError, match=f"device '{device}' cannot be used here"):
        usable_device(device)
