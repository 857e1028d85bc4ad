"""The subject of a measurement: a sampler, its data set, and the options."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from idgan.data import Dataset, content_key
from idgan.data.directory import data_directory
from idgan.errors import InvalidInputError
from idgan.evaluation.extractors import FeatureExtractor
from idgan.evaluation.grid_codes import GridCodes, codes_file
from idgan.images import default_batch_size, encoder_view
from idgan.metrics.result import MetricResult
from idgan.networks import Posterior
from idgan.progress import progress as progress_bar
from idgan.sampler import Sampler

__all__ = ["DEFAULT_SAMPLES", "MAX_SAMPLES", "Prior", "Subject"]

Prior = Literal["aggregated", "normal"]

DEFAULT_SAMPLES = 50_000
"""Generated images, and real ones, behind a Fréchet distance: the paper's number."""
MAX_SAMPLES = 10_000
"""Most samples of the metrics that need no more: alignment, r_id, kid, gilbo."""


class Subject:
    """A sampler on its data set, with the options of a measurement. Each metric is a function of a `Subject`.

    Costly intermediate results that several metrics share are computed once, at the first use.

    Attributes:
        sampler: the `Sampler` that is measured.
        dataset: its data set. None only if no metric reads data.
        seed: seed of all random numbers.
        progress: whether to show progress.
        prior: distribution of c, "aggregated" or "normal".
        samples: number of images behind a distance between sets of images.
        extractor: the feature network, on the sampler's device. None if no metric needs it.
        gilbo_options: options of `idgan.metrics.gilbo`.
        variance_points: random points behind the global variance of fvm. None takes the whole grid.
    """

    def __init__(
        self,
        sampler: Sampler,
        dataset: Dataset | None,
        seed: int,
        progress: bool,
        *,
        prior: Prior = "aggregated",
        samples: int = DEFAULT_SAMPLES,
        extractor: FeatureExtractor | None = None,
        gilbo_options: Mapping[str, Any] | None = None,
        variance_points: int | None = None,
    ) -> None:
        self.sampler = sampler
        self.dataset: Dataset = dataset  # type: ignore[assignment]  # a metric that reads no data does not look at it
        self.seed = seed
        self.progress = progress
        self.prior = prior
        self.samples = samples
        self.extractor = extractor
        self.gilbo_options = dict(gilbo_options or {})
        self.variance_points = variance_points

    @cached_property
    def content(self) -> str:
        """Hash that identifies the data set."""
        return content_key(self.dataset)

    @cached_property
    def codes(self) -> GridCodes:
        """Mean codes of the data set's images."""
        vae = self.sampler.vae
        path = codes_file(vae, self.dataset, data_directory() / "statistics")
        return GridCodes(vae, self.dataset, self.sampler.device, self.progress, path)

    def on_grid(self, metric: Callable[..., MetricResult], **options: Any) -> MetricResult:
        """The result of `metric(encode, factor_grid, seed=..., **options)` on the data set's codes."""
        result = metric(self.codes, self.codes.factor_grid, seed=self.seed, **options)
        if self.dataset.stochastic:
            return replace(result, protocol=f"{result.protocol}; noise drawn by image index")
        return result

    def generated_images(self, count: int, part: str = "generator") -> Iterator[Tensor]:
        """Yield `count` generated images in batches (n, C, H, W) in [0, 1], with c and s drawn by prior and seed.

        Args:
            part: "generator" gives G(s, c). "decoder" gives the VAE decoder's images of the same codes.
        """
        sampler = self.sampler
        c, s = sampler.codes(count, self.seed, self.prior)
        if part == "generator":
            images = sampler.render(c, s)
        elif part == "decoder":
            images = (sampler.decode(few) for few in c.split(default_batch_size(sampler.resolution)))
        else:
            raise InvalidInputError(f"part must be generator or decoder, got {part!r}")
        with progress_bar(count, f"images of the {part}", "image", self.progress, leave=False) as bar:
            for batch in images:
                yield batch
                bar.update(len(batch))

    @cached_property
    @torch.no_grad()
    def read_back(self) -> tuple[Tensor, Posterior]:
        """Up to `MAX_SAMPLES` codes c (N, c_dim), and the encoder's `Posterior` of G(s, c), on the CPU."""
        sampler, vae = self.sampler, self.sampler.vae
        count = min(self.samples, MAX_SAMPLES)
        views = (encoder_view(images, vae.config.resolution) for images in self.generated_images(count))
        posterior = Posterior.cat([vae.encode(view.to(sampler.dtype)) for view in views])
        c, _ = sampler.codes(count, self.seed, self.prior)
        return c.cpu(), Posterior(posterior.mean.cpu(), posterior.logvar.cpu())
