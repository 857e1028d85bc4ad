"""Trains the network behind "dsprites-convnet", the features of the dSprites family's Fréchet distance: `python -m idgan.training.feature_net`.

It is the encoder's stack (table A.2) on RGB, taught to predict the true factors on all four sets mixed, and its features are the layer
before the last. The paper does not define its own; this one is versioned and comes with the package.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import click
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import update_bn

from idgan.data import DSprites, open_dataset
from idgan.files import write_atomically
from idgan.networks.conv import conv_encoder
from idgan.objectives import Losses, Objective
from idgan.recipes import Adam, Stage
from idgan.rng import make_rng
from idgan.training.bundle import versions
from idgan.training.loop import Trainer
from idgan.training.report import Report
from idgan.training.setup import cpu_settings, seeded

__all__ = ["OUTPUTS", "accuracy", "train_feature_net"]

SETS = ("dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites")
FACTORS = DSprites.factors
SYMMETRY = (4, 2, 1)
"""Of square, ellipse and heart: how many turns of the shape look the same."""
HEADS = {"shape": 3, "scale": 6, "orientation": 2 * len(SYMMETRY), "position_x": 32, "position_y": 32}
OUTPUTS = sum(HEADS.values())
"""Logits of the classes; of orientation, cosine and sine of the angle times the symmetry, a pair for each shape. Orientation itself cannot be
told: a square looks the same after a quarter turn, an ellipse after half a turn, and orientations 0 and 39 are one angle."""
HELD_OUT = 20_000
"""Grid points that no training batch shows; the accuracy is of draws from these."""
HELD_OUT_KEY, ACCURACY_KEY, FINAL_KEY = -1, -2, -3
NAME, VERSION = "dsprites-convnet", 1


def train_feature_net(
    out, *, steps=12_000, batch_size=64, seed=0, device="cpu", threads=None, points=5_000, progress=True
):
    """Train the network in the directory `out`; the same call continues an interrupted training. A function of the arguments on a CPU.

    A batch has equal shares of the four sets. What is kept is the moving average of the weights. Batch normalization is there while training;
    its statistics are then taken anew, and it is folded into the convolutions. Features are scaled to a mean square of 1.

    Args:
        points: held-out images of each set behind the accuracies in the file's metadata.

    Returns:
        `Path` of `out`/dsprites-convnet-vN.safetensors, what `idgan/weights` holds.

    Raises:
        DataError: the painting of Scream-dSprites is missing; the message says how to get it.
    """
    out = Path(out)
    datasets = [open_dataset(name) for name in SETS]
    shuffled = torch.randperm(len(FACTORS), generator=make_rng(seed, HELD_OUT_KEY))
    held_out, shown = shuffled[:HELD_OUT], shuffled[HELD_OUT:]
    batches = MixedBatches(datasets, shown, batch_size, seed, device)
    stage = Stage(FactorObjective, {"network": Adam(2e-3)}, steps, batch_size, ema_decay=0.999)
    identity = {"seed": seed, "batch_size": batch_size, "version": VERSION}
    with cpu_settings(threads):
        with seeded(seed):
            objective = FactorObjective(with_batch_norm(conv_encoder(3, OUTPUTS))).to(device)
        report = Report(out, NAME, quiet=not progress)
        trainer = Trainer(stage, objective, batches, out / "state.safetensors", identity=identity, report=report)
        trainer.fit()
        network = trainer.ema.module
        update_bn((batches(FINAL_KEY - step).x for step in range(100)), network)
        network = with_unit_features(without_batch_norm(network), batches(FINAL_KEY).x).cpu()
        measured = {
            name: accuracy(network, dataset, held_out[:points], make_rng(seed, ACCURACY_KEY))
            for name, dataset in zip(SETS, datasets)
        }
    info = {
        "name": NAME,
        "version": VERSION,
        "outputs": HEADS,
        "accuracy": measured,
        "accuracy_points": min(points, HELD_OUT),
        "training": {
            "seed": seed,
            "steps": steps,
            "batch_size": batch_size,
            "seconds": round(trainer.seconds),
            "versions": versions(),
        },
    }
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    return write_atomically(
        out / f"{NAME}-v{VERSION}.safetensors", safetensors.torch.save(tensors, {"info": json.dumps(info)})
    )


@dataclass
class FactorBatch:
    """Images `x` (N, 3, 64, 64) in [0, 1] of a `step` of training, and their true `factors` (N, 5)."""

    x: torch.Tensor
    factors: torch.Tensor
    step: int


class MixedBatches:
    """`batches(step)` -> `FactorBatch` with an equal share of each dataset, drawn from the grid points `indices`."""

    streams = False

    def __init__(self, datasets, indices, batch_size, seed, device):
        self.datasets = datasets
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.device = device

    def __call__(self, step):
        rng = make_rng(self.seed, step)
        indices = self.indices[torch.randint(len(self.indices), (self.batch_size,), generator=rng)]
        parts = zip(self.datasets, indices.tensor_split(len(self.datasets)))
        x = torch.cat([dataset.images(part, rng).expand(-1, 3, -1, -1) for dataset, part in parts])
        return FactorBatch(x.to(self.device), FACTORS.factors(indices).to(self.device), step)


class FactorObjective(Objective):
    """Cross-entropy of shape, scale and position, and the squared error of the turned angle (see `OUTPUTS`)."""

    angle_weight = 5.0

    @property
    def phases(self):
        return {"network": self.network_losses}

    def __init__(self, network):
        super().__init__()
        self.network = network

    @property
    def generator(self):
        """What the loop keeps a moving average of."""
        return self.network

    def network_losses(self, batch):
        heads = dict(zip(HEADS, self.network(batch.x).split(list(HEADS.values()), dim=1)))
        classes = dict(zip(FACTORS.names, batch.factors.T))
        angle, truth = turned(heads.pop("orientation"), classes.pop("orientation"), classes["shape"])
        logged = {name: F.cross_entropy(logits, classes[name]) for name, logits in heads.items()}
        logged["orientation"] = (angle - truth).square().sum(1).mean()
        return Losses(sum(logged[name] for name in heads) + self.angle_weight * logged["orientation"], logged)


def turned(pairs, orientation, shape):
    """Predicted and true (cos, sin) of the angle times the symmetry of the true `shape`, both (N, 2), from the head's output (N, 6)."""
    turn = torch.tensor(SYMMETRY, device=shape.device)[shape] * orientation * (2 * math.pi / 39)
    predicted = pairs.view(-1, len(SYMMETRY), 2)[torch.arange(len(shape)), shape]
    return predicted, torch.stack([turn.cos(), turn.sin()], dim=1)


@torch.no_grad()
def accuracy(network, dataset, indices, rng):
    """Factor name -> share of the images at `indices` of `dataset` whose factor `network` (its last layer being `OUTPUTS` wide) names.

    An orientation counts where the angle, up to the symmetry of the shape, is within half a step of the grid (2 pi / 39) of the truth.
    """
    hits = []
    for part in indices.split(250):
        output = network(dataset.images(part, rng).expand(-1, 3, -1, -1))
        heads, classes = output.split(list(HEADS.values()), dim=1), FACTORS.factors(part).T
        hit = [head.argmax(1) == truth for head, truth in zip(heads, classes)]
        angle, truth = turned(heads[2], classes[2], classes[0])
        step = torch.tensor(SYMMETRY)[classes[0]] * (2 * math.pi / 39)
        hit[2] = F.cosine_similarity(angle, truth) >= (step / 2).cos()
        hits.append(torch.stack(hit, dim=1))
    return dict(zip(HEADS, torch.cat(hits).double().mean(0).tolist()))


def with_batch_norm(stack):
    """`stack` with batch normalization after each convolution, which helps it to learn in few steps."""
    layers = []
    for layer in stack:
        layers += [layer, nn.BatchNorm2d(layer.out_channels)] if isinstance(layer, nn.Conv2d) else [layer]
    return nn.Sequential(*layers)


def without_batch_norm(network):
    """The same function as `network` in eval mode, as the stack it was made from: normalization folded into the convolutions."""
    layers = list(network.eval())
    fused = [
        fuse_conv_bn_eval(a, b) if isinstance(b, nn.BatchNorm2d) else a for a, b in zip(layers, [*layers[1:], None])
    ]
    return nn.Sequential(*[layer for layer in fused if not isinstance(layer, nn.BatchNorm2d)])


@torch.no_grad()
def with_unit_features(stack, x):
    """The same function as `stack`, whose features (before the last layer) have a mean square of 1 over images `x`; changed in place.

    The kernel of KID is made for features of about this size, and a Fréchet distance is then in units of it.
    """
    *_, hidden, _, last = stack
    scale = stack[:-1](x).square().mean().sqrt()
    hidden.weight /= scale
    hidden.bias /= scale
    last.weight *= scale
    return stack


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False),
    help="Directory of the training state, the log and the result.",
)
@click.option("--steps", type=click.IntRange(min=1), default=12_000, show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of initial weights, batches and held-out points.",
)
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
def main(out, steps, seed, device, threads):
    """Train the features of the dSprites family; run it again to continue. It needs the painting: idgan prepare scream."""
    path = train_feature_net(out, steps=steps, seed=seed, device=device, threads=threads)
    with safetensors.safe_open(path, "pt") as file:
        for name, measured in json.loads(file.metadata()["info"])["accuracy"].items():
            click.echo(f"{name:<16} " + "  ".join(f"{factor} {value:.4f}" for factor, value in measured.items()))
    click.echo(path)


if __name__ == "__main__":
    main()
