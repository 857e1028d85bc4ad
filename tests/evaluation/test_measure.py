"""A pair that is perfect by construction scores what perfection scores."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from idgan.data import Dataset, DSprites, FactorGrid, NoisyDSprites
from idgan.errors import InvalidInputError
from idgan.evaluation import METRICS, Metric
from idgan.evaluation.code_metrics import FreshEncoder
from idgan.evaluation.grid_codes import thinned_grid
from idgan.evaluation.measure import default_metrics, matches_request, measure
from idgan.evaluation.subject import Subject
from idgan.images import encoder_view, to_unit
from idgan.metrics import MetricResult
from idgan.networks import VAEConfig
from idgan.sampler import Sampler


def test_a_perfect_pair_scores_as_such(perfect, bands, evaluate):
    results = dict(zip(default_metrics(bands), evaluate(perfect, bands, seed=3, progress=False)))
    assert results["fvm"].value == results["fvm-dlib"].value == 1
    assert results["mig"].value == pytest.approx(1, abs=0.01)
    assert results["alignment"].value == pytest.approx(0, abs=1e-5)
    # c is read back without error: log q(c|G(s, c)) is the density of a Gaussian at its mean.
    # The 60 posteriors of the bank do not touch.
    assert results["r_id"].value == pytest.approx(math.log(60) + 3 / 2, abs=0.05)


def test_results_say_how_they_were_measured(perfect, bands, evaluate):
    results = evaluate(perfect, bands, ["mig", "fvm"], seed=3, progress=False)
    assert [result.name for result in results] == ["mig", "fvm"]
    for result in results:
        described = json.loads(json.dumps(result.to_dict()))
        assert described["seed"] == 3
        assert described["samples"] > 0
        assert described["protocol"]
        assert described["versions"]["torch"] == torch.__version__


def test_without_factors_the_metrics_of_the_generator_remain(perfect, bands, evaluate):
    class Plain(type(bands)):
        factors = None

        def __len__(self):
            return 60

    names = [result.name for result in evaluate(perfect, Plain(), progress=False)]
    assert names == ["code_alignment", "r_id"]
    with pytest.raises(InvalidInputError, match="mig needs ground-truth factors"):
        evaluate(perfect, Plain(), ["r_id", "mig"], progress=False)


def test_fid_is_measured_by_default_where_its_features_come_with_the_package(bands):
    assert (
        {"fid", "fid-decoder", "mig", "r_id"}
        <= set(default_metrics(DSprites()))
        == set(default_metrics(NoisyDSprites()))
    )
    assert not {"fid", "kid", "gilbo", "dci"} & set(default_metrics(bands))


def test_a_normal_prior_is_measured_beside_the_posterior(perfect, bands, evaluate):
    metrics = ["alignment", "mig", "r_id"]
    results = evaluate(perfect, bands, metrics, seed=3, priors=("aggregated", "normal"), progress=False)
    assert [result.name for result in results] == [
        "code_alignment",
        "code_alignment-normal",
        "mig",
        "r_id",
        "r_id-normal",
    ]
    _, alignment, mig, r_id, normal = results
    assert "c from N(0, I)" in alignment.protocol and "c from N(0, I)" in normal.protocol
    assert "c from the aggregated posterior" in r_id.protocol and "c from" not in mig.protocol
    # The painter cannot paint c beyond 2, and it is read as 2. With z ~ N(0, 1): E (|z| - 2)+ and E (|z| - 2)+^2.
    tail, density = math.erfc(2**0.5) / 2, math.exp(-2) / math.sqrt(2 * math.pi)
    excess, squared = 2 * density - 4 * tail, 10 * tail - 4 * density
    assert alignment.value == pytest.approx(excess, rel=0.15)
    log_q = 3 * (-squared * math.exp(6) / 2 + 3 - math.log(2 * math.pi) / 2)
    assert normal.value == pytest.approx(log_q + 1.5 * (math.log(2 * math.pi) + 1), rel=0.15)


def test_priors_samples_and_extractors_are_checked_first(perfect, bands, evaluate):
    with pytest.raises(
        InvalidInputError, match=r"priors must be one or more of aggregated, normal, got \('uniform',\)"
    ):
        evaluate(perfect, bands, ["alignment"], priors=("uniform",))
    with pytest.raises(InvalidInputError, match="samples must be an integer from 2 to 10000000, got 1"):
        evaluate(perfect, bands, ["alignment"], samples=1)
    with pytest.raises(InvalidInputError, match="no feature extractor is called 'vgg'"):
        next(measure(perfect, bands, ["mig", "fid"], extractor="vgg", progress=False))


def test_samples_bound_every_count(perfect, bands, evaluate):
    results = evaluate(perfect, bands, ["alignment", "r_id"], samples=50, progress=False)
    assert [result.samples for result in results] == [50, 50]
    assert [result.details["request"]["samples"] for result in results] == [50, 50]


def test_what_is_known_is_not_measured_again(perfect, bands, evaluate):
    options = {"seed": 3, "progress": False, "samples": 50}
    (known,) = evaluate(perfect, bands, ["alignment"], **options)
    assert evaluate(perfect, bands, ["alignment"], previous_results=(known,), **options)[0] is known
    for other in {"seed": 4}, {"samples": 60}, {"priors": ("normal",)}:
        assert evaluate(perfect, bands, ["alignment"], previous_results=(known,), **(options | other))[0] is not known


def test_the_variance_of_fvm_can_be_of_fewer_points_and_the_whole_grid_answers_for_it(perfect, bands, evaluate):
    (whole,) = evaluate(perfect, bands, ["fvm"], progress=False)
    (few,) = evaluate(perfect, bands, ["fvm"], variance_points=30, progress=False)
    assert "variance over the whole grid" in whole.protocol and "variance over 30 points" in few.protocol

    def taken(known, **options):
        return evaluate(perfect, bands, ["fvm"], previous_results=(known,), progress=False, **options)[0] is known

    assert taken(whole, variance_points=30) and taken(few, variance_points=30)
    assert not taken(few) and not taken(few, variance_points=40)
    with pytest.raises(InvalidInputError, match="variance_points must be an integer of 2 or more, got 1"):
        evaluate(perfect, bands, ["mig"], variance_points=1)


def test_data_sets_of_one_name_and_size_are_told_apart(perfect, bands, evaluate):
    class Faded(type(bands)):
        def images(self, indices, rng=None):
            return 0.5 * super().images(indices)

    options = {"samples": 50, "progress": False}
    known = evaluate(perfect, bands, ["mig", "alignment"], **options)
    again = evaluate(perfect, Faded(), ["mig", "alignment"], previous_results=tuple(known), **options)
    assert again[0] is not known[0]
    assert again[1] is known[1]  # which reads no data


OLD = {"metric": "mig", "seed": 0, "data": "dsprites", "data_size": 60, "idgan": "1"}


@pytest.mark.parametrize(
    "change, details, same",
    [
        ({}, {}, True),
        ({"data": "celeba-64"}, {}, False),
        ({"data": "scream-dsprites"}, {}, False),
        ({"data_size": 61}, {}, False),
        ({"metric": "kid"}, {}, False),
        ({"metric": "fid", "data": "celeba-64"}, {"real": {"content": "00ff"}}, True),
        ({"metric": "fid"}, {"real": {"content": "ff00"}}, False),
        ({"content": "ff00"}, {}, False),
    ],
)
def test_results_from_before_requests_had_a_content(change, details, same):
    stored = OLD | change
    request = stored | {"data_size": 60, "content": "00ff"}
    assert matches_request(MetricResult("x", 1.0, "", 1, 0, details={"request": stored, **details}), request) is same


def test_what_reads_no_data_answers_whatever_its_size_was():
    stored = MetricResult("x", 1.0, "", 1, 0, details={"request": OLD | {"metric": "r_id", "samples": 50}})
    request = {"metric": "r_id", "seed": 0, "data": "dsprites", "idgan": "1", "samples": 50}
    assert (
        matches_request(stored, request)
        and not matches_request(stored, request | {"samples": 40})
        and not matches_request(stored, request | {"seed": 1})
    )


def test_as_many_samples_or_more_will_do_if_that_is_said(perfect, bands, evaluate):
    (known,) = evaluate(perfect, bands, ["alignment"], seed=3, samples=50, progress=False)

    def taken(**options):
        return evaluate(perfect, bands, ["alignment"], previous_results=(known,), progress=False, **options)[0] is known

    assert taken(samples=50, accept_more_samples=True) and taken(samples=40, accept_more_samples=True)
    assert not taken(samples=40) and not taken(samples=60, accept_more_samples=True)
    assert not taken(samples=40, accept_more_samples=True, priors=("normal",))
    assert not matches_request(MetricResult("x", 1.0, "", 1, 0), {"metric": "x"}, accept_more_samples=True)


def test_without_data_the_metrics_of_the_sampler_alone_remain(perfect, evaluate):
    results = evaluate(perfect, None, samples=50, progress=False)
    assert [result.name for result in results] == ["code_alignment", "r_id"]
    for metric in "mig", "fid":
        with pytest.raises(
            InvalidInputError,
            match=f"{metric} needs a data set; without one, choose from alignment, r_id, gilbo",
        ):
            evaluate(perfect, None, [metric])


def test_a_name_that_is_there_twice_counts_once(perfect, bands, evaluate):
    options = {"samples": 50, "priors": ("normal", "normal"), "progress": False}
    assert [result.name for result in evaluate(perfect, bands, ["alignment", "mig", "alignment"], **options)] == [
        "code_alignment-normal",
        "mig",
    ]


def test_an_entropy_that_the_bank_bounds_is_a_warning(perfect, bands, evaluate):
    # The bank's 60 posteriors do not touch: their mixture has all the entropy that so many can have.
    with pytest.warns(
        UserWarning,
        match="the entropy behind r_id is too low: .* mixture of 60 posteriors, .* limited by the size of the bank",
    ):
        (result,) = evaluate(perfect, bands, ["r_id"], samples=50, progress=False)
    assert "limited by the size of the bank" in result.protocol


def test_a_fresh_encoder_is_that_of_a_vae_without_its_decoder():
    config = VAEConfig(3)
    torch.manual_seed(5)
    fresh = FreshEncoder(config)
    torch.manual_seed(5)
    vae = config.build()
    x = torch.rand(2, 1, 128, 128)
    ours, theirs = fresh(x), vae.encode(encoder_view(x, 64))
    assert torch.equal(ours.mean, theirs.mean) and torch.equal(ours.logvar, theirs.logvar)
    assert sum(p.numel() for p in fresh.parameters()) == sum(p.numel() for p in vae.encoder.parameters())


@pytest.mark.parametrize("prior, least", [("aggregated", -8), ("normal", 0.5)])
def test_gilbo_learns_to_read_the_code(perfect, bands, prior, least):
    fast = {
        "samples": 200,
        "batch_size": 16,
        "learning_rates": (3e-3,),
        "check_every": 20,
        "patience": 1,
        "tolerance": 1.0,
    }
    result = METRICS["gilbo"].compute(Subject(perfect, bands, 0, False, prior=prior, gilbo_options=fast))
    # A code of the posterior is one of 60 narrow peaks. The bound is log 60 nats and the noise in a peak.
    assert least < result.value < math.log(60) + 1.5
    assert max(result.details["held_out"]) > result.details["held_out"][0]


def test_an_unknown_metric_lists_the_known(perfect, bands, evaluate):
    with pytest.raises(
        InvalidInputError, match=r"no metric is called 'mug'; did you mean 'mig'\? known: fvm, fvm-dlib, mig"
    ):
        evaluate(perfect, bands, ["mug"])


def test_a_thinned_grid_keeps_the_ends_and_its_points_have_their_indices():
    grid = FactorGrid((3, 20, 1), ("a", "b", "c"))
    thinned, indices = thinned_grid(grid, max_values=4)
    assert (thinned.sizes, thinned.names) == ((3, 4, 1), grid.names)
    factors = grid.factors(indices)
    assert len(indices) == len(thinned) == len(indices.unique())
    assert factors[:, 0].unique().tolist() == [0, 1, 2]
    assert factors[:, 1].unique().tolist() == [0, 6, 13, 19]
    positions = thinned.factors(torch.arange(len(thinned)))
    assert torch.equal(positions[:, 0], factors[:, 0])
    assert torch.equal(torch.tensor([0, 6, 13, 19])[positions[:, 1]], factors[:, 1])


def test_the_painter_and_the_encoder_are_inverse(perfect, bands):
    x = bands.images(torch.arange(60))
    assert torch.allclose(to_unit(perfect.generator(perfect.vae.encode(x).mean)), x)


def test_numpy_numbers_and_single_names_are_taken(perfect, bands, evaluate):
    (result,) = evaluate(perfect, bands, "alignment", seed=np.int64(3), samples=np.int32(50), priors="normal")
    assert result == evaluate(perfect, bands, ["alignment"], seed=3, samples=50, priors=("normal",))[0]
    assert json.loads(json.dumps(result.to_dict()))["details"]["request"]["samples"] == 50


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"samples": 10**30}, "samples must be an integer from 2"),
        ({"samples": 50.0}, "samples must be an integer from 2"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"seed": None}, "seed must be an integer from 0"),
        ({"priors": ()}, "priors must be one or more"),
        ({"gilbo_options": {"patient": 1}}, "gilbo has no option 'patient'; known: samples, batch_size"),
        ({"extractor": 3}, "int is not a feature extractor"),
    ],
)
def test_odd_arguments_are_refused(perfect, bands, evaluate, options, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        evaluate(perfect, bands, ["alignment"], **options)


def test_images_of_other_channels_are_refused(perfect, evaluate):
    with pytest.raises(InvalidInputError, match="images of 3 channels; the model's have 1"):
        evaluate(perfect, NoisyDSprites(), ["mig"])


def test_own_metrics_are_functions_of_the_subject(perfect, bands, evaluate, add_metric):
    def brightness(subject):
        """mean intensity of generated images"""
        images = torch.cat(list(subject.generated_images(subject.samples)))
        return MetricResult("brightness", images.mean(), "mean pixel", len(images), subject.seed)

    add_metric("brightness", brightness, reads_data=False, by_prior=True)
    assert METRICS["brightness"].summary == "mean intensity of generated images"
    results = evaluate(perfect, None, ["brightness"], samples=500, priors=("aggregated", "normal"))
    assert [result.name for result in results] == ["brightness", "brightness-normal"]
    assert results[0].value == pytest.approx(0.5, abs=0.02)
    assert "brightness" not in default_metrics(bands)
    with pytest.raises(InvalidInputError, match="'mig' is registered already"):
        add_metric("mig", brightness)
    add_metric("broken", lambda subject: 0.5, reads_data=False)
    with pytest.raises(InvalidInputError, match="metric broken must return a MetricResult, got float"):
        evaluate(perfect, None, ["broken"])


def test_a_metric_that_contradicts_itself_is_refused():
    with pytest.raises(InvalidInputError, match="reads_data must be True"):
        Metric("x", lambda subject: None, "", needs_factors=True, reads_data=False)
    with pytest.raises(InvalidInputError, match="must be encoder, decoder or None, got 'generator'"):
        Metric("x", lambda subject: None, "", part="generator")


def test_a_metric_of_the_code_encodes_only_its_points(perfect, evaluate, add_metric):
    class Wide(Dataset):
        resolution, image_channels, factors = 64, 1, FactorGrid((40, 40, 40), ("a", "b", "c"))
        rendered = 0

        def __len__(self):
            return len(self.factors)

        def images(self, indices, rng=None):
            self.rendered += len(indices)
            bands = self.factors.factors(indices) / 40
            return bands[:, torch.arange(64) * 3 // 64][:, None, :, None].expand(-1, 1, 64, 64)

    wide = Wide()
    evaluate(perfect, wide, ["mig"])
    assert 9_000 < wide.rendered < 10_100
    wide.rendered = 0
    evaluate(perfect, wide, ["fvm", "mig"])
    assert 64_000 <= wide.rendered < 64_200


def test_a_log_gets_a_line_for_each_metric(perfect, bands, capsys, evaluate):
    evaluate(perfect, bands, ["mig", "alignment"], samples=50, progress=True, priors=("aggregated", "normal"))
    assert capsys.readouterr().err.splitlines() == [
        "measuring mig",
        "measuring alignment, c from the aggregated prior",
        "measuring alignment, c from the normal prior",
    ]
    evaluate(perfect, bands, ["mig"])
    assert capsys.readouterr().err == ""


def test_values_do_not_depend_on_torchs_defaults(perfect, bands, evaluate):
    metrics = ["mig", "alignment", "r_id"]
    expected = evaluate(perfect, bands, metrics, samples=50)
    torch.set_default_dtype(torch.float64)
    try:
        found = evaluate(perfect, bands, metrics, samples=50)
    finally:
        torch.set_default_dtype(torch.float32)
    assert [result.value for result in found] == pytest.approx([result.value for result in expected], abs=1e-6)


def test_the_protocol_states_how_noise_was_drawn(perfect, bands, evaluate):
    class Noisy(type(bands)):
        stochastic = True

        def images(self, indices, rng=None):
            return 0.9 * super().images(indices) + 0.1 * torch.rand(len(indices), 1, 64, 64, generator=rng)

    (exact,) = evaluate(perfect, bands, ["mig"])
    alone, with_others = (evaluate(perfect, Noisy(), metrics)[-1] for metrics in (["mig"], ["fvm", "mig"]))
    assert alone == with_others  # the noise of an image depends on no other
    assert alone.protocol == f"{exact.protocol}; noise drawn by image index"
    assert alone.details["mutual_information"] != exact.details["mutual_information"]


# ------------------------------------------------------------------ several seeds


def test_metrics_of_factors_are_averaged_over_seeds(perfect, bands, evaluate):
    singles = [evaluate(perfect, bands, ["mig"], seed=seed)[0] for seed in (3, 4, 5)]
    (mean,) = evaluate(perfect, bands, ["mig"], seed=3, repeats=3)
    values = [result.value for result in singles]
    deviation = torch.tensor(values, dtype=torch.float64).std().item()
    assert mean.value == pytest.approx(sum(values) / 3) and mean.details["values"] == pytest.approx(values)
    assert mean.confidence == pytest.approx(deviation / 3**0.5)
    assert mean.protocol == f"{singles[0].protocol}; mean over seeds 3 to 5, which deviate by {deviation:.3g}"
    known = evaluate(perfect, bands, ["mig"], seed=3, repeats=3, previous_results=[singles[0], mean])
    assert known == [mean]
    assert evaluate(perfect, bands, ["mig"], seed=3, previous_results=[mean]) == [singles[0]]


def test_metrics_of_images_are_measured_once(perfect, bands, evaluate):
    options = {"samples": 50}
    assert evaluate(perfect, bands, ["r_id"], repeats=4, **options) == evaluate(perfect, bands, ["r_id"], **options)


def test_codes_that_training_drew_from_the_prior_are_called_so(perfect, bands, evaluate):
    alone = Sampler(perfect.config, perfect.vae, perfect.generator, None, perfect.info)
    assert perfect.has_bank and not alone.has_bank
    (r_id,) = evaluate(alone, bands, ["r_id"], samples=50)
    assert r_id.name == "r_id" and r_id.protocol.endswith("; c from N(0, I), as in training")
    assert "of N(0, I), exact" in r_id.protocol and "aggregated" not in r_id.protocol
    old = dataclasses.replace(r_id, protocol="as it was; c from the aggregated posterior")
    (kept,) = evaluate(alone, bands, ["r_id"], samples=50, previous_results=[old])
    assert kept == dataclasses.replace(old, protocol="as it was; c from N(0, I), as in training")
