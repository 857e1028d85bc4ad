"""Distances of known features, and statistics of real images that are computed once."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from idgan.data import Dataset
from idgan.errors import InvalidInputError
from idgan.evaluation.extractors import Extractor
from idgan.evaluation.feature_distance import real_features, real_statistics, statistics_directory
from idgan.metrics import FeatureStatistics


class BandReader(nn.Module):
    """The intensity of each band of `Bands`."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.gain * x[:, 0, (10, 32, 54), 0]


def band_reader(title="bands"):
    return Extractor("bands", "v1", title, "as they are", lambda x: x, BandReader(), {})


@pytest.fixture
def features(add_extractor, monkeypatch, tmp_path):
    """`BandReader` as the extractor "bands", and an empty directory for prepared data."""
    add_extractor("bands", lambda: band_reader())
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path))
    return {"extractor": "bands", "samples": 4000, "progress": False}


class Counting(Dataset):
    """A data set that counts the images it was asked for."""

    def __init__(self, source, offset=0.0):
        self.source, self.offset, self.asked = source, offset, 0
        self.resolution, self.factors = source.resolution, source.factors

    def __len__(self):
        return len(self.source)

    def images(self, indices, rng=None):
        self.asked += len(indices)
        return self.source.images(indices) + self.offset


DEVIATIONS = np.sqrt([(n**2 - 1) / (12 * n**2) for n in (3, 4, 5)])  # of n values, 1/n apart


def test_distances_are_those_of_the_bands(perfect, bands, features, evaluate):
    metrics, priors = ["fid", "fid-decoder"], ("aggregated", "normal")
    results = {result.name: result for result in evaluate(perfect, bands, metrics, priors=priors, **features)}
    assert list(results) == ["FD-bands", "FD-bands-normal", "FD-bands-decoder", "FD-bands-decoder-normal"]
    # The bands are independent, so a distance is the sum over bands of the squared difference of standard deviations.
    assert results["FD-bands"].value < 5e-4
    assert results["FD-bands-decoder"].value == pytest.approx(np.square(DEVIATIONS / 2).sum(), rel=0.05)
    clipped = 0.25 * math.sqrt(math.erf(2**0.5) - 4 * math.exp(-2) / math.sqrt(2 * math.pi) + 4 * math.erfc(2**0.5))
    assert results["FD-bands-normal"].value == pytest.approx(np.square(DEVIATIONS - clipped).sum(), rel=0.3)
    for name, result in results.items():
        assert result.samples == 4000 and result.details["real_samples"] == 60
        assert "bands v1 (as they are); 60 real vs 4000 generated" in result.protocol
        assert result.protocol.startswith("decoder" if "decoder" in name else "generator")
        assert result.protocol.endswith("c from N(0, I)" if "normal" in name else "c from the aggregated posterior")
        assert result.details["real"]["extractor"] == "bands v1"


def test_unbiased_relatives_agree(perfect, bands, features, evaluate):
    results = evaluate(perfect, bands, ["fid-infinity", "kid", "fid-infinity-decoder", "kid-decoder"], **features)
    assert [result.name for result in results] == [
        "FD_infinity-bands",
        "KD-bands",
        "FD_infinity-bands-decoder",
        "KD-bands-decoder",
    ]
    good, good_kernel, bad, bad_kernel = results
    assert abs(good.value) < 2e-3 and bad.value == pytest.approx(np.square(DEVIATIONS / 2).sum(), rel=0.05)
    # A subset is half of the 60 real images there are.
    assert "100 subsets of 30;" in good_kernel.protocol
    assert abs(good_kernel.value) < 2 * good_kernel.confidence
    assert bad_kernel.value > good_kernel.value


def test_a_kernel_distance_needs_a_subset_of_each_side(perfect, bands, features, evaluate):
    (result,) = evaluate(perfect, bands, ["kid"], **(features | {"samples": 4}))
    assert "subsets of 2;" in result.protocol and result.confidence > 0
    with pytest.raises(InvalidInputError, match="real_images must be an integer of 4 or more, got 3"):
        evaluate(perfect, bands, ["kid"], **(features | {"samples": 3}))


def test_confidence_of_a_distance_is_that_of_other_samples(perfect, bands, features, evaluate):
    options = features | {"samples": 500}
    results = [evaluate(perfect, bands, ["fid-decoder"], seed=seed, **options)[0] for seed in range(12)]
    stated = np.sqrt(np.mean([result.confidence**2 for result in results]))
    assert 0.5 < stated / np.std([result.value for result in results], ddof=1) < 2
    assert evaluate(perfect, bands, ["fid"], **(features | {"samples": 2}))[0].confidence >= 0


def test_results_name_the_libraries_of_their_features(perfect, bands, features, evaluate, add_extractor):
    (plain,) = evaluate(perfect, bands, ["fid"], **features)
    add_extractor("bands", lambda: dataclasses.replace(band_reader(), packages=("pytest",)))
    for result in evaluate(perfect, bands, ["fid", "kid", "fid-infinity"], **features):
        assert result.versions == plain.versions | {"pytest": pytest.__version__}


def test_only_fids_own_features_give_fid(perfect, bands, features, evaluate, add_extractor):
    add_extractor("bands", lambda: band_reader(title=None))
    assert [result.name for result in evaluate(perfect, bands, ["fid", "kid", "fid-decoder"], **features)] == [
        "fid",
        "kid",
        "fid-decoder",
    ]


def test_real_images_are_distinct_and_drawn_by_the_seed(bands):
    def rows(samples, seed):
        return [
            tuple(row)
            for part in real_features(bands, band_reader(), samples=samples, seed=seed)
            for row in part.tolist()
        ]

    assert len(set(rows(40, 0))) == 40
    assert sorted(rows(100, 0)) == sorted(rows(60, 1))
    assert rows(40, 0) == rows(40, 0) != rows(40, 1)


def test_statistics_are_computed_once(bands, tmp_path):
    options = {"name": "bands", "samples": 50, "seed": 0, "directory": tmp_path}
    source = Counting(bands)
    first, key = real_statistics(source, band_reader(), **options)
    whole = FeatureStatistics().update(torch.cat(list(real_features(bands, band_reader(), samples=50, seed=0))))
    np.testing.assert_allclose(first.covariance, whole.covariance, rtol=1e-9, atol=1e-15)
    source.asked = 0
    second, same = real_statistics(source, band_reader(), **options)
    assert source.asked < 20 and same == key
    np.testing.assert_array_equal(first.covariance, second.covariance)
    assert (second.count, len(list(tmp_path.iterdir()))) == (50, 1)


def test_whatever_changes_them_changes_the_key(bands, tmp_path):
    options = {"name": "bands", "samples": 50, "seed": 0, "directory": tmp_path}
    keys = [real_statistics(bands, band_reader(), **options)[1]["sha256"]]
    for change in {"name": "stripes"}, {"samples": 40}, {"seed": 1}:
        keys.append(real_statistics(bands, band_reader(), **(options | change))[1]["sha256"])
    for change in {"name": "stripes"}, {"version": "v2"}, {"preprocessing": "turned"}:
        keys.append(real_statistics(bands, dataclasses.replace(band_reader(), **change), **options)[1]["sha256"])
    keys.append(
        real_statistics(Counting(bands, offset=0.1), band_reader(), **options)[1]["sha256"]
    )  # other images, of the same name
    assert len(set(keys)) == len(list(tmp_path.iterdir())) == len(keys)


def test_a_damaged_file_is_made_again_and_a_bad_directory_is_a_warning(bands, tmp_path):
    options = {"name": "bands", "samples": 50, "seed": 0}
    first, _ = real_statistics(bands, band_reader(), directory=tmp_path, **options)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged"):
        again, _ = real_statistics(bands, band_reader(), directory=tmp_path, **options)
    np.testing.assert_array_equal(first.covariance, again.covariance)
    assert path.read_bytes() == whole
    with pytest.warns(UserWarning, match="were not kept"):
        real_statistics(bands, band_reader(), directory=path / "below a file", **options)


def test_they_are_kept_beside_prepared_data(perfect, bands, features, evaluate, tmp_path):
    evaluate(perfect, bands, ["fid"], **features)
    assert statistics_directory() == tmp_path / "statistics"
    assert len(list((tmp_path / "statistics").iterdir())) == 1


class Few(Dataset):
    """The first images of a data set."""

    factors = None

    def __init__(self, dataset, count):
        self.dataset, self.count = dataset, count
        self.resolution, self.image_channels = dataset.resolution, dataset.image_channels

    def __len__(self):
        return self.count

    def images(self, indices, rng=None):
        return self.dataset.images(indices)


def test_too_few_real_images_are_an_error_before_the_work(perfect, bands, features, evaluate):
    for metric in "fid", "fid-infinity", "kid":
        with pytest.raises(InvalidInputError, match="real_images must be an integer of . or more, got 1"):
            evaluate(perfect, Few(bands, 1), [metric], **features)
    with pytest.raises(InvalidInputError, match="samples must be an integer of 17 or more, got 16"):
        evaluate(perfect, bands, ["fid-infinity"], **(features | {"samples": 16}))
    (result,) = evaluate(perfect, Few(bands, 2), ["fid-infinity"], **(features | {"samples": 17}))
    assert result.samples == 17


def test_an_extractor_may_be_an_object(perfect, bands, features, evaluate):
    class Brightness:
        name, version, title, preprocessing, packages = "brightness", "3", "", "none", ()

        def to(self, device):
            return self

        def __call__(self, images):
            return images.mean(dim=(2, 3))

    (result,) = evaluate(perfect, bands, ["fid"], samples=100, extractor=Brightness())
    assert result.name == "FD-brightness" and "brightness 3 (none)" in result.protocol
    assert result.details["request"]["extractor"] == "brightness 3 (none)"

    Brightness.__call__ = lambda self, images: images
    with pytest.raises(
        InvalidInputError, match=r"extractor brightness must return \(60, D\) features, got \(60, 1, 64"
    ):
        evaluate(perfect, bands, ["fid"], samples=100, extractor=Brightness(), seed=1)
