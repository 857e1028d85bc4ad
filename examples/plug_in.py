"""Networks and data of your own: they are trained, stored and loaded like those of the package.

The VAE is built on torchvision's ShuffleNet, and the generator on blocks of torchvision. The script draws the images.
"""

import argparse
from dataclasses import dataclass, replace

import torch
from torch import nn
from torchvision.models import shufflenet_v2_x0_5
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation

import idgan
from idgan.data import Dataset
from idgan.networks import Posterior, register_network
from idgan.objectives import BetaVAEConfig
from idgan.recipes import Adam, recipe_of

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="runs/plugged-in", help="run directory; the same command continues the run")
parser.add_argument("--steps", type=int, default=500, help="steps of each stage")
parser.add_argument("--batch-size", type=int, default=32, help="images in a batch")
arguments = parser.parse_args()


class Disks(Dataset):
    """White disks of 8 sizes at 32 x 32 positions."""

    resolution = 64
    image_channels = 1

    def __len__(self) -> int:
        return 8 * 32 * 32

    def images(self, indices: torch.Tensor, rng: torch.Generator | None = None) -> torch.Tensor:
        size, y, x = indices // 1024, indices // 32 % 32, indices % 32
        row, column = torch.arange(64)[:, None], torch.arange(64)
        distance = (row - (16 + y)[:, None, None]) ** 2 + (column - (16 + x)[:, None, None]) ** 2
        return (distance < ((4 + size) ** 2)[:, None, None]).float()[:, None]


# A frozen dataclass of plain values describes a network and builds it. The checkpoint file has its registered name.
@register_network("shuffle-vae")
@dataclass(frozen=True)
class ShuffleVAEConfig:
    c_dim: int = 10
    image_channels: int = 1
    resolution: int = 64

    def build(self) -> nn.Module:
        return ShuffleVAE(self)


class ShuffleVAE(nn.Module):
    """ShuffleNet is the encoder. Stage 1 trains it with a small decoder."""

    def __init__(self, config: ShuffleVAEConfig) -> None:
        super().__init__()
        self.encoder = shufflenet_v2_x0_5(weights=None, num_classes=2 * config.c_dim)
        self.decoder = nn.Sequential(
            nn.Linear(config.c_dim, 64 * 4 * 4),
            nn.ReLU(),
            nn.Unflatten(1, (64, 4, 4)),
            nn.Upsample(scale_factor=4),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=4),
            nn.Conv2d(32, config.image_channels, 3, padding=1),
        )

    def encode(self, x: torch.Tensor) -> Posterior:
        mean, logvar = self.encoder(x.expand(-1, 3, -1, -1)).float().chunk(2, dim=1)
        return Posterior(mean, logvar)

    def decode_logits(self, c: torch.Tensor) -> torch.Tensor:
        return self.decoder(c).float()

    def decode(self, c: torch.Tensor) -> torch.Tensor:
        return self.decode_logits(c).sigmoid()


@register_network("block-generator")
@dataclass(frozen=True)
class BlockGeneratorConfig:
    c_dim: int = 10
    s_dim: int = 8
    image_channels: int = 1
    resolution: int = 64
    width: int = 32

    def build(self) -> nn.Module:
        layers = [nn.Linear(self.s_dim + self.c_dim, self.width * 4 * 4), nn.Unflatten(1, (self.width, 4, 4))]
        for _ in range(4):  # 4x4 to 64x64
            layers += [
                nn.Upsample(scale_factor=2),
                Conv2dNormActivation(self.width, self.width),
                SqueezeExcitation(self.width, self.width // 4),
            ]
        return nn.Sequential(*layers, nn.Conv2d(self.width, self.image_channels, 3, padding=1), nn.Tanh())


# A recipe is frozen. Yours is a copy of one of the package's with other parts.
recipe = recipe_of("dsprites")
recipe = replace(
    recipe,
    name="plugged-in",
    data=Disks(),
    vae=ShuffleVAEConfig(),
    generator=BlockGeneratorConfig(),
    vae_stage=replace(
        recipe.vae_stage,
        objective=BetaVAEConfig(beta=4.0),
        optimizers={"vae": Adam(1e-3)},
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        select_every=0,
    ),
    gan_stage=replace(recipe.gan_stage, steps=arguments.steps, batch_size=arguments.batch_size, ema_decay=0.98),
    bank_size=256,
)
# An encoder that is already trained needs no stage 1. `vae_stage=None` takes it as `build()` returns it.
checkpoint = idgan.train(recipe, arguments.out, measure=False)

# The checkpoint loads like any other in every process that has registered its networks.
g = idgan.load(checkpoint)
c = g.encode(Disks().images(torch.tensor([0])))
print(f"{g}\n{checkpoint}: the code of the first disk is {[round(x, 2) for x in c[0].tolist()]}")
