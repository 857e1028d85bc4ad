"""The networks of the paper's tables. Each has a frozen config dataclass beside it whose `build()` makes it with random weights."""

from idgan.networks.bottleneck import BottleneckDiscriminator, BottleneckDiscriminatorConfig
from idgan.networks.conv import ConvDiscriminator, ConvDiscriminatorConfig, ConvGenerator, ConvGeneratorConfig
from idgan.networks.heads import TCDiscriminator
from idgan.networks.model import ModelConfig
from idgan.networks.resnet import ResNetDiscriminator, ResNetDiscriminatorConfig, ResNetGenerator, ResNetGeneratorConfig
from idgan.networks.vae import VAE, Posterior, VAEConfig

__all__ = [
    "VAE",
    "BottleneckDiscriminator",
    "BottleneckDiscriminatorConfig",
    "ConvDiscriminator",
    "ConvDiscriminatorConfig",
    "ConvGenerator",
    "ConvGeneratorConfig",
    "ModelConfig",
    "Posterior",
    "ResNetDiscriminator",
    "ResNetDiscriminatorConfig",
    "ResNetGenerator",
    "ResNetGeneratorConfig",
    "TCDiscriminator",
    "VAEConfig",
]
