"""The cost of the synthetic data sets: the time of one batch, and its ratio to a training step of the VAE on it.

    python benchmarks/data.py [--scream PICTURE]

It uses one thread. Data sets and steps take turns, and medians are compared, so that a busy machine slows both alike.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from idgan.data.dsprites import DSprites
from idgan.data.dsprites_variants import ColorDSprites, NoisyDSprites, ScreamDSprites
from idgan.networks.vae import VAEConfig
from idgan.objectives import terms

BATCH_SIZE = 64
ROUNDS = 40


def datasets(picture):
    """Name -> data set."""
    return {
        "dsprites": DSprites(),
        "color-dsprites": ColorDSprites(),
        "noisy-dsprites": NoisyDSprites(),
        "scream-dsprites": ScreamDSprites(picture),
    }


def training_step(dataset):
    """A function that takes one training step of a VAE. All steps use one batch of `dataset`."""
    vae = VAEConfig(image_channels=dataset.image_channels).build()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-4)
    x = dataset.images(torch.randint(len(dataset), (BATCH_SIZE,)))

    def step():
        posterior = vae.encode(x)
        c = posterior.sample(torch.randn_like(posterior.mean))
        loss = terms.reconstruction_loss(vae.decode_logits(c), x, "bernoulli") + terms.kl_divergence(posterior)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def milliseconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return 1000 * (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scream", help="a file of the painting. Without it, a plain picture of its size is used, at the same cost"
    )
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as directory:
        stand_in = Path(directory) / "picture.png"
        Image.new("RGB", (512, 652)).save(stand_in)
        by_name = datasets(parser.parse_args().scream or stand_in)
    steps = {channels: training_step(dataset) for dataset in by_name.values() for channels in [dataset.image_channels]}

    times = {name: [] for name in [*by_name, *steps]}
    for _ in range(ROUNDS):
        for name, dataset in by_name.items():
            indices = torch.randint(len(dataset), (BATCH_SIZE,))
            times[name].append(milliseconds(dataset.images, indices))
        for channels, step in steps.items():
            times[channels].append(milliseconds(step))
    medians = {name: statistics.median(values[5:]) for name, values in times.items()}

    print(f"batch of {BATCH_SIZE}, one thread, median of {ROUNDS - 5}; share = batch / training step")
    print(f"{'data set':<18}{'batch ms':>10}{'step ms':>10}{'share':>9}")
    for name, dataset in by_name.items():
        step = medians[dataset.image_channels]
        print(f"{name:<18}{medians[name]:>10.2f}{step:>10.1f}{medians[name] / step:>9.1%}")


if __name__ == "__main__":
    main()
