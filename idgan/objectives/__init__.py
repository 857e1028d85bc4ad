"""Training objectives: one method a file, each a set of named phases. Their terms, with the equations, are in `idgan.objectives.terms`."""

from idgan.objectives.beta_tcvae import BetaTCVAE, BetaTCVAEConfig
from idgan.objectives.factor_vae import CapacityFactorVAE, CapacityFactorVAEConfig, FactorVAE, FactorVAEConfig
from idgan.objectives.gan import GAN, GANConfig
from idgan.objectives.id_gan import IDGAN, ConditionalGAN, ConditionalGANConfig, IDGANConfig
from idgan.objectives.info_gan import InfoGAN, InfoGANConfig
from idgan.objectives.joint import VAEGAN, EndToEndIDGAN, EndToEndIDGANConfig, VAEGANConfig
from idgan.objectives.objective import Losses, Objective
from idgan.objectives.pairwise_tc import PairwiseTCVAE, PairwiseTCVAEConfig
from idgan.objectives.registry import OBJECTIVES, register_objective
from idgan.objectives.vae import BetaVAE, BetaVAEConfig, CapacityVAE, CapacityVAEConfig
from idgan.objectives.vdb import BottleneckIDGAN, BottleneckIDGANConfig

__all__ = [
    "GAN",
    "IDGAN",
    "OBJECTIVES",
    "VAEGAN",
    "BetaTCVAE",
    "BetaTCVAEConfig",
    "BetaVAE",
    "BetaVAEConfig",
    "BottleneckIDGAN",
    "BottleneckIDGANConfig",
    "CapacityFactorVAE",
    "CapacityFactorVAEConfig",
    "CapacityVAE",
    "CapacityVAEConfig",
    "ConditionalGAN",
    "ConditionalGANConfig",
    "EndToEndIDGAN",
    "EndToEndIDGANConfig",
    "FactorVAE",
    "FactorVAEConfig",
    "GANConfig",
    "IDGANConfig",
    "InfoGAN",
    "InfoGANConfig",
    "Losses",
    "Objective",
    "PairwiseTCVAE",
    "PairwiseTCVAEConfig",
    "VAEGANConfig",
    "register_objective",
]

for _config in (
    BetaVAEConfig,
    CapacityVAEConfig,
    FactorVAEConfig,
    CapacityFactorVAEConfig,
    BetaTCVAEConfig,
    PairwiseTCVAEConfig,
    GANConfig,
    IDGANConfig,
    ConditionalGANConfig,
    BottleneckIDGANConfig,
    InfoGANConfig,
    VAEGANConfig,
    EndToEndIDGANConfig,
):
    register_objective()(_config)
