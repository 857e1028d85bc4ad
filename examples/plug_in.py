"""Networks of your own on both sides: any encoder with `encode -> Posterior`, any generator of cat([s, c]). Here of torchvision's parts."""

import argparse
from dataclasses import dataclass, replace

from torch import nn
from torchvision.models import shufflenet_v2_x0_5
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation

import idgan
from idgan.networks import Posterior
from idgan.objectives import BetaVAEConfig
from idgan.recipes import Adam, recipe_of
from idgan.training.checkpoint import load_state

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="runs/plugged-in", help="directory of the run; the same command continues it")
parser.add_argument("--steps", type=int, default=500, help="batches of each stage")
parser.add_argument("--batch-size", type=int, default=32, help="images a batch")
arguments = parser.parse_args()


# A network is described by a frozen dataclass of plain values, which says its sizes and builds it.
@dataclass(frozen=True)
class ShuffleVAEConfig:
    c_dim: int = 10
    image_channels: int = 1
    resolution: int = 64

    def build(self):
        return ShuffleVAE(self)


class ShuffleVAE(nn.Module):
    """torchvision's ShuffleNet reads the code; a small decoder is there for stage 1 to train against."""

    def __init__(self, config):
        super().__init__()
        self.encoder = shufflenet_v2_x0_5(weights=None, num_classes=2 * config.c_dim)
        layers = [nn.Linear(config.c_dim, 64 * 4 * 4), nn.ReLU(), nn.Unflatten(1, (64, 4, 4))]
        layers += [nn.Upsample(scale_factor=4), nn.Conv2d(64, 32, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4)]
        self.decoder = nn.Sequential(*layers, nn.Conv2d(32, config.image_channels, 3, padding=1))

    def encode(self, x):
        mean, logvar = self.encoder(x.expand(-1, 3, -1, -1)).float().chunk(2, dim=1)
        return Posterior(mean, logvar)

    def decode_logits(self, c):
        return self.decoder(c).float()

    def decode(self, c):
        return self.decode_logits(c).sigmoid()


@dataclass(frozen=True)
class BlocksConfig:
    c_dim: int = 10
    s_dim: int = 8
    image_channels: int = 1
    resolution: int = 64
    width: int = 32

    def build(self):
        layers = [nn.Linear(self.s_dim + self.c_dim, self.width * 4 * 4), nn.Unflatten(1, (self.width, 4, 4))]
        for _ in range(4):  # 4x4 -> 64x64
            layers += [
                nn.Upsample(scale_factor=2),
                Conv2dNormActivation(self.width, self.width),
                SqueezeExcitation(self.width, self.width // 4),
            ]
        return nn.Sequential(*layers, nn.Conv2d(self.width, self.image_channels, 3, padding=1), nn.Tanh())


# A recipe is frozen: yours is one of the package's with other parts.
recipe = recipe_of("dsprites")
recipe = replace(
    recipe,
    name="plugged-in",
    vae=ShuffleVAEConfig(),
    generator=BlocksConfig(),
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
# (An encoder that is trained already needs no stage 1: `vae_stage=None` takes it as `build()` returns it.)
out = idgan.train(recipe, arguments.out)

# A checkpoint file holds only the package's own networks. Of others, the run keeps the weights.
weights = load_state(out / "networks.safetensors")
generator = recipe.generator.build()
generator.load_state_dict(weights["generator"])
print(
    f"{out}: {sum(p.numel() for p in generator.parameters()):,} parameters of G, in networks.safetensors; its samples are in samples.png"
)
