"""What `Sampler.sample` costs beside a bare call of the generator: images a second, and peak memory.

    python benchmarks/sampling.py [NAME ...] [--batches 4]

Random weights, one thread. The bare generator makes all images in one call, the sampler the same ones a batch at a time. They take turns and
medians are compared, so that a busy machine slows them alike. Peak memory is counted from what was resident before; Linux with glibc only.
"""

import argparse
import ctypes
import statistics
import time
from pathlib import Path

import torch

import idgan

BATCH_SIZES = {"dsprites": 256, "celeba-64": 16, "celeba-128": 4, "celeba-256": 1, "celebahq-1024": 1}
ROUNDS = 5


def measured(function):
    """(seconds, peak MiB beyond what was resident before) of one call of `function`."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed goes back to the method
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before, start = resident("VmRSS"), time.perf_counter()
    function()
    return time.perf_counter() - start, resident("VmHWM") - before


def resident(field):
    """MiB of a field of /proc/self/status."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def compare(name, batches):
    """Print one line on the model `name`."""
    g, batch_size = idgan.load(name, pretrained=False, device="cpu"), BATCH_SIZES[name]
    n = batches * batch_size
    c, s = g.codes(n, seed=0)
    code = torch.cat([s, c], dim=1)

    @torch.no_grad()
    def bare():
        return g.generator(code)

    def sampler():
        return g.sample(c, s, batch_size=batch_size)

    torch.testing.assert_close(sampler(), (bare() + 1) / 2, rtol=0, atol=1e-4)  # and these first calls prepare kernels
    rounds = [(*measured(bare), *measured(sampler)) for _ in range(ROUNDS)]
    seconds, memory, batched_seconds, batched_memory = map(statistics.median, zip(*rounds))
    print(f"{name:<14}{n:>7}{batch_size:>7}", end="")
    print(f"{n / seconds:>12.2f}{n / batched_seconds:>12.2f}{seconds / batched_seconds:>8.2f}", end="")
    print(f"{memory:>12.0f}{batched_memory:>12.0f}{batched_memory / memory:>8.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BATCH_SIZES)}; all by default")
    parser.add_argument("--batches", type=int, default=4, help="how many batches the sampler makes of the images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':<14}{'':>7}{'':>7}{'images a second':>24}{'':>8}{'peak MiB':>24}")
    print(
        f"{'model':<14}{'images':>7}{'batch':>7}{'bare':>12}{'sampler':>12}{'ratio':>8}{'bare':>12}{'sampler':>12}{'ratio':>8}"
    )
    for name in arguments.names or BATCH_SIZES:
        compare(name, arguments.batches)


if __name__ == "__main__":
    main()
