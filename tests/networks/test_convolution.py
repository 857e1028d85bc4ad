"""Convolution layers with faster kernels compute what PyTorch's layers compute."""

import pytest
import torch
import torch.nn.functional as F

from idgan.networks.convolution import DownConv2d, UpConv2d
from idgan.objectives.terms import r1_penalty


def layer_and_plain(kind, channels, dtype=torch.float64):
    """A layer between 5 channels of small maps and `channels` of large ones, its plain form, and its input channels.

    The plain form is a function (x, weight, bias) -> y.
    """
    torch.manual_seed(0)
    up = kind is UpConv2d
    plain, before, after = (F.conv_transpose2d, 5, channels) if up else (F.conv2d, channels, 5)
    layer = kind(before, after).to(dtype, memory_format=torch.channels_last)
    return layer, lambda x, weight, bias: plain(x, weight, bias, stride=2, padding=1), before


kinds = pytest.mark.parametrize(
    ("kind", "channels"), [(kind, channels) for kind in (UpConv2d, DownConv2d) for channels in (1, 3, 24)]
)


@kinds
def test_a_layer_and_its_gradients_are_those_of_the_plain_layer(kind, channels):
    layer, plain, before = layer_and_plain(kind, channels)
    inputs = [torch.randn(2, before, 4, 6, dtype=torch.float64, requires_grad=True), layer.weight, layer.bias]
    y, expected = layer(inputs[0]), plain(*inputs)
    torch.testing.assert_close(y, expected)
    weights = torch.randn_like(y)
    gradients, expected = (torch.autograd.grad((out * weights).sum(), inputs) for out in (y, expected))
    torch.testing.assert_close(gradients, expected)


@kinds
def test_a_layer_follows_autocast(kind, channels):
    layer, plain, before = layer_and_plain(kind, channels, torch.float32)
    inputs = [torch.randn(2, before, 4, 4, requires_grad=True), layer.weight, layer.bias]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(inputs[0]), plain(*inputs)
    assert outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(*outputs, rtol=0.02, atol=0.02)
    gradients, expected = (torch.autograd.grad(y.float().square().sum(), inputs) for y in outputs)
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    for gradient, other in zip(gradients, expected):
        torch.testing.assert_close(gradient, other, rtol=0.02, atol=0.02 * other.abs().max().item())


@kinds
def test_a_frozen_layer_passes_gradients_on(kind, channels):
    layer, plain, before = layer_and_plain(kind, channels)
    layer.requires_grad_(False)
    x = torch.randn(2, before, 4, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x)
    (expected,) = torch.autograd.grad(plain(x, layer.weight, layer.bias).square().sum(), x)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(("kind", "name"), [(UpConv2d, "conv_transpose2d.input"), (DownConv2d, "conv2d.default")])
def test_an_exported_layer_is_the_plain_layer(kind, name):
    layer, _, before = layer_and_plain(kind, 1, torch.float32)
    program = torch.export.export(layer, (torch.randn(2, before, 4, 4),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called == [f"aten.{name}"]


@kinds
def test_r1_has_the_gradients_of_the_plain_layer(kind, channels):
    layer, plain, before = layer_and_plain(kind, channels)
    x = torch.randn(2, before, 4, 6, dtype=torch.float64, requires_grad=True)

    def gradients(y):
        return torch.autograd.grad(r1_penalty(y.pow(3).sum((1, 2, 3)), x), [layer.weight, layer.bias])

    torch.testing.assert_close(gradients(layer(x)), gradients(plain(x, layer.weight, layer.bias)))


@kinds
def test_gradients_of_codes_under_function_transforms_are_those_of_the_plain_layer(kind, channels):
    layer, plain, before = layer_and_plain(kind, channels)
    x = torch.randn(before, 4, 4, dtype=torch.float64)
    jacobian, expected = (
        torch.func.jacrev(lambda each, f=f: f(each[None]).sum((0, 2, 3)))(x)
        for f in (layer, lambda each: plain(each, layer.weight, layer.bias))
    )
    torch.testing.assert_close(jacobian, expected)


def test_odd_sides_are_those_of_the_plain_layer():
    layer, plain, _ = layer_and_plain(DownConv2d, 3)
    x = torch.randn(1, 3, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x, layer.weight, layer.bias))


def test_gradients_of_weights_are_computed_only_where_they_are_asked_for():
    layer, _, before = layer_and_plain(DownConv2d, 3)
    x = torch.randn(2, before, 4, 4, dtype=torch.float64, requires_grad=True)
    y = layer(x).sum()
    with torch.profiler.profile() as profile:
        torch.autograd.grad(y, x)
    assert not [event for event in profile.events() if event.name == "aten::convolution_backward"]


@kinds
def test_gradients_of_gradients_of_weights_are_those_of_the_plain_layer(kind, channels):
    layer, plain, before = layer_and_plain(kind, channels)
    first = torch.randn(before, dtype=torch.float64, requires_grad=True)  # it stands for a layer before
    x = torch.randn(2, before, 4, 6, dtype=torch.float64)
    inputs = [first, layer.weight, layer.bias]

    def gradients(f):
        y = f(x * first[:, None, None])
        found = torch.autograd.grad(y.pow(3).sum(), inputs[1:], create_graph=True)
        loss = sum(gradient.square().sum() for gradient in found) + y.sum()
        loss.backward(inputs=inputs)
        return [(each.grad, setattr(each, "grad", None))[0] for each in inputs]

    torch.testing.assert_close(gradients(layer), gradients(lambda x: plain(x, layer.weight, layer.bias)))


@kinds
def test_an_input_without_a_batch_is_that_of_the_plain_layer(kind, channels):
    layer, plain, before = layer_and_plain(kind, channels)
    x = torch.randn(before, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x, layer.weight, layer.bias))


def test_a_given_output_size_is_followed_or_refused():
    layer, _, before = layer_and_plain(UpConv2d, 3)
    x = torch.randn(2, before, 4, 4, dtype=torch.float64)
    assert layer(x, output_size=[9, 8]).shape[2:] == (9, 8)
    with pytest.raises(ValueError, match="output size"):
        layer(x, output_size=[20, 20])
