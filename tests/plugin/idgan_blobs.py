"""Adds one of everything to idgan: data set, encoder, generator, objective, metric, feature extractor and recipe."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from idgan.data import Batch, Dataset, register_dataset
from idgan.evaluation import FeatureExtractor, Subject, register_extractor, register_metric
from idgan.metrics import MetricResult
from idgan.networks import ConvDiscriminatorConfig, Posterior, register_network
from idgan.objectives import IDGANConfig, Losses, Objective, Phases, register_objective
from idgan.recipes import Adam, Recipe, Stage, register_recipe


@register_dataset("blobs")
class Blobs(Dataset):
    """White discs on black. Image i has its disc at column i % 32 and row i // 32 of a grid."""

    resolution, image_channels = 64, 1

    def __len__(self) -> int:
        return 32 * 32

    def images(self, indices: Tensor, rng: torch.Generator | None = None) -> Tensor:
        x, y = (torch.arange(-16.0, 48, device=indices.device) - i[:, None] for i in (indices % 32, indices // 32))
        return (6 - torch.hypot(x[:, None], y[:, :, None])).clamp(0, 1)[:, None]


@register_network()
@dataclass(frozen=True)
class BlobVAEConfig:
    c_dim: int = 4
    image_channels: int = 1
    resolution: int = 64
    dropout: float = 0.1

    def build(self) -> nn.Module:
        return BlobVAE(self.c_dim, self.dropout)


class BlobVAE(nn.Module):
    """An encoder with batch statistics and no attribute called `encoder`, and a linear decoder."""

    def __init__(self, c_dim: int, dropout: float) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(dropout))
        self.read, self.draw = nn.Linear(64, 2 * c_dim), nn.Linear(c_dim, 64 * 64)

    def encode(self, x: Tensor) -> Posterior:
        return Posterior(*self.read(self.pool(x)).float().chunk(2, dim=1))

    def decode_logits(self, c: Tensor) -> Tensor:
        return self.draw(c).float().view(-1, 1, 64, 64)

    def decode(self, c: Tensor) -> Tensor:
        return self.decode_logits(c).sigmoid()


@register_network()
@dataclass(frozen=True)
class BlobGeneratorConfig:
    c_dim: int = 4
    s_dim: int = 3
    image_channels: int = 1
    resolution: int = 64

    def build(self) -> nn.Module:
        layers = [nn.Linear(self.s_dim + self.c_dim, 1024), nn.Unflatten(1, (16, 8, 8)), nn.BatchNorm2d(16)]
        return nn.Sequential(*layers, nn.Upsample(scale_factor=8), nn.Conv2d(16, 1, 3, padding=1), nn.Tanh())


@register_objective()
@dataclass(frozen=True)
class BlobVAEObjectiveConfig:
    kl_weight: float = 0.5

    def build(self, vae: nn.Module) -> Objective:
        return BlobVAEObjective(vae, self)


class BlobVAEObjective(Objective):
    """min E|x - decoder(c)| + kl_weight KL(q(c|x) || N(0, I))."""

    def __init__(self, vae: nn.Module, config: BlobVAEObjectiveConfig) -> None:
        super().__init__()
        self.vae, self.config = vae, config

    @property
    def phases(self) -> Phases:
        return {"vae": self.vae_losses}

    def vae_losses(self, batch: Batch) -> Losses:
        posterior = self.vae.encode(batch.x)
        c = posterior.sample(batch.normal(posterior.mean.shape[1]))
        error = (self.vae.decode(c) - batch.x).abs().sum((1, 2, 3)).mean()
        kl = posterior.kl().sum(1).mean()
        return Losses(error + self.config.kl_weight * kl, {"error": error, "kl": kl})


@register_metric("brightness", reads_data=False, by_prior=True, summary="mean pixel value of generated images")
def brightness(subject: Subject) -> MetricResult:
    x = subject.sampler.sample(n=16, seed=subject.seed, prior=subject.prior)
    return MetricResult("brightness", x.mean(), "mean over 16 images", 16, subject.seed)


@register_extractor("block-means")
class BlockMeans(FeatureExtractor):
    name = "block-means"

    def __call__(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 8).flatten(1)


@register_recipe("blobs")
def blobs() -> Recipe:
    adams = {"discriminator": Adam(1e-4, 0.0, 0.99), "generator": Adam(1e-3, 0.0, 0.99)}
    stages = (Stage(BlobVAEObjectiveConfig(), {"vae": Adam(1e-3)}, steps=300), Stage(IDGANConfig(), adams, steps=300))
    return Recipe("blobs", "blobs", *stages, BlobVAEConfig(), BlobGeneratorConfig(), ConvDiscriminatorConfig())
