"""The convolutional networks for 64x64 images: 4x4 kernels, stride 2, padding 1, ReLU (Tables A.2 and A.3)."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from idgan.errors import check_integer
from idgan.networks.convolution import DownConv2d, Unflatten, UpConv2d
from idgan.networks.modules import MAX_CHANNELS, MAX_CODE_DIM, register_network

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
"""Side of the images of these networks, in pixels."""


def conv_encoder(image_channels: int, outputs: int) -> nn.Sequential:
    """The stack of the encoder and the discriminator (Table A.2): (N, image_channels, 64, 64) -> (N, outputs)."""
    widths = (image_channels, 32, 32, 64, 64)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [DownConv2d(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 256), nn.ReLU(), nn.Linear(256, outputs))


def conv_decoder(inputs: int, image_channels: int) -> nn.Sequential:
    """The stack of the decoder and the generator (Table A.2): (N, inputs) -> (N, image_channels, 64, 64).

    It has no output activation.
    """
    widths = (64, 64, 32, 32, image_channels)
    layers: list[nn.Module] = [nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 64 * 4 * 4), nn.ReLU()]
    layers.append(Unflatten(64, 4))
    for before, after in pairwise(widths):
        layers += [UpConv2d(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


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
