import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies

from idgan.errors import InvalidInputError
from idgan.metrics import FeatureStatistics, fid, fid_infinity, frechet, frechet_distance


def statistics(features):
    return FeatureStatistics().update(features)


def with_moments(mean, variances):
    """Statistics whose mean and diagonal covariance are exactly these: two points on each axis."""
    dims = len(variances)
    axes = np.diag(np.sqrt(np.asarray(variances, dtype=float) * (2 * dims - 1) / 2))
    return statistics(np.concatenate([axes, -axes]) + mean)


@given(strategies.lists(strategies.integers(1, 40), min_size=1, max_size=6), strategies.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_streaming_and_merging_equal_one_shot(sizes, seed):
    features = 1000 + np.random.default_rng(seed).normal(size=(sum(sizes) + 1, 4))
    whole, streamed, merged = statistics(features), FeatureStatistics(), FeatureStatistics()
    for part in np.split(features, np.cumsum(sizes)):
        streamed.update(part)
        merged.merge(statistics(part))
    for other in (streamed, merged):
        assert other.count == len(features)
        np.testing.assert_allclose(other.mean, features.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(other.covariance, np.cov(features, rowvar=False), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(whole.covariance, np.cov(features, rowvar=False), rtol=1e-8, atol=1e-9)


def test_merging_leaves_the_other_alone():
    a, b = statistics(np.eye(3)), statistics(2 * np.eye(3))
    first = FeatureStatistics().merge(a)
    first.merge(b)
    np.testing.assert_array_equal(a.covariance, statistics(np.eye(3)).covariance)
    assert a.count == b.count == 3 and first.count == 6


def test_diagonal_gaussians_in_closed_form():
    a, b = with_moments([0, 1, 2, 3], [1, 4, 9, 0.01]), with_moments([1, 1, 0, 3], [4, 4, 1, 0.25])
    expected = (1 + 0 + 4 + 0) + (1 - 2) ** 2 + 0 + (3 - 1) ** 2 + (0.1 - 0.5) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("samples", [10, 500], ids=["fewer samples than dimensions", "more"])
def test_identical_sets_are_at_zero_and_a_shift_costs_its_square(samples):
    features = torch.randn(samples, 40) * 3
    shift = torch.randn(40)
    assert frechet_distance(statistics(features), statistics(features)) < 1e-10
    assert frechet_distance(statistics(features), statistics(features + shift)) == pytest.approx(
        shift.square().sum().item(), rel=1e-5
    )


def test_agrees_with_the_matrix_square_root():
    linalg = pytest.importorskip("scipy.linalg")
    random = np.random.default_rng(0)
    a, b = (statistics(random.normal(size=(300, 12)) @ random.normal(size=(12, 12)) + shift) for shift in (0, 0.5))
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_agrees_with_torch_fidelity():
    trusted = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    random = np.random.default_rng(0)
    sets = [random.normal(size=(400, 24)) @ random.normal(size=(24, 24)) + shift for shift in (0, 0.5)]
    theirs = [trusted.fid_features_to_statistics(torch.from_numpy(features)) for features in sets]
    streamed = [FeatureStatistics() for _ in sets]
    for ours, features, expected in zip(streamed, sets, theirs):
        for part in np.array_split(features, 7):
            ours.update(part)
        np.testing.assert_allclose(ours.mean, expected["mu"], rtol=1e-6)
        np.testing.assert_allclose(ours.covariance, expected["sigma"], rtol=1e-6, atol=1e-12)
    expected = trusted.fid_statistics_to_metric(*theirs, verbose=False)[trusted.KEY_METRIC_FID]
    assert frechet_distance(*streamed) == pytest.approx(expected, rel=1e-6)


def test_stored_statistics_go_on_where_they_were():
    a, b = np.random.default_rng(0).normal(size=(2, 20, 5))
    stored = FeatureStatistics.from_arrays(statistics(a).to_arrays()).update(b)
    expected = statistics(np.concatenate([a, b]))
    assert stored.count == 40
    np.testing.assert_allclose(stored.covariance, expected.covariance, rtol=1e-12)
    with pytest.raises(InvalidInputError, match="count must be an integer of 1 or more, got 0"):
        FeatureStatistics().to_arrays()


@pytest.mark.parametrize(
    "change",
    [
        {"count": np.array(0.0)},
        {"mean": np.zeros(4)},
        {"scatter": np.zeros((5, 4))},
        {"scatter": np.full((5, 5), np.nan)},
        {"more": np.zeros(1)},
    ],
)
def test_arrays_that_are_no_statistics_are_refused(change):
    arrays = statistics(np.random.default_rng(0).normal(size=(20, 5))).to_arrays() | change
    with pytest.raises(InvalidInputError, match="count"):
        FeatureStatistics.from_arrays(arrays)


@pytest.mark.parametrize("real, fake, complaint", [(1, 20, "real_images .* got 1"), (20, 1, "generated_images .* 1")])
def test_one_image_is_no_set(real, fake, complaint):
    x, y = np.random.default_rng(0).normal(size=(real, 3)), np.random.default_rng(1).normal(size=(fake, 3))
    with pytest.raises(InvalidInputError, match=complaint):
        fid(statistics(x), statistics(y), features="noise", seed=0)


def test_statistics_do_not_depend_on_torchs_defaults():
    x = torch.rand(40, 3)
    expected = statistics(x)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = statistics(x)
            result = fid_infinity(found, x.numpy(), features="noise", seed=0, smallest=10)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found.covariance, expected.covariance)
    assert result == fid_infinity(expected, x.numpy(), features="noise", seed=0, smallest=10)


def test_fewer_samples_than_dimensions_lose_no_digits():
    # tr (A B)^(1/2) is also the sum of the singular values of the 20 x 20 matrix X Y' of centered samples, over N - 1.
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 300)), random.normal(size=(20, 300)) + 0.1
    a, b = statistics(x), statistics(y)
    overlap = np.linalg.svd((x - a.mean) @ (y - b.mean).T, compute_uv=False).sum() / 19
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance) - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_a_flat_set_against_a_full_one_loses_no_digits():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(500, 100)), random.normal(size=(5, 100))
    a, b = statistics(x), statistics(y)
    overlap = np.linalg.svd((y - b.mean) @ np.linalg.cholesky(a.covariance) / 2, compute_uv=False).sum()
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance) - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_empty_dimensions_change_nothing():
    # Features of 6 dimensions, rotated into 200, are as far apart as before. Both covariances are then singular.
    random = np.random.default_rng(0)
    a, b = random.normal(size=(50, 6)), 2 * random.normal(size=(50, 6)) + 1
    embedding = np.linalg.qr(random.normal(size=(200, 6)))[0].T
    low, high = (
        frechet_distance(statistics(a), statistics(b)),
        frechet_distance(statistics(a @ embedding), statistics(b @ embedding)),
    )
    assert high == pytest.approx(low, rel=1e-10)


def test_orthogonal_supports_do_not_overlap():
    a, b = with_moments(np.zeros(4), [1, 2, 0, 0]), with_moments(np.zeros(4), [0, 0, 3, 4])
    assert frechet_distance(a, b) == pytest.approx(1 + 2 + 3 + 4, rel=1e-12)


def test_constant_features_differ_by_their_means():
    assert frechet_distance(statistics(np.zeros((3, 2))), statistics(np.ones((3, 2)))) == pytest.approx(2)


def test_fid_names_its_features_and_counts():
    result = fid(statistics(np.eye(3)), statistics(np.eye(3)[[0, 1]]), features="factor network v1", seed=3)
    assert result.protocol == "factor network v1; 3 real vs 2 generated" and result.samples == 2 and result.seed == 3


def in_parts(features, parts=10):
    return [statistics(features[part::parts]) for part in range(parts)]


def test_the_distance_of_parts_is_that_of_the_whole():
    real, fake = np.random.default_rng(0).normal(size=(2, 45, 3))
    options = {"features": "noise", "seed": 0}
    whole, parts = (
        fid(statistics(real), made, **options) for made in (statistics(fake), [*in_parts(fake), FeatureStatistics()])
    )
    assert parts.value == pytest.approx(whole.value, rel=1e-10)
    assert (parts.samples, parts.protocol, whole.confidence) == (45, whole.protocol, None)
    assert fid(statistics(real), [statistics(fake)], **options).confidence is None


@pytest.mark.parametrize("shift, least, most", [(1.0, 0.8, 1.25), (0.0, 0.9, 1.6)], ids=["apart", "alike: mostly bias"])
def test_confidence_is_the_deviation_over_other_generated_images(shift, least, most):
    random = np.random.default_rng(0)
    real = statistics(random.normal(size=(2000, 6)) * np.linspace(0.2, 2, 6))
    draws = [random.normal(size=(200, 6)) * np.linspace(0.2, 2, 6) * (1 + shift / 2) + shift for _ in range(120)]
    results = [fid(real, in_parts(fake), features="noise", seed=0) for fake in draws]
    stated = np.sqrt(np.mean([result.confidence**2 for result in results]))
    assert least < stated / np.std([result.value for result in results], ddof=1) < most


def test_confidence_stands_sets_that_do_not_vary():
    flat, random = statistics(np.ones((20, 3))), np.random.default_rng(0).normal(size=(40, 3))
    assert fid(flat, in_parts(random), features="", seed=0).confidence > 0
    assert fid(statistics(random), in_parts(np.ones((20, 3))), features="", seed=0).confidence == pytest.approx(
        0, abs=1e-12
    )
    apart = fid(
        with_moments(np.zeros(2), [1, 0]), [with_moments([0, i], [0, 1]) for i in range(3)], features="", seed=0
    )
    assert 0 < apart.confidence < 10


def test_extrapolation_removes_the_bias_of_few_samples():
    dims = 16
    real = with_moments(np.zeros(dims), np.ones(dims))
    fake = np.random.default_rng(1).normal(size=(4000, dims))
    biased = frechet_distance(real, statistics(fake))
    result = fid_infinity(real, fake, features="noise", seed=0, smallest=200)
    assert biased > 0.01 and abs(result.value) < biased / 4
    assert result.details["slope"] > 0 and result.details["counts"][0] == 200 and result.details["counts"][-1] == 4000
    assert abs(result.value) < 5 * result.confidence


def test_extrapolation_is_least_squares():
    stats = pytest.importorskip("scipy.stats")
    fake = np.random.default_rng(1).normal(size=(500, 4))
    result = fid_infinity(statistics(fake + 1), fake, features="noise", seed=0, smallest=50, sizes=8)
    line = stats.linregress(1 / np.array(result.details["counts"]), result.details["fids"])
    assert (result.value, result.details["slope"]) == pytest.approx((line.intercept, line.slope))


@pytest.mark.parametrize("shift", [1.0, 0.3, 0.0])
def test_confidence_of_the_extrapolation_is_the_deviation_over_other_generated_images(shift):
    random = np.random.default_rng(0)
    scale = np.linspace(0.2, 2, 6)
    real = statistics(random.normal(size=(20_000, 6)) * scale)
    draws = [random.normal(size=(300, 6)) * scale * (1 + shift / 2) + shift for _ in range(100)]
    results = [fid_infinity(real, fake, features="", seed=seed, smallest=30) for seed, fake in enumerate(draws)]
    stated = np.sqrt(np.mean([result.confidence**2 for result in results]))
    assert 0.75 < stated / np.std([result.value for result in results], ddof=1) < 1.3


def test_the_confidence_does_not_depend_on_the_blocks_in_which_it_is_summed(monkeypatch):
    fake = np.random.default_rng(0).normal(size=(300, 6))
    whole = fid_infinity(statistics(fake + 1), fake, features="", seed=0, smallest=50)
    monkeypatch.setattr(frechet, "ROWS", 64)
    assert fid_infinity(statistics(fake + 1), fake, features="", seed=0, smallest=50).confidence == pytest.approx(
        whole.confidence, rel=1e-12
    )


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InvalidInputError, match="3 and 2 feature"):
        frechet_distance(statistics(np.eye(3)), statistics(np.eye(2)))
    with pytest.raises(InvalidInputError, match="2 dimensions; these statistics hold 3"):
        statistics(np.eye(3)).update(np.eye(2))
    with pytest.raises(InvalidInputError, match="count must be an integer of 2 or more, got 0"):
        frechet_distance(statistics(np.eye(3)), FeatureStatistics())
    with pytest.raises(InvalidInputError, match="generated_images must be .* got 100"):
        fid_infinity(statistics(np.eye(3)), np.zeros((100, 3)), features="", seed=0)
