"""Quality and time of inversion: PSNR with a random s, with the best of 64, and with the s that inversion finds.

    python benchmarks/inversion.py --model celeba-64-w16 --data FOLDER [--images 32]
    python benchmarks/inversion.py --model celeba-64-w16 --compare-threads 1 2

--data is a folder or an archive of images that the model was not trained on, cut like the model's own data. The code c
comes from the encoder, except in the row with refine_c.

Columns:
- PSNR in dB, mean and standard error over images. The VAE decoder's is for its own, smaller images.
- Root mean square of s and of the inactive dimensions of c. It is 1 under the prior.
- Response to edits: mean change of the encoder's reading of a dimension for a change of 1, over five dimensions. It
  falls if s fits one image too closely.
- Seconds per image.

--compare-threads times inversion in fresh processes with active and with passive OpenMP waiting. With active waiting,
the default of libgomp, idle threads spin on their cores. On a busy machine two threads are then many times slower than
one. The command line sets OMP_WAIT_POLICY=PASSIVE. Programs that import torch themselves can set it in the environment.
"""

import argparse
import os
import subprocess
import sys
import time

import torch
from torch import Tensor

import idgan
from idgan.data import open_dataset
from idgan.images import encoder_view, psnr

DRAWS = 64
EDIT = 1.5

TIMED = """
import sys, time, torch, idgan
torch.set_num_threads(int(sys.argv[2]))
g = idgan.load(sys.argv[1], device="cpu")
x = g.sample(n=2, seed=0)
g.invert(x, steps=1, progress=False)
start, cpu = time.perf_counter(), time.process_time()
g.invert(x, steps=20, progress=False)
print(f"{time.perf_counter() - start:.1f} {time.process_time() - cpu:.1f}")
"""


def compare_threads(model: str, counts: list[int]) -> None:
    """Print the time of one inversion for each number of threads and both ways of waiting."""
    print(f"{'threads':>8}{'waiting':>10}{'seconds':>10}{'CPU s':>8}")
    for policy in ("ACTIVE", "PASSIVE"):
        for count in counts:
            command = [sys.executable, "-c", TIMED, model, str(count)]
            environment = os.environ | {"OMP_WAIT_POLICY": policy}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds, cpu = done.stdout.split()
            print(f"{count:>8}{policy.lower():>10}{seconds:>10}{cpu:>8}", flush=True)


def response(g: idgan.Sampler, c: Tensor, s: Tensor, dims: list[int]) -> float:
    """Mean change of the encoder's reading of a dimension for a change of 1 in c, over images and `dims`."""
    before = g.encode(g.sample(c, s))
    moved = [(g.encode(g.sample(g.changed(c, {d: EDIT}), s)) - before)[:, d] for d in dims]
    return torch.stack(moved).mean().item() / EDIT


def report(
    name: str,
    score: Tensor,
    g: idgan.Sampler | None = None,
    pair: tuple[Tensor, Tensor] | None = None,
    seconds: float | None = None,
) -> None:
    """Print one row: PSNR `score` (N,), statistics of the codes `pair` = (c, s), and `seconds` per image."""
    print(f"{name:<24}{score.mean():>8.2f} +-{score.std() / len(score) ** 0.5:5.2f}", end="")
    if g is not None and pair is not None:
        nuisance = torch.cat([pair[1], pair[0][:, ~g.active]], dim=1)
        print(f"{nuisance.square().mean().sqrt():>10.2f}{response(g, *pair, g.active_dims[:5]):>10.2f}", end="")
    print("" if seconds is None else f"{seconds:>12.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        required=True,
        help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file",
    )
    parser.add_argument("--data", help="folder, archive or prepared directory of images; by default the model's data")
    parser.add_argument("--images", type=int, default=32, help="number of images, chosen by the seed")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compare-threads", type=int, nargs="+", metavar="N", help="only compare numbers of threads")
    arguments = parser.parse_args()
    if arguments.compare_threads:
        compare_threads(arguments.model, arguments.compare_threads)
        return
    torch.set_num_threads(arguments.threads)

    g = idgan.load(arguments.model)
    dataset = open_dataset(str(g.info.get("data")), arguments.data)
    rng = torch.Generator().manual_seed(arguments.seed)
    chosen = torch.randperm(len(dataset), generator=rng)[: arguments.images].sort().values
    x = dataset.images(chosen, torch.Generator().manual_seed(arguments.seed)).to(g.device)
    name = arguments.data or g.info.get("data")
    print(f"{g}\n{len(x)} of the {len(dataset):,} images of {name}, seed {arguments.seed}")

    code = g.encode(x)
    draws = [g.complete(code, seed=seed) for seed in range(DRAWS)]
    scores = torch.stack([psnr(g.sample(*pair), x) for pair in draws])
    columns = torch.arange(len(x))
    best_c, best_s = (torch.stack(parts)[scores.argmax(0), columns] for parts in zip(*draws))
    decoder = psnr(g.decode(g.posterior(x).mean), encoder_view(x, g.config.vae.resolution))
    print(f"{'':<24}{'PSNR, dB':>16}{'rms of s':>10}{'response':>10}{'s per image':>12}")
    report("VAE decoder", decoder)
    report("random s, mean of 64", scores.mean(0), g, draws[0])
    report("best of 64 s", scores.max(0).values, g, (best_c, best_s))
    for name, refine in ("invert", False), ("invert, refine_c", True):
        start = time.perf_counter()
        pair = g.invert(x, steps=arguments.steps, restarts=arguments.restarts, refine_c=refine, seed=arguments.seed)
        report(name, psnr(g.sample(*pair), x), g, pair, (time.perf_counter() - start) / len(x))


if __name__ == "__main__":
    main()
