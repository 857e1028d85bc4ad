"""Training objectives. Each file holds a method: its config, and the losses of its phases.

The terms of the losses, with their equations, are in `idgan.objectives.terms`. Your own objective works the same way:
see `TrainingObjective` and `register_objective`.
"""

from idgan.objectives.beta_tcvae import BetaTCVAE, BetaTCVAEConfig
from idgan.objectives.factor_vae import CapacityFactorVAEConfig, FactorVAE, FactorVAEConfig
from idgan.objectives.gan import GAN, GANConfig, GANObjective
from idgan.objectives.growing_vae import GrowingVAE, GrowingVAEConfig
from idgan.objectives.id_gan import IDGAN, ConditionalGAN, ConditionalGANConfig, IDGANConfig
from idgan.objectives.info_gan import InfoGAN, InfoGANConfig
from idgan.objectives.joint import VAEGAN, EndToEndIDGAN, EndToEndIDGANConfig, VAEGANConfig
from idgan.objectives.objective import (
    OBJECTIVES,
    Losses,
    Objective,
    ObjectiveConfig,
    Phases,
    TrainingBatch,
    TrainingImages,
    TrainingObjective,
    register_objective,
)
from idgan.objectives.pairwise_tc import PairwiseTCVAE, PairwiseTCVAEConfig
from idgan.objectives.projected import ProjectedIDGAN, ProjectedIDGANConfig
from idgan.objectives.schedule import Phase, growing_phases, growing_phases_in_two_parts
from idgan.objectives.vae import (
    BetaVAE,
    BetaVAEConfig,
    CapacityVAE,
    CapacityVAEConfig,
    VAEObjective,
    VAEObjectiveConfig,
)
from idgan.objectives.vdb import BottleneckGAN, BottleneckGANConfig, BottleneckIDGAN, BottleneckIDGANConfig

__all__ = [
    "GAN",
    "IDGAN",
    "OBJECTIVES",
    "VAEGAN",
    "BetaTCVAE",
    "BetaTCVAEConfig",
    "BetaVAE",
    "BetaVAEConfig",
    "BottleneckGAN",
    "BottleneckGANConfig",
    "BottleneckIDGAN",
    "BottleneckIDGANConfig",
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
    "GANObjective",
    "GrowingVAE",
    "GrowingVAEConfig",
    "IDGANConfig",
    "InfoGAN",
    "InfoGANConfig",
    "Losses",
    "Objective",
    "ObjectiveConfig",
    "PairwiseTCVAE",
    "PairwiseTCVAEConfig",
    "Phase",
    "Phases",
    "ProjectedIDGAN",
    "ProjectedIDGANConfig",
    "TrainingBatch",
    "TrainingImages",
    "TrainingObjective",
    "VAEGANConfig",
    "VAEObjective",
    "VAEObjectiveConfig",
    "growing_phases",
    "growing_phases_in_two_parts",
    "register_objective",
]
