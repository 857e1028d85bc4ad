"""The VAE of stage 1: an encoder q(c|x) and a decoder p(x|c) for 64x64 images (Table A.2)."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from idgan.errors import check_integer
from idgan.networks.conv import RESOLUTION, ConvGenerator, ConvGeneratorConfig, conv_decoder, conv_encoder
from idgan.networks.modules import MAX_CHANNELS, MAX_CODE_DIM, register_network
from idgan.networks.posterior import Posterior

__all__ = ["VAE", "Posterior", "SideBySide", "TwoStackVAE", "TwoStackVAEConfig", "VAEConfig"]


@register_network()
@dataclass(frozen=True)
class VAEConfig:
    """Config of the VAE (Table A.2). The paper uses `c_dim` 10 on synthetic data sets and 20 on natural images.

    Raises:
        InvalidInputError: a size is out of range.
    """

    c_dim: int = 10
    image_channels: int = 1

    resolution = RESOLUTION

    def __post_init__(self) -> None:
        check_integer(1, MAX_CODE_DIM, c_dim=self.c_dim)
        check_integer(1, MAX_CHANNELS, image_channels=self.image_channels)

    def build(self) -> "VAE":
        """A `VAE` with random weights."""
        return VAE(self)


class VAE(nn.Module):
    """Encoder and decoder of Table A.2. Any VAE objective can train it."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = conv_encoder(config.image_channels, outputs=2 * config.c_dim)
        self.decoder = conv_decoder(config.c_dim, config.image_channels)

    def encode(self, x: Tensor) -> Posterior:
        """Images (N, C, 64, 64) in [0, 1] -> `Posterior` in float32, also under autocast."""
        mean, logvar = self.encoder(x).float().chunk(2, dim=1)
        return Posterior(mean, logvar)

    def features(self, x: Tensor) -> Tensor:
        """Last hidden layer of the encoder for images (N, C, 64, 64) in [0, 1], (N, 256)."""
        return self.encoder[:-1](x)

    def hidden_features(self, x: Tensor) -> list[Tensor]:
        """Outputs of the encoder's ReLUs for images (N, C, 64, 64) in [0, 1], each (N, features) in float32."""
        return relu_outputs(self.encoder, x)

    def decode_logits(self, c: Tensor) -> Tensor:
        """Codes (N, c_dim) -> pixel logits (N, C, 64, 64) in float32."""
        return self.decoder(c).float()

    def decode(self, c: Tensor) -> Tensor:
        """Codes (N, c_dim) -> images (N, C, 64, 64) in [0, 1], the mean of p(x|c)."""
        return torch.sigmoid(self.decode_logits(c))

    def as_generator(self, s_dim: int = 0) -> ConvGenerator:
        """A copy of the decoder as a `ConvGenerator`. At s = 0 it draws the images of `decode`, in [-1, 1].

        The weights of s are random, as in a new network. With weights of 0, training hardly ever starts to use s.
        2 sigmoid(l) - 1 = tanh(l / 2), so only the weights of the last layer are halved.
        """
        generator = ConvGeneratorConfig(self.config.c_dim, s_dim, self.config.image_channels).build()
        weights = self.decoder.state_dict()
        of_s = generator.get_parameter("layers.0.weight").detach()[:, :s_dim].to(weights["0.weight"])
        weights["0.weight"] = torch.cat([of_s, weights["0.weight"]], dim=1)  # a code is cat([s, c])
        generator.layers.load_state_dict(weights)
        with torch.no_grad():
            for parameter in generator.layers[-2].parameters():
                parameter.div_(2)
        return generator.to(next(self.parameters()).device)


def relu_outputs(layers: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Outputs of the ReLUs among `layers` for images (N, C, H, W), each (N, features) in float32."""
    outputs = []
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            outputs.append(x.flatten(1).float())
    return outputs


@register_network()
@dataclass(frozen=True)
class TwoStackVAEConfig(VAEConfig):
    """Config of a VAE whose encoder has two stacks: the fields of `VAEConfig`.

    The paper has no such network. `GrowingVAE` trains one stack after the other.
    """

    def build(self) -> "TwoStackVAE":
        """A `TwoStackVAE` with random weights."""
        return TwoStackVAE(self)


class SideBySide(nn.Module):
    """Stacks that read the same images. Their outputs are concatenated."""

    def __init__(self, *stacks: nn.Module) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(stacks)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> outputs of all stacks, (N, the sum of their widths)."""
        return torch.cat([stack(x) for stack in self.stacks], dim=1)


class TwoStackVAE(VAE):
    """A `VAE` with two stacks of hidden layers in the encoder. Its last layer reads both.

    `features` returns the last hidden layers of both, (N, 512).
    """

    def __init__(self, config: TwoStackVAEConfig) -> None:
        super().__init__(config)
        hidden, last = self.encoder[:-1], cast(nn.Linear, self.encoder[-1])
        stacks = SideBySide(hidden, conv_encoder(config.image_channels, outputs=1)[:-1])
        self.encoder = nn.Sequential(stacks, nn.Linear(2 * last.in_features, last.out_features))

    @property
    def stacks(self) -> list[nn.Sequential]:
        """The two stacks of hidden layers: images (N, C, 64, 64) in [0, 1] -> (N, 256) each."""
        return [cast(nn.Sequential, stack) for stack in cast(SideBySide, self.encoder[0]).stacks]

    def hidden_features(self, x: Tensor) -> list[Tensor]:
        """Outputs of the ReLUs of the first stack, then of the second, each (N, features) in float32."""
        return [output for stack in self.stacks for output in relu_outputs(stack, x)]
