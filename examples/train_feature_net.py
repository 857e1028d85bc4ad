"""Trains "dsprites-convnet", the feature network behind the Fréchet distance of dSprites and its variants.

The network is the encoder's stack (Table A.2) on RGB. It learns to predict the true factors of all four data sets. Its
features are the layer before the last. The paper does not define a feature network. This one has a version and comes
with the package.

    python examples/train_feature_net.py --out runs/features
"""

import json
import math
from collections.abc import Callable
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

from idgan.data import Dataset, DSprites, open_dataset
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
"""Number of rotations that look the same, for square, ellipse and heart."""
HEADS = {"shape": 3, "scale": 6, "orientation": 2 * len(SYMMETRY), "position_x": 32, "position_y": 32}
OUTPUTS = sum(HEADS.values())
"""Width of the last layer: logits of the classes, and for orientation a pair (cos, sin) for each shape.

The pair is of the angle times the symmetry. The orientation itself is not determined: a square looks the same after a
quarter turn, an ellipse after half a turn, and orientations 0 and 39 are the same angle.
"""
HELD_OUT = 20_000
"""Number of grid points that no training batch contains. Accuracy is measured on these."""
HELD_OUT_KEY, ACCURACY_KEY, FINAL_KEY = -1, -2, -3
NAME, VERSION = "dsprites-convnet", 1


def train_feature_net(
    out: str | Path,
    *,
    steps: int = 12_000,
    batch_size: int = 64,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    points: int = 5_000,
    progress: bool = True,
) -> Path:
    """Train the network in the directory `out`. The same call continues an interrupted training.

    The result on a CPU is a function of the arguments. A batch has equal shares of the four data sets. The result is
    the moving average of the weights. Training uses batch normalization. Afterwards its statistics are computed again,
    and it is folded into the convolutions. Features are scaled to a mean square of 1.

    Args:
        out: directory of the training state, the log and the result.
        steps: number of training steps.
        batch_size: images of a step.
        seed: seed of initial weights, batches and held-out points.
        device: a PyTorch device.
        threads: CPU threads. None keeps PyTorch's choice.
        points: held-out images of each data set behind the accuracies in the file's metadata.
        progress: show progress.

    Returns:
        Path of the result, `out`/dsprites-convnet-vN.safetensors. The package holds such a file in `idgan/weights`.

    Raises:
        DataError: the painting of Scream-dSprites is missing. The message says how to get it.
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
    """Images of a training step and their factors.

    Attributes:
        x: images (N, 3, 64, 64) in [0, 1].
        factors: integer factors (N, 5).
        step: number of the step.
    """

    x: torch.Tensor
    factors: torch.Tensor
    step: int


class MixedBatches:
    """`batches(step)` is a `FactorBatch` with equal shares of all data sets, drawn from the grid points `indices`."""

    streams = False

    def __init__(self, datasets: list[Dataset], indices: torch.Tensor, batch_size: int, seed: int, device: str) -> None:
        self.datasets = datasets
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.device = device

    def __call__(self, step: int) -> FactorBatch:
        rng = make_rng(self.seed, step)
        indices = self.indices[torch.randint(len(self.indices), (self.batch_size,), generator=rng, device="cpu")]
        parts = zip(self.datasets, indices.tensor_split(len(self.datasets)))
        x = torch.cat([dataset.images(part, rng).expand(-1, 3, -1, -1) for dataset, part in parts])
        return FactorBatch(x.to(self.device), FACTORS.factors(indices).to(self.device), step)


class FactorObjective(Objective):
    """Cross-entropy of shape, scale and position, and the squared error of (cos, sin) of the angle (see `OUTPUTS`)."""

    angle_weight = 5.0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def phases(self) -> dict[str, Callable[[FactorBatch], Losses]]:
        return {"network": self.network_losses}

    @property
    def generator(self) -> nn.Module:
        """The network. The training loop keeps a moving average of it."""
        return self.network

    def network_losses(self, batch: FactorBatch) -> Losses:
        heads = dict(zip(HEADS, self.network(batch.x).split(list(HEADS.values()), dim=1)))
        classes = dict(zip(FACTORS.names, batch.factors.T))
        angle, truth = turned(heads.pop("orientation"), classes.pop("orientation"), classes["shape"])
        logged = {name: F.cross_entropy(logits, classes[name]) for name, logits in heads.items()}
        logged["orientation"] = (angle - truth).square().sum(1).mean()
        return Losses(sum(logged[name] for name in heads) + self.angle_weight * logged["orientation"], logged)


def turned(pairs: torch.Tensor, orientation: torch.Tensor, shape: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and true (cos, sin) of the angle times the symmetry of the shape, both (N, 2).

    Args:
        pairs: output (N, 6) of the orientation head.
        orientation, shape: true factors (N,).
    """
    turn = torch.tensor(SYMMETRY, device=shape.device)[shape] * orientation * (2 * math.pi / 39)
    predicted = pairs.view(-1, len(SYMMETRY), 2)[torch.arange(len(shape)), shape]
    return predicted, torch.stack([turn.cos(), turn.sin()], dim=1)


@torch.no_grad()
def accuracy(
    network: nn.Module, dataset: Dataset, indices: torch.Tensor, rng: torch.Generator | None
) -> dict[str, float]:
    """Factor name -> share of the images at `indices` of `dataset` for which `network` predicts it.

    An orientation counts if the angle, up to the symmetry of the shape, is within half a step of the grid
    (2 pi / 39 / 2) of the truth.
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


def with_batch_norm(stack: nn.Sequential) -> nn.Sequential:
    """`stack` with batch normalization after each convolution. It then learns in fewer steps."""
    layers: list[nn.Module] = []
    for layer in stack:
        layers += [layer, nn.BatchNorm2d(layer.out_channels)] if isinstance(layer, nn.Conv2d) else [layer]
    return nn.Sequential(*layers)


def without_batch_norm(network: nn.Sequential) -> nn.Sequential:
    """The stack that computes what `network` computes in eval mode, with normalization folded into the convolutions."""
    layers = list(network.eval())
    fused = [
        fuse_conv_bn_eval(a, b) if isinstance(b, nn.BatchNorm2d) else a for a, b in zip(layers, [*layers[1:], None])
    ]
    return nn.Sequential(*[layer for layer in fused if not isinstance(layer, nn.BatchNorm2d)])


@torch.no_grad()
def with_unit_features(stack: nn.Sequential, x: torch.Tensor) -> nn.Sequential:
    """Scale the features of `stack`, in place, to a mean square of 1 over images `x`. The outputs stay the same.

    The kernel of KID expects features of about this size. A Fréchet distance is then in units of it.
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
    help="Seed of initial weights, batches and held-out points.",
)
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
def main(out: str, steps: int, seed: int, device: str, threads: int | None) -> None:
    """Train the features of dSprites and its variants. Run it again to continue. First run `idgan prepare scream`."""
    path = train_feature_net(out, steps=steps, seed=seed, device=device, threads=threads)
    with safetensors.safe_open(path, "pt") as file:
        for name, measured in json.loads(file.metadata()["info"])["accuracy"].items():
            click.echo(f"{name:<16} " + "  ".join(f"{factor} {value:.4f}" for factor, value in measured.items()))
    click.echo(path)


if __name__ == "__main__":
    main()
