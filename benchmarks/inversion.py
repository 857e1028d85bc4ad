"""Quality and time of inversion: with a random s, the best of 64, the s that inversion finds, and a tuned generator.

    python benchmarks/inversion.py --model celeba-64-w16 --data FOLDER [--last 1000] [--images 64]
    python benchmarks/inversion.py --model celeba-64-w16 --compare-threads 1 2

--data is a folder or an archive of images that the model was not trained on, cut like the model's own data. --last
takes the images from the last N of them. The code c comes from the encoder.

Columns. A number after +- is the standard error over images.
- PSNR in dB. The VAE decoder's is for its own, smaller images.
- Perceptual distance: mean squared distance of normalized features of EfficientNet-Lite0, over four scales, as in LPIPS
  without its learned weights. The image is enlarged to 128 pixels. The discriminator and the search do not use this
  network. It needs the extra "metrics".
- Identity distance: distance of dlib's 128 face features. Its authors take faces at less than 0.6 for one person. Of
  150 pairs of CelebA's images at 64 pixels, 86% of one person and 1% of two persons are closer than 0.6 (means 0.50 and
  0.83). It needs the extra "faces".
- Same: share of images with an identity distance below 0.6.
- Ratio: identity distance, relative to the mean distance of the images of the sample to each other.
- Root mean square of s and of the inactive dimensions of c. It is 1 under the prior.
- Response to edits: mean change of the encoder's reading of a dimension for a change of 1, over five dimensions. It
  falls if s or the generator fits one image too closely.
- Edited: identity distance between the image and these five edits of it.
- Seconds and CPU seconds per image.

--compare-threads times inversion and tuning in fresh processes with active and with passive OpenMP waiting. Threads
wait for each other after every layer. With active waiting, the default of libgomp, idle threads spin on their cores. On
a busy machine two threads are then many times slower than one. `import idgan` sets OMP_WAIT_POLICY=PASSIVE, which helps
if it comes before `import torch`. On a very busy machine one thread is still faster, and the commands choose it.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import idgan  # before torch: it sets how OpenMP waits

# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from idgan.data import open_dataset
from idgan.errors import MissingDependencyError
from idgan.images import encoder_view, psnr, to_pil
from idgan.networks.pyramids import open_pyramid

DRAWS = 64
EDIT = 1.5

SAME_PERSON = 0.6
FACE_SIDE = 256
"""Side in pixels at which faces are looked at."""

TIMED = """
import sys, time, torch, idgan
torch.set_num_threads(int(sys.argv[2]))
steps = int(sys.argv[3])
g = idgan.load(sys.argv[1], device="cpu")
x = g.sample(n=1, seed=0)
pair = g.invert(x, steps=1, progress=False)
times = []
for call in (lambda: g.invert(x, steps=steps, progress=False), lambda: g.tuned(x, *pair, steps=steps, progress=False)):
    start, cpu = time.perf_counter(), time.process_time()
    call()
    times += [time.perf_counter() - start, time.process_time() - cpu]
print(*(f"{seconds:.1f}" for seconds in times))
"""


def compare_threads(model: str, counts: list[int], steps: int) -> None:
    """Print the time of one inversion and of one tuning for each number of threads and both ways of waiting."""
    print(f"{'threads':>8}{'waiting':>10}{'invert, s':>11}{'CPU s':>8}{'tune, s':>10}{'CPU s':>8}")
    for policy in ("ACTIVE", "PASSIVE"):
        for count in counts:
            command = [sys.executable, "-c", TIMED, model, str(count), str(steps)]
            environment = os.environ | {"OMP_WAIT_POLICY": policy}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds, cpu, tuning, tuning_cpu = done.stdout.split()
            print(f"{count:>8}{policy.lower():>10}{seconds:>11}{cpu:>8}{tuning:>10}{tuning_cpu:>8}", flush=True)


Measure = Callable[[Tensor], Tensor]
"""Function of images (N, 3, H, W) to a feature (N, F). Distances of features are Euclidean."""


def perceptual() -> Measure | None:
    """Normalized features of EfficientNet-Lite0. Their squared distance is the perceptual distance."""
    try:
        network = open_pyramid("efficientnet-lite0")
    except MissingDependencyError:
        return None

    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        x = 2 * F.interpolate(x, (128, 128), mode="bilinear", align_corners=False) - 1
        parts = []
        for maps in network(x):
            normal = maps / (maps.square().sum(1, keepdim=True) + 1e-6).sqrt()
            parts.append(normal.flatten(1) / (len(network.channels) * maps[0, 0].numel()) ** 0.5)
        return torch.cat(parts, dim=1)

    return features


def identity() -> Measure | None:
    """dlib's 128 face features. Where its detector finds no face, the frame of CelebA's faces is taken."""
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or importlib.util.find_spec("dlib") is None:
        return None
    import dlib

    folder = Path(next(iter(package.submodule_search_locations or []))) / "models"
    detector = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))
    frame = dlib.rectangle(50, 66, 206, 222)

    def features(x: Tensor) -> Tensor:
        rows = []
        for picture in to_pil(x):
            pixels = np.asarray(picture.convert("RGB").resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BICUBIC))
            box = max(detector(pixels, 0), key=lambda box: box.area(), default=frame)
            rows.append(list(network.compute_face_descriptor(pixels, landmarks(pixels, box))))
        return torch.tensor(rows)

    return features


class Report:
    """Prints one row for each way to choose codes."""

    def __init__(self, g: idgan.Sampler, x: Tensor) -> None:
        self.g, self.x = g, x
        self.dims = g.active_dims[:5]
        color = x.shape[1] == 3
        self.measures = {"perceptual": perceptual(), "identity": identity()} if color else {}
        self.measures = {name: measure for name, measure in self.measures.items() if measure is not None}
        self.targets = {name: measure(x) for name, measure in self.measures.items()}
        heading = f"{'':<24}{'PSNR, dB':>16}"
        if "perceptual" in self.measures:
            heading += f"{'perceptual':>12}"
        if "identity" in self.measures:
            apart = torch.pdist(self.targets["identity"])
            self.apart = apart.mean()
            print(
                f"identity distance of two images of the sample: {apart.mean():.3f}, {(apart < SAME_PERSON).sum()} of "
                f"{len(apart)} pairs below {SAME_PERSON}"
            )
            heading += f"{'identity':>16}{'same':>6}{'ratio':>7}{'edited':>8}"
        print(f"{heading}{'rms of s':>10}{'response':>10}{'s':>8}{'CPU s':>8}")

    def row(
        self,
        name: str,
        drawn: Tensor,
        pair: tuple[Tensor, Tensor] | None = None,
        edited: list[Tensor] | None = None,
        seconds: tuple[float, float] | None = None,
    ) -> None:
        """Print the row of the images `drawn` (N, C, H, W) of `pair` = (c, s), and of their edits in each dimension."""
        x = encoder_view(self.x, drawn.shape[-1])
        score = psnr(drawn, x)
        text = f"{name:<24}{score.mean():>8.2f} +-{score.std() / len(score) ** 0.5:5.2f}"
        distance = {key: (measure(drawn) - self.targets[key]).norm(dim=1) for key, measure in self.measures.items()}
        if "perceptual" in distance:
            text += f"{distance['perceptual'].square().mean():>12.3f}"
        if "identity" in distance:
            apart = distance["identity"]
            same = (apart < SAME_PERSON).float().mean()
            text += f"{apart.mean():>8.3f} +-{apart.std() / len(apart) ** 0.5:5.3f}{same:>6.2f}"
            text += f"{apart.mean() / self.apart:>7.2f}"
            moved = [(self.measures["identity"](y) - self.targets["identity"]).norm(dim=1) for y in edited or []]
            text += f"{torch.stack(moved).mean():>8.3f}" if moved else " " * 8
        if pair is not None and edited is not None:
            nuisance = torch.cat([pair[1], pair[0][:, ~self.g.active]], dim=1)
            before = self.g.encode(drawn)
            steps = [(self.g.encode(y) - before)[:, dim] for y, dim in zip(edited, self.dims)]
            text += f"{nuisance.square().mean().sqrt():>10.2f}{torch.stack(steps).mean() / EDIT:>10.2f}"
        print(text + ("" if seconds is None else f"{seconds[0]:>8.1f}{seconds[1]:>8.1f}"), flush=True)

    def of(self, name: str, pair: tuple[Tensor, Tensor], seconds: tuple[float, float] | None = None) -> None:
        """Print the row of the pair (c, s)."""
        c, s = pair
        edited = [self.g.sample(self.g.changed(c, {dim: EDIT}), s) for dim in self.dims]
        self.row(name, self.g.sample(c, s), pair, edited, seconds)


def timed(call: Callable[[], Any], count: int) -> tuple[Any, tuple[float, float]]:
    """The result of `call`, and its time and CPU time in seconds for each of `count` images."""
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, ((time.perf_counter() - start) / count, (time.process_time() - cpu) / count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        required=True,
        help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file",
    )
    parser.add_argument("--data", help="folder, archive or prepared directory of images; by default the model's data")
    parser.add_argument("--images", type=int, default=64, help="number of images, chosen by the seed")
    parser.add_argument("--last", type=int, metavar="N", help="choose from the last N images of the data")
    parser.add_argument("--steps", type=int, default=150, help="steps of the search, and of tuning")
    parser.add_argument("--tuned", type=int, metavar="N", help="tune for N of the images only")
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compare-threads", type=int, nargs="+", metavar="N", help="only compare numbers of threads")
    arguments = parser.parse_args()
    if arguments.compare_threads:
        compare_threads(arguments.model, arguments.compare_threads, arguments.steps)
        return
    torch.set_num_threads(arguments.threads)

    g = idgan.load(arguments.model)
    dataset = open_dataset(str(g.info.get("data")), arguments.data)
    rng = torch.Generator().manual_seed(arguments.seed)
    first = 0 if arguments.last is None else len(dataset) - arguments.last
    chosen = first + torch.randperm(len(dataset) - first, generator=rng)[: arguments.images].sort().values
    x = dataset.images(chosen, torch.Generator().manual_seed(arguments.seed)).to(g.device)
    name = arguments.data or g.info.get("data")
    print(f"{g}\n{len(x)} of the last {len(dataset) - first:,} images of {name}, seed {arguments.seed}")

    report = Report(g, x)
    code = g.encode(x)
    draws = [g.complete(code, seed=seed) for seed in range(DRAWS)]
    scores = torch.stack([psnr(g.sample(*pair), x) for pair in draws])
    columns = torch.arange(len(x))
    best_c, best_s = (torch.stack(parts)[scores.argmax(0), columns] for parts in zip(*draws))
    report.row("VAE decoder", g.decode(g.posterior(x).mean))
    print(f"{'random s, mean of 64':<24}{scores.mean():>8.2f}")
    report.of("random s", draws[0])
    report.of("best of 64 s", (best_c, best_s))
    options = {"steps": arguments.steps, "seed": arguments.seed}
    pair, seconds = timed(lambda: g.invert(x, restarts=arguments.restarts, **options), len(x))
    report.of("invert", pair, seconds)
    few = torch.linspace(0, len(x) - 1, min(len(x), arguments.tuned or len(x))).round().long()
    if not arguments.steps or arguments.tuned == 0:
        return
    x, c, s = x[few], pair[0][few], pair[1][few]
    report = Report(g, x)
    report.of("invert, same images", (c, s))
    drawn, edits, spent = [], [], []
    for row in zip(x.split(1), c.split(1), s.split(1)):
        own, time_of_row = timed(partial(g.tuned, *row, progress=False, **options), 1)
        drawn.append(own.sample(*row[1:]))
        edits.append([own.sample(own.changed(row[1], {dim: EDIT}), row[2]) for dim in report.dims])
        spent.append(time_of_row)
    total = tuple(sum(times) / len(x) + before for times, before in zip(zip(*spent), seconds))
    report.row("invert and tune", torch.cat(drawn), (c, s), [torch.cat(rows) for rows in zip(*edits)], total)


if __name__ == "__main__":
    main()
