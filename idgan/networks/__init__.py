"""The networks of the paper's tables. Each has a frozen config dataclass beside it whose `build()` makes it with random weights."""

from idgan.networks.bottleneck import BottleneckDiscriminator, BottleneckDiscriminatorConfig
from idgan.networks.conv import (
    ConvDiscriminator,
    ConvDiscriminatorConfig,
    ConvGenerator,
    ConvGeneratorConfig,
    he_normal,
)
from idgan.networks.heads import LogitHead, LogitHeadConfig, TCDiscriminator
from idgan.networks.model import ModelConfig
from idgan.networks.projection import ProjectionDiscriminator, ProjectionDiscriminatorConfig
from idgan.networks.registry import NETWORKS, register_network
from idgan.networks.resnet import ResNetDiscriminator, ResNetDiscriminatorConfig, ResNetGenerator, ResNetGeneratorConfig
from idgan.networks.vae import VAE, Posterior, VAEConfig

__all__ = [
    "NETWORKS",
    "VAE",
    "BottleneckDiscriminator",
    "BottleneckDiscriminatorConfig",
    "ConvDiscriminator",
    "ConvDiscriminatorConfig",
    "ConvGenerator",
    "ConvGeneratorConfig",
    "LogitHead",
    "LogitHeadConfig",
    "ModelConfig",
    "Posterior",
    "ProjectionDiscriminator",
    "ProjectionDiscriminatorConfig",
    "ResNetDiscriminator",
    "ResNetDiscriminatorConfig",
    "ResNetGenerator",
    "ResNetGeneratorConfig",
    "TCDiscriminator",
    "VAEConfig",
    "he_normal",
    "register_network",
]

for _config in (
    VAEConfig,
    ConvGeneratorConfig,
    ResNetGeneratorConfig,
    ConvDiscriminatorConfig,
    ResNetDiscriminatorConfig,
    BottleneckDiscriminatorConfig,
    ProjectionDiscriminatorConfig,
    LogitHeadConfig,
):
    register_network()(_config)
