"""How well a model of dSprites or of a variant draws the sprites of its data set.

    python benchmarks/sprites.py dsprites [--images 1000] [--inverted 200] [--invert] [--seed 0]

It prints, for the generator and for the decoder:

- told shape: share of images drawn from the aggregated posterior in which dsprites-convnet gives one of the three
  shapes a probability of at least 0.9. Renders of the set are the reference.
- PSNR in dB: mean over renders and their reconstructions. On Color-dSprites, it depends most on the color.
- IoU: mean intersection over union of a render and its edit by 1.5 along a position, both cut at 0.5 (in color, at half
  of the brightest value) and centered on their centroids. The edit goes toward the center of the image. 1 means that
  the edit keeps the sprite.

For PSNR and IoU, the nuisance encoder gives s if the model has one. Otherwise, or with --invert, inversion finds s and
the inactive dimensions of c. It takes about a second for each image.

On Noisy- and Scream-dSprites, it prints the told shape only, because no cut finds the sprite.
"""

import argparse
import json

import torch
from safetensors import safe_open
from torch import Tensor

import idgan
from idgan.data import SPRITES, open_dataset
from idgan.evaluation.extractors import DSPRITES_CONVNET
from idgan.images import encoder_view, psnr
from idgan.networks.conv import conv_encoder
from idgan.rng import seeded_rng
from idgan.sampler import Sampler

CONFIDENT = 0.9
CHANGE = 1.5
ON_BLACK = ("dsprites", "color-dsprites")
"""Data sets in which everything that is not black is the sprite."""


def shape_classifier() -> torch.nn.Module:
    """The whole network dsprites-convnet. Its first three outputs are the logits of the shapes."""
    with safe_open(DSPRITES_CONVNET, "pt") as file:
        outputs = json.loads(file.metadata()["info"])["outputs"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is not a dict)
    network = conv_encoder(3, sum(outputs.values()))
    network.load_state_dict(tensors)
    return network.eval()


@torch.no_grad()
def told_shapes(classifier: torch.nn.Module, x: Tensor) -> float:
    """Share of images `x` (N, C, 64, 64) in [0, 1] whose shape the classifier tells with confidence."""
    logits = torch.cat([classifier(part.expand(-1, 3, -1, -1))[:, :3] for part in x.split(256)])
    return (logits.softmax(1).max(1).values >= CONFIDENT).float().mean().item()


def centered(x: Tensor) -> Tensor:
    """Masks (N, 128, 128) of the sprites in `x` (N, 1 or 3, 64, 64), with the centroid in the middle.

    Gray images are cut at 0.5. Images in color are cut at half of their brightest value, since a sprite may be dark.
    """
    masks = torch.zeros(len(x), 128, 128, dtype=torch.bool)
    for mask, image in zip(masks, x.amax(1)):
        points = (image >= (0.5 if x.shape[1] == 1 else image.max() / 2)).nonzero()
        if len(points):
            rows, columns = (points - points.float().mean(0).round().long() + 64).clamp(0, 127).T
            mask[rows, columns] = True
    return masks


def overlap(x: Tensor, y: Tensor) -> float:
    """Mean intersection over union of the sprites in `x` and `y`, wherever they are."""
    a, b = centered(x), centered(y)
    union = (a | b).flatten(1).sum(1)
    return ((a & b).flatten(1).sum(1) / union.clamp(min=1)).mean().item()


def position_edits(sampler: Sampler, c: Tensor) -> list[Tensor]:
    """Codes `c` (N, c_dim) moved by `CHANGE` along each position, toward 0."""
    moved = []
    for name in ("position_x", "position_y"):
        dim, edited = sampler.dim_index(name), c.clone()
        edited[:, dim] -= CHANGE * edited[:, dim].sign()
        moved.append(edited)
    return moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="dsprites")
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--inverted", type=int, default=200, help="images behind PSNR and IoU, if they are inverted")
    parser.add_argument("--invert", action="store_true", help="invert, although the model has a nuisance encoder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    sampler = idgan.load(arguments.model, device="cpu")
    data = sampler.info.get("data")
    if data not in SPRITES:
        parser.error(f"the data set of {arguments.model} is {data}, but must be one of {', '.join(SPRITES)}")
    dataset, classifier, rng = open_dataset(data), shape_classifier(), seeded_rng(arguments.seed)
    x = dataset.images(torch.randint(len(dataset), (arguments.images,), generator=rng), rng)
    c, s = sampler.codes(arguments.images, seed=arguments.seed)
    print(f"renders    told shape {told_shapes(classifier, x):.3f}")
    if data in ON_BLACK:
        if arguments.invert or sampler.nuisance_encoder is None:
            x = x[: arguments.inverted]
            code, nuisance = sampler.invert(x, seed=arguments.seed)
        else:
            code, nuisance = sampler.read(x)
    for name, draw in (
        ("generator", lambda c, s: torch.cat(list(sampler.render(c, s)))),
        ("decoder", lambda c, s: encoder_view(sampler.decode(c), 64)),
    ):
        line = f"{name:<10} told shape {told_shapes(classifier, draw(c, s)):.3f}"
        if data in ON_BLACK:
            likeness = psnr(draw(code, nuisance), x).mean()
            kept = [overlap(x, draw(edited, nuisance)) for edited in position_edits(sampler, code)]
            line += f"  PSNR {likeness:.1f} dB  IoU {sum(kept) / 2:.3f}"
        print(line)


if __name__ == "__main__":
    main()
