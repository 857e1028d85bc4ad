"""How well a model draws images again: PSNR with a random s, with the best of 64, and with the s that inversion finds.

    python benchmarks/inversion.py --model celeba-64-w16 --data FOLDER [--images 32]

The images should be ones that the model was not trained on: --data is a folder of them, or an archive, cut as the model's own data set is.
The code c is the encoder's, but for the row that refines it. Columns: PSNR, mean and standard error over images (the VAE decoder's, of its own
size, for comparison); the root mean square of s and of the collapsed dimensions of c, which serve as s does (1 is the prior's); the response
to edits, how far the encoder's reading of a dimension moves when the dimension moves by 1, mean over the five most telling ones, which should
not suffer from an s that fits one image closely; seconds an image.
"""

import argparse
import time

import torch

import idgan
from idgan.data import open_dataset
from idgan.images import encoder_view, psnr

DRAWS = 64
EDIT = 1.5


def response(g, c, s, dims):
    """Mean change of the encoder's reading of a dimension for a change of 1 in c, over images and `dims`."""
    before = g.encode(g.sample(c, s))
    return (
        torch.stack([(g.encode(g.sample(g.changed(c, {d: EDIT}), s)) - before)[:, d] for d in dims]).mean().item()
        / EDIT
    )


def report(name, score, g=None, pair=None, seconds=None):
    """Print one row: PSNR `score` (N,) and, of the codes `pair` = (c, s), how they edit; `seconds` an image."""
    print(f"{name:<24}{score.mean():>8.2f} +-{score.std() / len(score) ** 0.5:5.2f}", end="")
    if pair is not None:
        nuisance = torch.cat([pair[1], pair[0][:, ~g.active]], dim=1)
        print(f"{nuisance.square().mean().sqrt():>10.2f}{response(g, *pair, g.active_dims[:5]):>10.2f}", end="")
    print("" if seconds is None else f"{seconds:>12.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        required=True,
        help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file",
    )
    parser.add_argument(
        "--data", help="a folder or archive of images, or a prepared directory; by default the model's own data"
    )
    parser.add_argument("--images", type=int, default=32, help="how many, chosen by the seed; all if there are fewer")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    g = idgan.load(arguments.model)
    source = open_dataset(str(g.info.get("data")), arguments.data)
    chosen = (
        torch.randperm(len(source), generator=torch.Generator().manual_seed(arguments.seed))[: arguments.images]
        .sort()
        .values
    )
    x = source.images(chosen, torch.Generator().manual_seed(arguments.seed)).to(g.device)
    print(
        f"{g}\n{len(x)} of the {len(source):,} images of {arguments.data or g.info.get('data')}, seed {arguments.seed}"
    )

    code = g.encode(x)
    draws = [g.complete(code, seed=seed) for seed in range(DRAWS)]
    scores = torch.stack([psnr(g.sample(*pair), x) for pair in draws])
    best = tuple(torch.stack(parts)[scores.argmax(0), torch.arange(len(x))] for parts in zip(*draws))
    decoder = psnr(g.decode(g.posterior(x).mean), encoder_view(x, g.vae.config.resolution))
    print(f"{'':<24}{'PSNR, dB':>16}{'rms of s':>10}{'response':>10}{'s an image':>12}")
    report("VAE decoder", decoder)
    report("random s, mean of 64", scores.mean(0), g, draws[0])
    report("best of 64 s", scores.max(0).values, g, best)
    for name, refine in ("invert", False), ("invert, refine_c", True):
        start = time.perf_counter()
        pair = g.invert(x, steps=arguments.steps, restarts=arguments.restarts, refine_c=refine, seed=arguments.seed)
        report(name, psnr(g.sample(*pair), x), g, pair, (time.perf_counter() - start) / len(x))


if __name__ == "__main__":
    main()
