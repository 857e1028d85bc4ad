"""Batches as a function of (seed, step): no loader state, so a resumed run and a run on more processes see the same data."""

from concurrent.futures import ThreadPoolExecutor

import torch

from idgan.errors import InvalidInputError
from idgan.rng import make_rng

__all__ = ["Batch", "Batches", "Prefetcher"]


class Batch:
    """The images of one training step on one process, and all the noise of that step.

    Noise is drawn for the global batch and each process takes its rows, so that the union over processes is what one would draw.
    `data_size`: how many images the data set has. `parts`: how many batches like this one are a step on this process (see `split`).
    """

    parts = 1

    def __init__(self, x, step, rng, rows, global_size, data_size):
        self.x = x
        self.step = step
        self.rng = rng
        self.rows = rows
        self.global_size = global_size
        self.data_size = data_size
        self._computed = {}
        self._pooled = {}

    def split(self, parts):
        """This batch as a list of `parts` equal ones: their rows of its images, and of all noise that it would draw from here on."""
        size, batches = len(self.x) // parts, []
        for start in range(0, parts * size, size):
            rng = torch.Generator().set_state(self.rng.get_state())
            rows = slice(self.rows.start + start, self.rows.start + start + size)
            batch = Batch(self.x[start : start + size], self.step, rng, rows, self.global_size, self.data_size)
            batch.parts, batch._pooled = parts, self._pooled
            batches.append(batch)
        return batches

    def pooled(self, name, value):
        """The mean of the scalar tensor `value` over the parts of the step, for what must follow the whole batch; None before the last part."""
        values = self._pooled.setdefault(name, [])
        values.append(value)
        return torch.stack(self._pooled.pop(name)).mean() if len(values) == self.parts else None

    def normal(self, width):
        """N(0, I) noise, (N, width)."""
        return torch.randn(self.global_size, width, generator=self.rng)[self.rows].to(self.x.device)

    def uniform(self, width):
        """U(0, 1) noise, (N, width)."""
        return torch.rand(self.global_size, width, generator=self.rng)[self.rows].to(self.x.device)

    def once(self, name, make):
        """`make()`, computed at the first call for this batch and kept for the later phases."""
        if name not in self._computed:
            self._computed[name] = make()
        return self._computed[name]


class Batches:
    """`batches(step)` -> `Batch`: indices, images and noise of that step, whatever steps were asked for before.

    `dataset` is a data set: `images(indices, rng)` -> (N, C, H, W) in [0, 1]; one whose images vary from access to access says
    `stochastic = True`, and its images are made for the global batch so that their noise does not depend on the number of processes.
    `batch_size` is the global size, over all processes; `rank` of `world_size` takes its share of the rows, which `Batch.split` can part into
    `parts`. Images are drawn with replacement.
    `flip`: horizontal flips at random. `dequantize`: adds U(0, 1) / 256 to each pixel, one gray level.
    """

    def __init__(
        self, dataset, batch_size, seed, *, rank=0, world_size=1, parts=1, flip=False, dequantize=False, device="cpu"
    ):
        if batch_size % (world_size * parts):
            each = f" in {parts} parts each" if parts > 1 else ""
            raise InvalidInputError(
                f"a batch of {batch_size} cannot be shared equally by {world_size} processes{each}; choose a multiple of {world_size * parts}"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        share = batch_size // world_size
        self.rows = slice(rank * share, (rank + 1) * share)
        self.flip = flip
        self.dequantize = dequantize
        self.device = device

    def __call__(self, step):
        rng = make_rng(self.seed, step)
        indices = torch.randint(len(self.dataset), (self.batch_size,), generator=rng).to(self.device)
        if getattr(self.dataset, "stochastic", False):
            x = self.dataset.images(indices, rng)[self.rows]
        else:
            x = self.dataset.images(indices[self.rows])
        if self.flip:
            flipped = (torch.rand(self.batch_size, generator=rng) < 0.5)[self.rows].to(x.device)
            x = torch.where(flipped[:, None, None, None], x.flip(3), x)
        if self.dequantize:
            noise = torch.rand(self.batch_size, *x.shape[1:], generator=rng)[self.rows]
            x = x + noise.to(x.device) / 256
        return Batch(x, step, rng, self.rows, self.batch_size, len(self.dataset))


class Prefetcher:
    """Context manager over a `Batches`: a function of the step too, that makes the batch of the next step while the caller computes.

    It does so only for a dataset that says `streams = True`, in one thread of its own, and never more than one batch ahead. Batches are the
    same with it and without, and so are the errors: that of a batch made ahead comes when the batch is asked for. `steps`: where to end.
    """

    def __init__(self, batches, steps):
        self.batches = batches
        self.steps = steps
        self._ahead = {}
        self._thread = (
            ThreadPoolExecutor(1, "read-ahead")
            if getattr(getattr(batches, "dataset", None), "streams", False)
            else None
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._thread:
            self._thread.shutdown(cancel_futures=True)

    def __call__(self, step):
        if self._thread is None:
            return self.batches(step)
        made, self._ahead = self._ahead.get(step), {}
        batch = made.result() if made else self.batches(step)
        if step + 1 < self.steps:
            self._ahead = {step + 1: self._thread.submit(self.batches, step + 1)}
        return batch
