"""The scales of a study: settings of its runs and of its measurements."""

from typing import Any

import torch

from idgan.data import SPRITES, Dataset
from idgan.errors import InvalidInputError
from idgan.evaluation.grid_codes import thinned_grid

__all__ = [
    "FULL",
    "GILBO",
    "SAMPLES",
    "SCALES",
    "SHORT",
    "STAGE_1_OF",
    "SYNTHETIC",
    "TINY",
    "TWO_STAGE",
    "VARIANCE_POINTS",
    "ThinnedDataset",
]

SCALES = ("full", "short", "tiny")
"""The paper's budget, hours to days on a CPU, and seconds."""
SYNTHETIC = SPRITES
TWO_STAGE = ("id-gan", "without-distillation", "cgan", "projected", "reconstructing")
"""Methods that use the encoder of another run in stage 2."""
STAGE_1_OF = dict.fromkeys(("celeba-128", "celeba-256", "celebahq-1024"), "celeba-64")
"""Recipe -> recipe whose stage 1 provides its encoder, as in the reference implementation. All others use their own."""
SHORT: dict[str, Any] = {
    "vae_stage.steps": 3000,
    "gan_stage.steps": 3000,
    "gan_stage.cooldown_steps": 0,
    "vae_stage.batch_size": 32,
    "gan_stage.batch_size": 32,
    "vae_stage.select_every": 0,
    "generator.base_width": 16,
    "discriminator.base_width": 16,
}
"""A batch that is smaller in the recipe stays so. The widths are of the networks for natural images."""
TINY: dict[str, Any] = {
    "vae_stage.steps": 2,
    "gan_stage.steps": 2,
    "gan_stage.cooldown_steps": 0,
    "vae_stage.batch_size": 4,
    "gan_stage.batch_size": 4,
    "vae_stage.select_every": 0,
    "generator.base_width": 2,
    "generator.max_width": 8,
    "discriminator.base_width": 2,
    "discriminator.max_width": 8,
    "bank_size": 16,
}
FULL: dict[str, Any] = {
    "vae_stage.steps": 500_000,
    "vae_stage.optimizers.vae.lr": 1e-4,
    "vae_stage.select_every": 0,
    "gan_stage.steps": 300_000,
    "gan_stage.cooldown_steps": 0,
    "gan_stage.objective.id_weight": 1e-4,
    "gan_stage.objective.r1_interval": 1,
}
"""The paper's budget and settings on the synthetic sets. The recipes of these sets train for less.

Some settings of the recipes stay: Adam(0, 0.99) in stage 2 where the paper has RMSprop, bf16 on devices that have it,
and for Noisy- and Scream-dSprites the learning rates of stage 2 and the initial weights of the generator. The recipes
of natural images already have the paper's budget. celeba-64-w16 is a smaller model with settings of its own.
"""
SAMPLES = {"full": 50_000, "short": 10_000, "tiny": 32}
"""Scale -> images for a Fréchet distance."""
GILBO: dict[str, dict[str, Any]] = {
    "full": {},
    "short": {"samples": 2000, "check_every": 250, "patience": 2, "tolerance": 0.05, "learning_rates": [1e-3]},
    "tiny": {"samples": 32, "check_every": 1, "patience": 1, "learning_rates": [1e-3]},
}
"""Scale -> options of GILBO that differ from those of `idgan evaluate`."""
VARIANCE_POINTS = {"full": None, "short": 65_536, "tiny": None}
"""Scale -> random points behind the global variance of FVM. None takes the whole grid."""


class ThinnedDataset(Dataset):
    """A data set with at most three values of each factor. Its metrics take seconds and have no meaning."""

    def __init__(self, dataset: Dataset) -> None:
        if dataset.factors is None:
            raise InvalidInputError("a data set without factors cannot be thinned")
        self.dataset = dataset
        self.factors, self.indices = thinned_grid(dataset.factors, max_values=3)
        self.resolution, self.image_channels = dataset.resolution, dataset.image_channels
        self.stochastic = dataset.stochastic

    def __len__(self) -> int:
        return len(self.indices)

    def images(self, indices: torch.Tensor, rng: torch.Generator | None = None) -> torch.Tensor:
        """As those of the data set."""
        return self.dataset.images(self.indices.to(indices.device)[indices], rng)
