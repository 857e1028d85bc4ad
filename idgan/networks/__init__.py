"""The networks of the paper's tables. A frozen config dataclass describes each one. Its `build()` makes random weights.

Your own networks work the same way: see `idgan.networks.protocols` and `register_network`.
"""

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
from idgan.networks.modules import NETWORKS, register_network
from idgan.networks.nuisance import NuisanceEncoder, NuisanceEncoderConfig
from idgan.networks.posterior import Posterior
from idgan.networks.projected import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from idgan.networks.projection import ProjectionDiscriminator, ProjectionDiscriminatorConfig
from idgan.networks.protocols import DiscriminatorNetwork, Encoder, GeneratorNetwork, NetworkConfig, VAENetwork
from idgan.networks.pyramids import FEATURE_PYRAMIDS, FeaturePyramid, register_feature_pyramid
from idgan.networks.resnet import ResNetDiscriminator, ResNetDiscriminatorConfig, ResNetGenerator, ResNetGeneratorConfig
from idgan.networks.resnet_encoder import ResNetEncoder, ResNetEncoderConfig
from idgan.networks.vae import VAE, TwoStackVAE, TwoStackVAEConfig, VAEConfig

__all__ = [
    "FEATURE_PYRAMIDS",
    "NETWORKS",
    "VAE",
    "BottleneckDiscriminator",
    "BottleneckDiscriminatorConfig",
    "ConvDiscriminator",
    "ConvDiscriminatorConfig",
    "ConvGenerator",
    "ConvGeneratorConfig",
    "DiscriminatorNetwork",
    "Encoder",
    "FeaturePyramid",
    "GeneratorNetwork",
    "LogitHead",
    "LogitHeadConfig",
    "ModelConfig",
    "NetworkConfig",
    "NuisanceEncoder",
    "NuisanceEncoderConfig",
    "Posterior",
    "ProjectedDiscriminator",
    "ProjectedDiscriminatorConfig",
    "ProjectionDiscriminator",
    "ProjectionDiscriminatorConfig",
    "ResNetDiscriminator",
    "ResNetDiscriminatorConfig",
    "ResNetEncoder",
    "ResNetEncoderConfig",
    "ResNetGenerator",
    "ResNetGeneratorConfig",
    "TCDiscriminator",
    "TwoStackVAE",
    "TwoStackVAEConfig",
    "VAEConfig",
    "VAENetwork",
    "he_normal",
    "register_feature_pyramid",
    "register_network",
]

for _config in (
    VAEConfig,
    TwoStackVAEConfig,
    ConvGeneratorConfig,
    ResNetGeneratorConfig,
    ResNetEncoderConfig,
    ConvDiscriminatorConfig,
    ResNetDiscriminatorConfig,
    BottleneckDiscriminatorConfig,
    ProjectionDiscriminatorConfig,
    ProjectedDiscriminatorConfig,
    LogitHeadConfig,
):
    register_network()(_config)
