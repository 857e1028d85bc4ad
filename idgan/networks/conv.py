"""The 64x64 convolutional family: 4x4 kernels, stride 2, padding 1, ReLU (tables A.2 and A.3)."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

__all__ = [
    "ConvDiscriminator",
    "ConvDiscriminatorConfig",
    "ConvGenerator",
    "ConvGeneratorConfig",
    "conv_decoder",
    "conv_encoder",
    "he_normal",
]

RESOLUTION = 64


def conv_encoder(image_channels, outputs):
    """Image to vector: (N, image_channels, 64, 64) -> (N, outputs). The encoder and the discriminator are this stack (table A.2)."""
    widths = (image_channels, 32, 32, 64, 64)
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 256), nn.ReLU(), nn.Linear(256, outputs))


def conv_decoder(inputs, image_channels):
    """Vector to image, before its output non-linearity: (N, inputs) -> (N, image_channels, 64, 64). Decoder and generator (table A.2)."""
    widths = (64, 64, 32, 32, image_channels)
    layers = [nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 64 * 4 * 4), nn.ReLU(), nn.Unflatten(1, (64, 4, 4))]
    for before, after in pairwise(widths):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def he_normal(network):
    """Draw the weights of linear and convolution layers so that ReLU keeps their activations' variance (He et al., 2015); biases become 0.

    A transposed convolution has as its fan-in what reaches one output: its kernel over its stride.
    """
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            (height, width), (down, right) = layer.kernel_size, layer.stride
            fan_in = layer.in_channels * height * width / (down * right)
        elif isinstance(layer, (nn.Linear, nn.Conv2d)):
            fan_in = layer.weight[0].numel()
        else:
            continue
        nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@dataclass(frozen=True)
class ConvGeneratorConfig:
    """Shape of the generator of the synthetic sets (table A.3). The paper gives it no nuisance (`s_dim` 0) and `c_dim` 10."""

    c_dim: int = 10
    s_dim: int = 0
    image_channels: int = 1

    resolution = RESOLUTION

    def build(self):
        """A `ConvGenerator` with random weights."""
        return ConvGenerator(self)


class ConvGenerator(nn.Module):
    """G(s, c) of the synthetic sets: the decoder's layers, ending in tanh (table A.3)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(*conv_decoder(config.s_dim + config.c_dim, config.image_channels), nn.Tanh())

    def forward(self, code):
        """cat([s, c]) (N, s_dim + c_dim) -> images (N, C, 64, 64) in [-1, 1]."""
        return self.layers(code)


@dataclass(frozen=True)
class ConvDiscriminatorConfig:
    """Shape of the discriminator of the synthetic sets (table A.3)."""

    image_channels: int = 1

    resolution = RESOLUTION

    def build(self):
        """A `ConvDiscriminator` with random weights."""
        return ConvDiscriminator(self)


class ConvDiscriminator(nn.Module):
    """D(x) of the synthetic sets: the encoder's layers, ending in one logit (table A.3)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = conv_encoder(config.image_channels, outputs=1)

    def forward(self, x):
        """Images (N, C, 64, 64) in [-1, 1] -> logits (N,); positive means real."""
        return self.layers(x).squeeze(1)
