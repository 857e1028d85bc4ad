"""Metrics against their obvious alternatives, each pair measured in one run on one thread: `python benchmarks/metrics.py`."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import tracemalloc

import numpy as np
import torch
from scipy.linalg import sqrtm
from sklearn.metrics import mutual_info_score

from idgan.data.factors import FactorGrid
from idgan.metrics import FeatureStatistics, factor_vae_metric, frechet_distance
from idgan.metrics.codes import sample_codes
from idgan.metrics.mig import discrete_mutual_information, discretize

GRID = FactorGrid((3, 6, 40, 32, 32), ("shape", "scale", "orientation", "position_x", "position_y"))


def best_of(repeats, function):
    """Shortest wall time in seconds of `repeats` calls, and the last answer."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = function()
        times.append(time.perf_counter() - start)
    return min(times), answer


def report(what, ours, other, name):
    print(f"{what:<58} {ours * 1e3:10.1f} ms   {name}: {other * 1e3:10.1f} ms   {other / ours:6.1f} x")


def mutual_information():
    generator = torch.Generator().manual_seed(0)
    codes, factors = sample_codes(lambda indices: torch.randn(len(indices), 10, generator=generator), GRID, 10_000, generator)
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

    ours, result = best_of(3, lambda: factor_vae_metric(lambda indices: codes[indices], GRID, seed=0, variance_points=1000))
    theirs, accuracy = best_of(3, vote_by_vote)
    assert abs(result.value - accuracy) < 0.08
    report("FVM: 800 votes of 100 through precomputed codes", ours, theirs, "a loop over votes")


def streaming_statistics():
    def batches():
        """20,000 x 1,024 features, made as they are asked for."""
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
    """Megabytes that `function` has allocated at its worst moment."""
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mutual_information()
    factor_vae_votes()
    streaming_statistics()
    distance()
