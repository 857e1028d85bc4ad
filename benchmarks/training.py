"""The effect of reading ahead, compiled networks and gradient accumulation on a training step: seconds, and ratios to
plain steps.

    python benchmarks/training.py [RECIPE] [--batch-size 16] [--images 512] [--wait 0.2] [--compile] [--rounds 8]

The networks use one thread. The variants take turns step by step, so that a busy machine slows all of them. Medians are
compared. Images are JPEG files of noise, decoded at every access. `--wait` adds the seconds that a slow disk needs for
a batch. Reading ahead hides this wait, and the decoding if a core is free. Memory is the maximum of stage 2, computed
from shapes. `--compile` needs a C++ compiler and takes minutes.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from idgan.data import ImageFolder, Prefetcher
from idgan.recipes import override, recipe_of
from idgan.training.distributed import process_group
from idgan.training.estimate import cost_of, objective_of
from idgan.training.loop import Trainer
from idgan.training.setup import batches_of, cpu_settings

STEPS = 1_000_000  # end of the schedule, which the benchmark does not reach


def write_photos(directory: str, count: int, side: int) -> str:
    """Write `count` JPEG files of noise, `side` px wide, into `directory`, and return it."""
    for i in range(count):
        noise = torch.randint(
            256, (side // 8, side // 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(i)
        )
        Image.fromarray(noise.numpy()).resize((side, side)).save(Path(directory) / f"{i}.jpg")
    return directory


class OnSlowDisk(ImageFolder):
    """An `ImageFolder` that waits before each batch."""

    wait = 0.0

    def pixels(self, rows):
        time.sleep(self.wait)
        return super().pixels(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="celeba-64-w16")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--side", type=int, default=512, help="size of the images on disk")
    parser.add_argument("--wait", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    recipe = override(recipe_of(arguments.recipe), {"gan_stage.batch_size": arguments.batch_size})
    accumulated = override(recipe, {"gan_stage.accumulation_steps": 4})
    variants = {"plain": (recipe, {}), "read ahead": (recipe, {}), "4 parts": (accumulated, {})}
    if arguments.compile:
        variants["compiled"] = recipe, {"compile": True}

    with tempfile.TemporaryDirectory() as directory, cpu_settings(threads=1):
        dataset = OnSlowDisk(write_photos(directory, arguments.images, arguments.side), recipe.generator.resolution)
        dataset.wait = arguments.wait
        steps = {}
        for name, (settings, options) in variants.items():
            batches = batches_of(settings, "gan", dataset, process_group("cpu"))
            trainer = Trainer(
                settings.gan_stage, objective_of(settings, "gan"), batches, None, identity={}, report=None, **options
            )
            ahead = Prefetcher(batches, STEPS) if name == "read ahead" else batches
            steps[name] = lambda step, trainer=trainer, ahead=ahead: trainer.train_step(ahead(step))
        times = {name: [] for name in variants}
        first = {}
        for step in range(1, arguments.rounds + 2):  # from 1, because step 0 has lazy R1
            for name, run in steps.items():
                started = time.perf_counter()
                run(step)
                if step == 1:
                    first[name] = time.perf_counter() - started  # includes preparing kernels or compiling
                else:
                    times[name].append(time.perf_counter() - started)
        started = time.perf_counter()
        for step in range(1, 6):
            batches(step)
        reading = (time.perf_counter() - started) / 5

    print(
        f"stage 2 of {recipe.name}, batch {arguments.batch_size}, JPEG of {arguments.side} px; "
        f"reading a batch takes {reading:.3f} s"
    )
    print(f"{'':<14}{'first step s':>14}{'step s':>10}{'ratio':>8}{'memory MiB':>12}")
    plain = statistics.median(times["plain"])
    for name, (settings, _) in variants.items():
        median = statistics.median(times[name])
        memory = cost_of(settings, "gan").memory / 2**20
        print(f"{name:<14}{first[name]:>14.2f}{median:>10.3f}{median / plain:>8.2f}{memory:>12.0f}")


if __name__ == "__main__":
    main()
