"""Metrics against their obvious alternatives. Each pair is measured in one run on one thread, in CPU time.

    python benchmarks/metrics.py [NAME ...] [--values 16]

NAME is mig, fvm, sap, images, statistics, frechet, kid, r_id or codes. The default is all. `codes` encodes all 737,280
images of dSprites, which takes minutes. With `--values 16` it takes at most 16 values of each factor, 73,728 images.
Needs the extra `metrics`.
"""

import argparse
import os
import resource

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import tracemalloc

import numpy as np
import torch
from scipy.linalg import sqrtm
from sklearn.metrics import mutual_info_score
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

import idgan
from idgan.data import ColorDSprites, DSprites
from idgan.data.dataset import one_at_a_time
from idgan.data.factors import FactorGrid
from idgan.evaluation.grid_codes import GridCodes, mean_codes, thinned_grid
from idgan.metrics import (
    FeatureStatistics,
    factor_vae_metric,
    frechet_distance,
    kid,
    mixture_log_density,
    mutual_information_gap,
    separated_attribute_predictability,
)
from idgan.metrics.codes import sample_codes
from idgan.metrics.mig import discrete_mutual_information, discretize

GRID = FactorGrid((3, 6, 40, 32, 32), ("shape", "scale", "orientation", "position_x", "position_y"))


def best_of(repeats, function):
    """Shortest CPU time of `repeats` calls in seconds, and the last result. A busy machine hardly changes CPU time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def report(what, ours, other, name):
    print(f"{what:<58} {ours * 1e3:10.1f} ms   {name}: {other * 1e3:10.1f} ms   {other / ours:6.1f} x")


def mutual_information():
    rng = torch.Generator().manual_seed(0)
    codes, factors = sample_codes(lambda indices: torch.randn(len(indices), 10, generator=rng), GRID, 10_000, rng)
    labels = discretize(codes, 20)

    def loops():
        return [[mutual_info_score(factor, label) for factor in factors.T] for label in labels.T]

    ours, (information, _) = best_of(5, lambda: discrete_mutual_information(labels, factors))
    theirs, expected = best_of(3, loops)
    np.testing.assert_allclose(information, expected, atol=1e-12)
    report("MIG: mutual information, 10,000 points, 10 x 5", ours, theirs, "scikit-learn loop")


def factor_vae_votes():
    codes = torch.randn(len(GRID), 10)
    variance = codes.var(dim=0)

    def vote_by_vote():
        counts = np.zeros((10, len(GRID.sizes)))
        for _ in range(800):
            fixed = torch.randint(len(GRID.sizes), ()).item()
            factors = GRID.sample(100)
            factors[:, fixed] = factors[0, fixed]
            counts[(codes[GRID.indices(factors)].var(dim=0) / variance).argmin(), fixed] += 1
        return counts.max(axis=1).sum() / 800

    ours, result = best_of(
        3, lambda: factor_vae_metric(lambda indices: codes[indices], GRID, seed=0, variance_points=1000)
    )
    theirs, accuracy = best_of(3, vote_by_vote)
    assert abs(result.value - accuracy) < 0.08
    report("FVM: 800 votes of 100 through precomputed codes", ours, theirs, "a loop over votes")


def informative(indices):
    """Codes (N, 10) of `GRID`: five noisy factors and five dimensions of noise. The first index is the seed."""
    noise = torch.randn(len(indices), 10, generator=torch.Generator().manual_seed(int(indices[0])))
    factors = GRID.factors(indices) / torch.tensor(GRID.sizes)
    return torch.cat([3 * factors, torch.zeros(len(indices), 5)], 1) + 0.2 * noise


def separated_predictability():
    sap, _ = best_of(1, lambda: separated_attribute_predictability(informative, GRID, seed=0))
    mig, _ = best_of(1, lambda: mutual_information_gap(informative, GRID, seed=0))
    report("MIG, with its 50 resamples, against SAP", mig, sap, "SAP: scikit-learn's LinearSVC 50 times")


class Thinned:
    """dSprites with at most `max_values` values of each factor."""

    resolution, image_channels, stochastic = 64, 1, False

    def __init__(self, max_values):
        self.dataset = DSprites()
        self.factors, self.indices = thinned_grid(self.dataset.factors, max_values)

    def __len__(self):
        return len(self.factors)

    def images(self, indices, rng=None):
        return self.dataset.images(self.indices[indices])


def codes_of_the_points(values):
    """MIG of the embedded encoder: images encoded when their code is asked for, against all images encoded first."""
    vae, dataset = idgan.load("dsprites", device="cpu").vae, Thinned(values)

    def by_points():
        return mutual_information_gap(GridCodes(vae, dataset, "cpu", progress=False), dataset.factors, seed=0)

    def by_table():
        table = mean_codes(vae, dataset, torch.arange(len(dataset)), "cpu")
        return mutual_information_gap(table.__getitem__, dataset.factors, seed=0)

    mean_codes(vae, dataset, torch.arange(1024), "cpu")  # prepares kernels
    ours, result = best_of(1, by_points)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    theirs, expected = best_of(1, by_table)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert result == expected  # to the bit
    report(f"MIG: codes of its points, of {len(dataset):,} images", ours, theirs, "codes of all images")
    print(f"{'  all images in a stream':<58} peak memory grew by {grown:.0f} MB;", end="")
    print(f" the images are {len(dataset) * 64 * 64 * 4 / 2**20:,.0f} MB")


def noisy_images():
    """Images of a noisy data set, each with noise of its own: sprites rendered together, against one at a time."""
    dataset, indices = ColorDSprites(), torch.randint(len(GRID), (1024,))

    def generators():
        return [torch.Generator().manual_seed(int(i)) for i in indices]

    ours, images = best_of(5, lambda: dataset.images_apart(indices, generators()))
    theirs, expected = best_of(5, lambda: one_at_a_time(dataset, indices, generators()))
    assert torch.equal(images, expected)
    report("images of Color-dSprites: 1,024 with noise of their own", ours, theirs, "one at a time")


def streaming_statistics():
    def batches():
        """20,000 x 1,024 features, drawn a batch at a time."""
        random = np.random.default_rng(0)
        return (random.standard_normal((500, 1024), dtype=np.float32) for _ in range(40))

    def streamed():
        statistics = FeatureStatistics()
        for features in batches():
            statistics.update(features)
        return statistics.covariance

    def whole():
        return np.cov(np.concatenate(list(batches())), rowvar=False, dtype=np.float64)

    ours, covariance = best_of(2, streamed)
    theirs, expected = best_of(2, whole)
    np.testing.assert_allclose(covariance, expected, atol=1e-10)
    report("FID statistics: 20,000 x 1,024 in batches of 500", ours, theirs, "np.cov of all")
    print(f"{'  peak memory':<58} {peak(streamed):10.1f} MB   np.cov of all: {peak(whole):10.1f} MB")


def peak(function):
    """Peak allocation of `function` in megabytes."""
    tracemalloc.start()
    function()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**20


def distance():
    random = np.random.default_rng(0)
    for samples in (4000, 200):
        a, b = (FeatureStatistics().update(random.normal(size=(samples, 512)) + shift) for shift in (0, 0.1))

        def by_square_root(a=a, b=b):
            root = sqrtm(a.covariance @ b.covariance).real
            return np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root)

        ours, value = best_of(2, lambda a=a, b=b: frechet_distance(a, b))
        theirs, other = best_of(2, by_square_root)
        report(f"Fréchet distance: {samples:,} samples of 512", ours, theirs, "scipy sqrtm")
        print(f"{'  value':<58} {value:13.6f}   scipy sqrtm: {other:13.6f}")


def kernel_distance():
    random = np.random.default_rng(0)
    real, fake = (random.normal(size=(10_000, 256)) + shift for shift in (0, 0.05))
    settings = {"kid_subsets": 100, "kid_subset_size": 1000, "verbose": False}
    tensors = [torch.from_numpy(features) for features in (real, fake)]
    ours, result = best_of(1, lambda: kid(real, fake, features="noise", seed=0))
    theirs, other = best_of(1, lambda: kid_features_to_metric(*tensors, **settings))
    assert abs(result.value - other[KEY_METRIC_KID_MEAN]) < 0.1 * result.value  # of other subsets
    report("KID: 100 subsets of 1,000 of 10,000 x 256", ours, theirs, "torch-fidelity")


def mixture_density():
    mean, logvar = torch.randn(4096, 10), torch.randn(4096, 10) - 3
    c = torch.randn(10_000, 10)

    def by_distributions():
        components = Independent(Normal(mean.double(), (logvar.double() / 2).exp()), 1)
        mixture = MixtureSameFamily(Categorical(torch.ones(len(mean), dtype=torch.float64)), components)
        return torch.cat([mixture.log_prob(part) for part in c.double().split(500)])

    ours, value = best_of(2, lambda: mixture_log_density(c, mean, logvar))
    theirs, expected = best_of(1, by_distributions)
    torch.testing.assert_close(value, expected)
    report("R_ID: density of 10,000 codes in a mixture of 4,096", ours, theirs, "torch.distributions")


BENCHMARKS = {
    "mig": mutual_information,
    "fvm": factor_vae_votes,
    "sap": separated_predictability,
    "images": noisy_images,
    "statistics": streaming_statistics,
    "frechet": distance,
    "kid": kernel_distance,
    "r_id": mixture_density,
    "codes": codes_of_the_points,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument(
        "--values",
        type=int,
        default=max(GRID.sizes),
        help="most values of each factor that `codes` encodes; all by default",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    torch.set_num_threads(1)
    for name in arguments.names or BENCHMARKS:
        torch.manual_seed(0)
        BENCHMARKS[name](*([arguments.values] if name == "codes" else []))
