"""A file of results: written metric by metric, continued where it was interrupted, never another checkpoint's."""

import errno
import json
import os

import pytest

from idgan.errors import InvalidInputError
from idgan.evaluation.results import check_output, measure_into, read_results, write_results
from idgan.files import sha256_of
from idgan.metrics import MetricResult


@pytest.fixture
def place(tmp_path):
    """(the file of results, a file that stands for the checkpoint)."""
    (tmp_path / "model").write_bytes(b"weights")
    return tmp_path / "results.json", tmp_path / "model"


@pytest.fixture
def counted(add_metric):
    """Metrics "one", "two" and "broken" that take no time; -> the list of those that were measured."""
    measured = []

    def metric(name):
        def measure(subject):
            if name == "broken":
                raise KeyboardInterrupt
            measured.append(name)
            return MetricResult(name, len(measured), "counting", 1, subject.seed)

        return measure

    for name in "one", "two", "broken":
        add_metric(name, metric(name))
    return measured


def run(place, perfect, bands, metrics, name="bands", **options):
    path, checkpoint = place
    return list(measure_into(path, name, sha256_of(checkpoint), perfect, bands, metrics, progress=False, **options))


def stored(place):
    return [(metric["name"], metric["value"], metric["seed"]) for metric in json.loads(place[0].read_text())["metrics"]]


def test_an_interrupted_measurement_continues(place, perfect, bands, counted):
    with pytest.raises(KeyboardInterrupt):
        run(place, perfect, bands, ["one", "broken", "two"])
    assert stored(place) == [("one", 1, 0)]
    results = run(place, perfect, bands, ["one", "two"])
    assert counted == ["one", "two"]
    assert [result.value for result in results] == [1, 2]
    assert stored(place) == [("one", 1, 0), ("two", 2, 0)]
    content = place[0].read_bytes()
    run(place, perfect, bands, ["one", "two"])
    assert counted == ["one", "two"] and place[0].read_bytes() == content


def test_other_settings_take_the_place_of_the_old_and_the_rest_stays(place, perfect, bands, counted):
    run(place, perfect, bands, ["one", "two"])
    run(place, perfect, bands, ["one"], seed=7)
    assert counted == ["one", "two", "one"]
    assert sorted(stored(place)) == [("one", 3, 7), ("two", 2, 0)]


def test_other_samples_take_the_place_of_the_old_although_the_protocol_counts_them(place, perfect, bands):
    run(place, perfect, bands, ["r_id"], samples=50)
    (result,) = run(place, perfect, bands, ["r_id"], samples=60)
    assert stored(place) == [("r_id", result.value, 0)] and result.samples == 60


def test_priors_stand_side_by_side(place, perfect, bands):
    run(place, perfect, bands, ["alignment"], samples=50)
    run(place, perfect, bands, ["alignment"], samples=50, priors=("normal",))
    assert [name for name, *_ in stored(place)] == ["code_alignment", "code_alignment-normal"]


def test_gilbo_is_kept_with_its_rule(place, perfect, bands):
    rule = {"samples": 20, "batch_size": 4, "learning_rates": (1e-3,), "check_every": 1, "patience": 1}
    (first,) = run(place, perfect, bands, ["gilbo"], samples=30, gilbo_options=rule)
    assert first.details["request"].items() >= (rule | {"learning_rates": [1e-3], "prior": "aggregated"}).items()
    written = place[0].read_bytes()
    assert run(place, perfect, bands, ["gilbo"], samples=30, gilbo_options=rule) == [first]
    assert place[0].read_bytes() == written
    (other,) = run(place, perfect, bands, ["gilbo"], samples=30, gilbo_options=rule | {"check_every": 2})
    assert stored(place) == [("gilbo", other.value, 0)] and "checks of 2 steps" in other.protocol


def test_a_checkpoint_that_was_trained_on_is_measured_anew(place, perfect, bands, counted):
    run(place, perfect, bands, ["one", "two"])
    place[1].write_bytes(b"better weights")
    with pytest.warns(UserWarning, match=r"held the results of another checkpoint file.* now in .*results\.1\.json"):
        run(place, perfect, bands, ["one", "two"])
    assert stored(place) == [("one", 3, 0), ("two", 4, 0)]
    assert json.loads(place[0].read_text())["sha256"] == sha256_of(place[1])


def test_results_of_other_checkpoints_of_the_name_are_set_aside(place, perfect, bands, counted):
    path, checkpoint = place
    contents = []
    for weights in b"a", b"b", b"a":
        checkpoint.write_bytes(weights)
        with pytest.raises(KeyboardInterrupt):  # before anything is measured: nothing moves
            run(place, perfect, bands, ["broken"])
        assert len(list(path.parent.glob("*.json"))) == len(contents)
        if contents:
            with pytest.warns(UserWarning, match="now in"):
                run(place, perfect, bands, ["one", "two"])
        else:
            run(place, perfect, bands, ["one", "two"])
        contents.append(path.read_bytes())
    assert [
        path.with_name(name).read_bytes() for name in ("results.1.json", "results.2.json", "results.json")
    ] == contents


def test_whatever_is_written_over_is_kept(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("notes")
    with pytest.warns(UserWarning, match=r"r\.1\.json"):
        write_results(path, "x", "00ff", [])
    assert (tmp_path / "r.1.json").read_text() == "notes"
    write_results(path, "x", "00ff", [])
    assert len(list(tmp_path.iterdir())) == 2


def damaged_results(whole):
    """`whole` with a field of its only result replaced by something of another type."""
    (result,) = whole["metrics"]
    for change in {"value": "high"}, {"value": None}, {"name": 3}, {"details": []}, {"details": {"request": 1}}:
        yield whole | {"metrics": [result | change]}


def test_nobody_elses_file_is_overwritten(place, perfect, bands, counted):
    path, checkpoint = place
    run(place, perfect, bands, ["one"])
    checkpoint.write_bytes(b"other")
    before = path.read_bytes()
    with pytest.raises(
        InvalidInputError, match=r"results\.json holds the results of bands, not of cars; choose another file"
    ):
        run(place, perfect, bands, ["one"], name="cars")
    assert path.read_bytes() == before
    whole = {"name": "bands", "sha256": "", "metrics": [MetricResult("x", 1.0, "", 1, 0).to_dict()]}
    damaged = [whole | {"metrics": [{}]}, whole | {"metrics": 3}, *damaged_results(whole)]
    for content in "", "[]", "{}", "notes", "[" * 100_000, *map(json.dumps, damaged):
        path.write_text(content)
        with pytest.raises(InvalidInputError, match="holds no results of this package"):
            run(place, perfect, bands, ["one"])
        assert path.read_text() == content
    assert counted == ["one"]


def test_what_is_written_is_read(tmp_path):
    results = [
        MetricResult("mig", 0.25, "a | b", 100, 0, details={"x": [1.5]}),
        MetricResult("fid", 3.0, "c", 10, 1, confidence=0.5),
    ]
    write_results(tmp_path / "r.json", "x", "00ff", results)
    assert read_results(tmp_path / "r.json", "x", "00ff") == results
    assert read_results(tmp_path / "r.json", "x", "00fe") == read_results(tmp_path / "none.json", "x", "00ff") == []


def test_results_of_earlier_versions_give_way_to_the_same_metric(place, perfect, bands, counted):
    old = [MetricResult("one", 9.0, "counting", 1, 0), MetricResult("fvm", 0.5, "by hand", 1, 0)]
    write_results(place[0], "bands", sha256_of(place[1]), old)
    run(place, perfect, bands, ["one"])
    assert sorted(stored(place)) == [("fvm", 0.5, 0), ("one", 1, 0)]


def test_the_prior_of_older_versions_is_read(place, perfect, bands):
    (first,) = run(place, perfect, bands, ["alignment"], samples=50)
    place[0].write_text(place[0].read_text().replace('"prior": "aggregated"', '"prior": "posterior"'))
    assert run(place, perfect, bands, ["alignment"], samples=50) == [first]
    (other,) = run(place, perfect, bands, ["alignment"], samples=60)
    assert stored(place) == [("code_alignment", other.value, 0)]


def test_an_output_that_cannot_be_written_is_found_before_the_work(place, perfect, bands, counted, tmp_path):
    (tmp_path / "file").write_text("x")
    for path, complaint in (tmp_path, "is a directory"), (tmp_path / "file" / "r.json", "cannot be written"):
        with pytest.raises(InvalidInputError, match=complaint):
            run((path, place[1]), perfect, bands, ["one"])
    assert counted == []
    run((tmp_path / "new" / "deep" / "r.json", place[1]), perfect, bands, ["one"])
    assert counted == ["one"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_directory_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidInputError, match="cannot be written"):
        check_output(tmp_path / "r.json")


def test_checking_leaves_nothing_behind(tmp_path):
    check_output(tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_is_still_returned(place, perfect, bands, counted, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "could not write")

    monkeypatch.setattr("idgan.evaluation.results.write_atomically", full)
    results = []
    with pytest.raises(OSError, match="could not write"):
        for result in measure_into(place[0], "bands", "00ff", perfect, bands, ["one", "two"], progress=False):
            results.append(result)
    assert [result.name for result in results] == ["one"] and counted == ["one"]
