"""The convolutional networks for 64x64 images: 4x4 kernels, stride 2, padding 1, ReLU (Tables A.2 and A.3)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idgan.errors import check_integer
from idgan.networks.modules import MAX_CHANNELS, MAX_CODE_DIM, register_network

__all__ = [
    "ConvDiscriminator",
    "ConvDiscriminatorConfig",
    "ConvGenerator",
    "ConvGeneratorConfig",
    "UpConv2d",
    "conv_decoder",
    "conv_encoder",
    "he_normal",
]

RESOLUTION = 64
"""Side of the images of these networks, in pixels."""


def conv_encoder(image_channels: int, outputs: int) -> nn.Sequential:
    """The stack of the encoder and the discriminator (Table A.2): (N, image_channels, 64, 64) -> (N, outputs)."""
    widths = (image_channels, 32, 32, 64, 64)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 256), nn.ReLU(), nn.Linear(256, outputs))


def conv_decoder(inputs: int, image_channels: int) -> nn.Sequential:
    """The stack of the decoder and the generator (Table A.2): (N, inputs) -> (N, image_channels, 64, 64).

    It has no output activation.
    """
    widths = (64, 64, 32, 32, image_channels)
    layers: list[nn.Module] = [nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 64 * 4 * 4), nn.ReLU()]
    layers.append(nn.Unflatten(1, (64, 4, 4)))
    for before, after in pairwise(widths):
        layers += [UpConv2d(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class UpConv2d(nn.ConvTranspose2d):
    """The transposed convolution of these networks: (N, in_channels, H, W) -> (N, out_channels, 2H, 2W).

    It computes what `nn.ConvTranspose2d` computes, up to rounding, and has the same state. On a CPU it is faster, see
    `_UpConv`. Elsewhere, and in exported programs, it is the plain layer.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return super().forward(x, output_size)
        assert self.bias is not None
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            return _UpConv.apply(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))
        return _UpConv.apply(x, self.weight, self.bias)


NARROW = 16
"""CPU kernels of a transposed convolution compute this many output channels at least, even if there are fewer."""


class _UpConv(torch.autograd.Function):
    """A 4x4 transposed convolution with stride 2 and padding 1, by faster CPU kernels. It can be differentiated twice.

    With few output channels, the forward pass is one convolution, see `_by_phases`. With many, the gradient of the
    weight is that of the convolution whose transpose this is. It takes less time, above all in bf16.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        if weight.shape[1] < NARROW:
            return _by_phases(x, weight, bias)
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        for_x, for_weight, _ = ctx.needs_input_grad
        if weight.shape[1] < NARROW:
            x_grad, weight_grad = _convolution_grads(gradient, x, weight, for_x, for_weight, transposed=True)
        else:
            x_grad = F.conv2d(gradient, weight, stride=2, padding=1) if for_x else None
            _, weight_grad = _convolution_grads(x, gradient, weight, False, for_weight, transposed=False)
        return x_grad, weight_grad, gradient.sum((0, 2, 3))


def _by_phases(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A transposed convolution as one 2x2 convolution that computes the four phases of the output as channels.

    Row 2i + a of the output depends on rows i + a - 1 and i + a of the input, with the rows 3 - a and 1 - a of the
    kernel. The same holds for columns.
    """
    (before, after), (height, width) = weight.shape[:2], x.shape[2:]
    # Reversed rows are (3, 2, 1, 0): in the shape (2, 2), the first axis is the row of the input, the second is a.
    kernel = weight.flip(2, 3).reshape(before, after, 2, 2, 2, 2).permute(1, 3, 5, 0, 2, 4).reshape(-1, before, 2, 2)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    phases = F.conv2d(x, kernel, bias.repeat_interleave(4), padding=1).unflatten(1, (after, 2, 2))
    y = x.new_empty(len(x), after, height, 2, width, 2)
    for a in (0, 1):
        for b in (0, 1):
            y[:, :, :, a, :, b] = phases[:, :, a, b, a : a + height, b : b + width]
    return y.view(len(x), after, 2 * height, 2 * width)


def _convolution_grads(
    gradient: Tensor, x: Tensor, weight: Tensor, for_x: bool, for_weight: bool, transposed: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients by input `x` and by `weight` of a 4x4 convolution or transposed convolution (stride 2, padding 1)."""
    geometry = [2, 2], [1, 1], [1, 1], transposed, [0, 0], 1
    x_grad, weight_grad, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, *geometry, [for_x, for_weight, False]
    )
    return x_grad, weight_grad


def he_normal(network: nn.Module) -> None:
    """Initialize linear and convolution layers so that ReLU keeps the variance of activations (He et al. 2015).

    Biases become 0. The fan-in of a transposed convolution is the number of inputs that reach one output.
    """
    for layer in network.modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            continue
        fan_in: float = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            (height, width), (down, right) = layer.kernel_size, layer.stride
            fan_in = layer.in_channels * height * width / (down * right)
        nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@register_network()
@dataclass(frozen=True)
class ConvGeneratorConfig:
    """Config of the generator for the synthetic data sets (Table A.3).

    The paper uses `c_dim` 10 and no nuisance (`s_dim` 0).

    Raises:
        InvalidInputError: a size is out of range.
    """

    c_dim: int = 10
    s_dim: int = 0
    image_channels: int = 1

    resolution = RESOLUTION

    def __post_init__(self) -> None:
        check_integer(1, MAX_CODE_DIM, c_dim=self.c_dim)
        check_integer(0, MAX_CODE_DIM, s_dim=self.s_dim)
        check_integer(1, MAX_CHANNELS, image_channels=self.image_channels)

    def build(self) -> "ConvGenerator":
        """A `ConvGenerator` with random weights."""
        return ConvGenerator(self)


class ConvGenerator(nn.Module):
    """G(s, c) for the synthetic data sets: the layers of the decoder, then tanh (Table A.3)."""

    def __init__(self, config: ConvGeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(*conv_decoder(config.s_dim + config.c_dim, config.image_channels), nn.Tanh())

    def forward(self, code: Tensor) -> Tensor:
        """cat([s, c]) (N, s_dim + c_dim) -> images (N, C, 64, 64) in [-1, 1]."""
        return self.layers(code)


@register_network()
@dataclass(frozen=True)
class ConvDiscriminatorConfig:
    """Config of the discriminator for the synthetic data sets (Table A.3).

    Raises:
        InvalidInputError: `image_channels` is out of range.
    """

    image_channels: int = 1

    resolution = RESOLUTION

    def __post_init__(self) -> None:
        check_integer(1, MAX_CHANNELS, image_channels=self.image_channels)

    def build(self) -> "ConvDiscriminator":
        """A `ConvDiscriminator` with random weights."""
        return ConvDiscriminator(self)


class ConvDiscriminator(nn.Module):
    """D(x) for the synthetic data sets: the layers of the encoder, with one logit as output (Table A.3)."""

    def __init__(self, config: ConvDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = conv_encoder(config.image_channels, outputs=1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, 64, 64) in [-1, 1] -> logits (N,). A positive logit means "real"."""
        return self.layers(x).squeeze(1)
