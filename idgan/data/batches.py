"""Batches as a function of (seed, step).

No loader has a state, so a resumed run and a run on more processes see the same data.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from idgan.data.dataset import Dataset, check_dataset
from idgan.errors import InvalidInputError
from idgan.rng import make_rng

__all__ = ["Batch", "Batches", "Prefetcher"]

T = TypeVar("T")
B_co = TypeVar("B_co", covariant=True)


class Batch:
    """The images of one training step on one process, and all the noise of that step.

    Noise is drawn for the global batch, and each process takes its rows. Together, the processes draw what one process
    would draw.

    Attributes:
        x: the images, (N, C, H, W) in [0, 1].
        step: the training step.
        rng: the generator behind the noise.
        rows: the rows of the global batch that are this process's.
        global_size: images in the global batch.
        data_size: images in the data set.
        parts: batches like this one in a step on this process (see `split`).
    """

    def __init__(
        self, x: Tensor, step: int, rng: torch.Generator, rows: slice, global_size: int, data_size: int
    ) -> None:
        self.x = x
        self.step = step
        self.rng = rng
        self.rows = rows
        self.global_size = global_size
        self.data_size = data_size
        self.parts = 1
        self._computed: dict[str, object] = {}
        self._pooled: dict[str, list[Tensor]] = {}

    def split(self, parts: int) -> list["Batch"]:
        """This batch as a list of `parts` equal ones.

        Each has its rows of the images, and of all noise drawn from now on.
        """
        size, batches = len(self.x) // parts, []
        for start in range(0, parts * size, size):
            rng = torch.Generator().set_state(self.rng.get_state())
            rows = slice(self.rows.start + start, self.rows.start + start + size)
            batch = Batch(self.x[start : start + size], self.step, rng, rows, self.global_size, self.data_size)
            batch.parts, batch._pooled = parts, self._pooled
            batches.append(batch)
        return batches

    def pooled(self, name: str, value: Tensor) -> Tensor | None:
        """The mean of the scalar `value` over the parts of the step. None before the last part."""
        values = self._pooled.setdefault(name, [])
        values.append(value)
        return torch.stack(self._pooled.pop(name)).mean() if len(values) == self.parts else None

    def normal(self, width: int) -> Tensor:
        """N(0, I) noise, (N, width)."""
        noise = torch.randn(self.global_size, width, generator=self.rng, dtype=torch.float32, device="cpu")
        return on_device(noise[self.rows], self.x.device)

    def uniform(self, width: int) -> Tensor:
        """U(0, 1) noise, (N, width)."""
        noise = torch.rand(self.global_size, width, generator=self.rng, dtype=torch.float32, device="cpu")
        return on_device(noise[self.rows], self.x.device)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """`make()`, computed at the first call for this batch and kept for the later phases."""
        if name not in self._computed:
            self._computed[name] = make()
        return self._computed[name]  # type: ignore[return-value]


def on_device(tensor: Tensor, device: str | torch.device) -> Tensor:
    """The CPU tensor `tensor` on `device`. On CUDA, the copy runs while the caller goes on.

    A copy from memory that is not pinned first waits for everything that the GPU has to do.
    """
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Batches:
    """Function of the step: `batches(step)` is a `Batch` with the indices, images and noise of that step.

    It does not depend on the steps asked for before. Images are drawn with replacement. Those of a stochastic data set
    are made for the global batch, so that their noise does not depend on the number of processes.

    Args:
        dataset: the data set.
        batch_size: images in the global batch, over all processes.
        seed: seed of all random numbers.
        rank: number of this process. It takes its share of the rows.
        world_size: number of processes.
        parts: number of equal parts that `Batch.split` will make of a batch.
        flip: whether to flip images horizontally at random.
        dequantize: whether to add U(0, 1) / 256 to each pixel, one gray level.
        device: device of the images.

    Raises:
        InvalidInputError: `dataset` is not a data set, or the batch cannot be shared equally.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        parts: int = 1,
        flip: bool = False,
        dequantize: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        if batch_size % (world_size * parts):
            each = f" in {parts} parts each" if parts > 1 else ""
            raise InvalidInputError(
                f"a batch of {batch_size} cannot be shared equally by {world_size} processes{each}; "
                f"choose a multiple of {world_size * parts}"
            )
        self.dataset = check_dataset(dataset)
        self.batch_size = batch_size
        self.seed = seed
        share = batch_size // world_size
        self.rows = slice(rank * share, (rank + 1) * share)
        self.flip = flip
        self.dequantize = dequantize
        self.device = device

    @property
    def streams(self) -> bool:
        """Whether reading ahead pays, as the data set declares."""
        return self.dataset.streams

    def __call__(self, step: int) -> Batch:
        rng = make_rng(self.seed, step)
        indices = torch.randint(len(self.dataset), (self.batch_size,), generator=rng, device="cpu")
        if not self.streams:  # the images of other data sets are made on the device
            indices = on_device(indices, self.device)
        if self.dataset.stochastic:
            x = self.dataset.images(indices, rng)[self.rows]
        else:
            x = self.dataset.images(indices[self.rows])
        x = on_device(x, self.device) if self.streams else x
        if self.flip:
            draws = torch.rand(self.batch_size, generator=rng, dtype=torch.float32, device="cpu")
            flipped = on_device((draws < 0.5)[self.rows], x.device)
            x = torch.where(flipped[:, None, None, None], x.flip(3), x)
        if self.dequantize:
            shape = (self.batch_size, *x.shape[1:])
            noise = torch.rand(shape, generator=rng, dtype=torch.float32, device="cpu")[self.rows]
            x = x + on_device(noise, x.device) / 256
        return Batch(x, step, rng, self.rows, self.batch_size, len(self.dataset))

    def rng(self, step: int) -> torch.Generator:
        """A CPU generator for random numbers drawn before `step`. Its numbers are not those of the batch.

        It is the same on every process.
        """
        return make_rng(self.seed, step, 1)

    def images(self, count: int, rng: torch.Generator) -> Tensor:
        """`count` images (N, C, H, W) of the data set, drawn by `rng` with replacement, without flips or added noise.

        They are the same on every process.
        """
        indices = torch.randint(len(self.dataset), (count,), generator=rng, device="cpu").to(self.device)
        return self.dataset.images(indices, rng) if self.dataset.stochastic else self.dataset.images(indices)


class BatchFunction(Protocol[B_co]):
    """A function of the step, such as `Batches`. `streams`: whether reading ahead pays."""

    @property
    def streams(self) -> bool: ...

    def __call__(self, step: int, /) -> B_co: ...


class Prefetcher:
    """Context manager around `Batches`. It is the same function of the step, and makes the next batch while the caller
    computes.

    It reads ahead only if `batches.streams` is true, in one thread and by one batch at most. Batches and errors are the
    same as without it. The error of a batch that was made ahead is raised when that batch is asked for.

    Args:
        batches: function of the step.
        steps: number of steps. No batch past the last one is made ahead.
    """

    def __init__(self, batches: BatchFunction[Batch], steps: int) -> None:
        self.batches = batches
        self.steps = steps
        self._ahead: dict[int, Future[Batch]] = {}
        self._thread = ThreadPoolExecutor(1, "read-ahead") if batches.streams else None

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread:
            self._thread.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> Batch:
        if self._thread is None:
            return self.batches(step)
        made, self._ahead = self._ahead.get(step), {}
        batch = made.result() if made else self.batches(step)
        if step + 1 < self.steps:
            self._ahead = {step + 1: self._thread.submit(self.batches, step + 1)}
        return batch
