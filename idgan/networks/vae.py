"""The stage-1 model: an encoder q(c|x) and a decoder p(x|c) on 64x64 images (table A.2)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from idgan.networks.conv import RESOLUTION, ConvGeneratorConfig, conv_decoder, conv_encoder

__all__ = ["VAE", "Posterior", "VAEConfig"]


@dataclass(frozen=True)
class Posterior:
    """The encoder's diagonal Gaussian over codes: `mean` and `logvar`, each (N, c_dim)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise):
        """c = mean + std * noise, with `noise` ~ N(0, I) of shape (N, c_dim): the reparametrized draw."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def log_density(self, c):
        """log q(c_d|x) of every dimension of codes `c` (N, c_dim), log 2 pi included, (N, c_dim)."""
        return -0.5 * ((c - self.mean).square() * (-self.logvar).exp() + self.logvar + math.log(2 * math.pi))

    def log_prob(self, c):
        """log q(c|x) of codes `c` (N, c_dim): `log_density` summed over dimensions, (N,)."""
        return self.log_density(c).sum(1)

    def kl(self):
        """KL(q(c|x) || N(0, I)) of every image and dimension, in nats, (N, c_dim)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)

    @classmethod
    def cat(cls, posteriors: "list[Posterior]") -> "Posterior":
        """The `Posterior` of the images of all `posteriors`, in order."""
        return cls(torch.cat([part.mean for part in posteriors]), torch.cat([part.logvar for part in posteriors]))

    def __getitem__(self, rows):
        return Posterior(self.mean[rows], self.logvar[rows])

    def __len__(self):
        return len(self.mean)


@dataclass(frozen=True)
class VAEConfig:
    """Shape of the VAE (table A.2): `c_dim` is 10 on the synthetic sets, 20 on natural images."""

    c_dim: int = 10
    image_channels: int = 1

    resolution = RESOLUTION

    def build(self):
        """A `VAE` with random weights."""
        return VAE(self)


class VAE(nn.Module):
    """Encoder and decoder of table A.2. Which objective trains it (beta-VAE, FactorVAE, ...) is not its business."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = conv_encoder(config.image_channels, outputs=2 * config.c_dim)
        self.decoder = conv_decoder(config.c_dim, config.image_channels)

    def encode(self, x):
        """Images (N, C, 64, 64) in [0, 1] -> `Posterior` in float32, whatever the autocast precision."""
        mean, logvar = self.encoder(x).float().chunk(2, dim=1)
        return Posterior(mean, logvar)

    def features(self, x):
        """The encoder's last hidden layer for images (N, C, 64, 64) in [0, 1], (N, 256): all of the encoder but the code's own layer."""
        return self.encoder[:-1](x)

    def decode_logits(self, c):
        """Codes (N, c_dim) -> pixel logits (N, C, 64, 64) in float32."""
        return self.decoder(c).float()

    def decode(self, c):
        """Codes (N, c_dim) -> images (N, C, 64, 64) in [0, 1]: the mean of p(x|c)."""
        return torch.sigmoid(self.decode_logits(c))

    def as_generator(self):
        """The decoder as a `ConvGenerator` with `s_dim` 0, a copy: its images in [-1, 1] are those of `decode`.

        2 sigmoid(l) - 1 = tanh(l / 2), so it has the decoder's weights, the last layer's halved.
        """
        generator = ConvGeneratorConfig(self.config.c_dim, 0, self.config.image_channels).build()
        generator.layers.load_state_dict(self.decoder.state_dict())
        with torch.no_grad():
            for parameter in generator.layers[-2].parameters():
                parameter /= 2
        return generator.to(next(self.parameters()).device)
