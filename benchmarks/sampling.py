"""Speed and peak memory of `Sampler.sample`, next to a bare call of the generator.

    python benchmarks/sampling.py [NAME ...] [--batches 4]

The networks have random weights and run on one thread. The bare generator computes all images in one call, the sampler
computes them in batches. Both take turns, so that a busy machine slows both. Medians are compared. Peak memory counts
from the memory in use before. Needs Linux with glibc.
"""

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import idgan

BATCH_SIZES = {"dsprites": 256, "celeba-64": 16, "celeba-128": 4, "celeba-256": 1, "celebahq-1024": 1}
ROUNDS = 5


def measured(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds of one call of `function`, and peak memory in MiB beyond the memory in use before."""
    ctypes.CDLL(None).malloc_trim(0)  # return freed memory to the operating system
    Path("/proc/self/clear_refs").write_text("5")  # reset the high-water mark
    before, start = resident("VmRSS"), time.perf_counter()
    function()
    return time.perf_counter() - start, resident("VmHWM") - before


def resident(field: str) -> float:
    """MiB in a field of /proc/self/status."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def compare(name: str, batches: int) -> None:
    """Print one line about the model `name`."""
    g, batch_size = idgan.load(name, pretrained=False, device="cpu"), BATCH_SIZES[name]
    n = batches * batch_size
    c, s = g.codes(n, seed=0)
    code = torch.cat([s, c], dim=1)

    @torch.no_grad()
    def bare() -> Tensor:
        return g.generator(code)

    def sampler() -> Tensor:
        return g.sample(c, s, batch_size=batch_size)

    torch.testing.assert_close(sampler(), (bare() + 1) / 2, rtol=0, atol=1e-4)  # these first calls also warm up
    rounds = [(*measured(bare), *measured(sampler)) for _ in range(ROUNDS)]
    seconds, memory, batched_seconds, batched_memory = map(statistics.median, zip(*rounds))
    print(f"{name:<14}{n:>7}{batch_size:>7}", end="")
    print(f"{n / seconds:>12.2f}{n / batched_seconds:>12.2f}{seconds / batched_seconds:>8.2f}", end="")
    print(f"{memory:>12.0f}{batched_memory:>12.0f}{batched_memory / memory:>8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BATCH_SIZES)}; all by default")
    parser.add_argument("--batches", type=int, default=4, help="number of batches that the sampler computes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = "".join(f"{name:>12}" for name in ("bare", "sampler")) + f"{'ratio':>8}"
    print(f"{'':<28}{'images per second':>24}{'':>8}{'peak MiB':>24}")
    print(f"{'model':<14}{'images':>7}{'batch':>7}{columns}{columns}")
    for name in arguments.names or BATCH_SIZES:
        compare(name, arguments.batches)


if __name__ == "__main__":
    main()
