"""Plots show the values they get, and leave the caller's matplotlib alone."""

import os
import subprocess
import sys

import numpy as np
import pytest

from idgan.errors import InvalidInputError, MissingDependencyError
from idgan.plots import information_heatmap, scatter, training_curves

pytest.importorskip("matplotlib")


def pixels(picture):
    return np.asarray(picture.convert("RGB")).astype(int)


def test_a_curve_follows_its_scalar():
    rising = pixels(training_curves([{"step": i, "loss": float(i)} for i in range(100)]))
    falling = pixels(training_curves([{"step": i, "loss": float(-i)} for i in range(100)]))
    blue = lambda x: (x[..., 2] - x[..., 0] > 80).nonzero()
    for picture, sign in (rising, -1), (falling, 1):  # rows of an image count downwards
        rows, columns = blue(picture)
        assert np.corrcoef(rows, columns)[0, 1] * sign > 0.95


def test_what_is_no_scalar_is_left_out_and_a_panel_is_added_for_each_that_is():
    base = [{"step": i, "loss": 1.0} for i in range(5)]
    one = training_curves(base)
    assert training_curves([record | {"gaps": {"x": 1.0}, "r1": float("nan")} for record in base]).size == one.size
    assert training_curves([record | {"r_id": 2.0} for record in base]).width > 1.5 * one.width


def test_a_curve_that_repeats_another_has_no_panel():
    base = [{"step": i, "loss": float(i % 7)} for i in range(20)]
    one = training_curves(base)
    total = [record | {"total": record["loss"] + (1.0 if i % 8 == 0 else 0)} for i, record in enumerate(base)]
    assert training_curves(total).size == one.size
    assert training_curves([record | {"other": 2 * record["loss"] + 1} for record in base]).width > 1.5 * one.width


def test_a_first_value_far_away_does_not_flatten_the_curve():
    values = [1000.0, *(float(i % 2) for i in range(40))]
    x = pixels(training_curves([{"step": i, "loss": value} for i, value in enumerate(values)]))
    rows, columns = (x[..., 2] - x[..., 0] > 80).nonzero()
    last = rows[columns > np.quantile(columns, 0.7)]
    assert np.ptp(last) > 0.5 * np.ptp((x < 100).all(2).nonzero()[0])  # of the height of the panel


def test_a_short_curve_is_shown_whole():
    values = [10.0, 1.0, 1.1, 1.2, 1.1]
    x = pixels(training_curves([{"step": i, "loss": value} for i, value in enumerate(values)]))
    rows, columns = (x[..., 2] - x[..., 0] > 80).nonzero()
    assert np.ptp(rows[columns > np.median(columns)]) < 0.3 * np.ptp(rows)


def test_a_log_without_scalars_is_refused():
    with pytest.raises(InvalidInputError, match="no scalars"):
        training_curves([{"step": 1}])


def test_a_method_has_one_color_in_every_panel():
    alone = pixels(scatter({"a": [("GAN", 0.1, 5.0)]}, "MIG", "FID"))
    both = pixels(scatter({"a": [("VAE", 0.2, 9.0)], "b": [("VAE", 0.3, 8.0), ("GAN", 0.1, 5.0)]}, "MIG", "FID"))
    colors = lambda x: {tuple(c) for c in x.reshape(-1, 3)}
    first, second = (31, 119, 180), (255, 127, 14)  # matplotlib's C0 and C1
    assert first in colors(alone) and second not in colors(alone)
    assert {first, second} <= colors(both)
    with pytest.raises(InvalidInputError, match="no point"):
        scatter({"a": []}, "MIG", "FID")


def test_the_darkest_cell_is_where_the_information_is():
    information = np.zeros((4, 2))
    information[3, 0] = 1.2
    pictures = [pixels(information_heatmap(i, [1.2, 0.7], ["x", "y"])) for i in (information, np.zeros((4, 2)))]
    rows, columns = (np.abs(pictures[0] - pictures[1]).sum(2) > 150).nonzero()
    middle = pictures[0].shape[1] / 2
    assert len(rows) > 500  # a whole cell
    assert columns.min() > middle  # of the last dimension
    assert rows.max() < pictures[0].shape[0] * 0.55  # of the first factor


@pytest.mark.parametrize("entropy, factors", [([1.0], ["x", "y"]), ([1.0, 1.0], ["x", "y", "z"]), ([], [])])
def test_shapes_that_disagree_are_refused(entropy, factors):
    with pytest.raises(InvalidInputError, match="information must be"):
        information_heatmap(np.zeros((3, 2)), entropy, factors)


def test_pyplot_stays_unloaded():
    sys.modules.pop("matplotlib.pyplot", None)
    training_curves([{"step": 0, "loss": 1.0}])
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"extra .plots. of idgan .*pip install -e .\.\[plots\]"):
        training_curves([{"step": 0, "loss": 1.0}])


def test_a_backend_that_is_not_installed_is_ignored():
    code = (
        "import os; from idgan.plots import training_curves; training_curves([{'step': 0, 'loss': 1.0}]); "
        "print(os.environ['MPLBACKEND'])"
    )
    environment = {**os.environ, "MPLBACKEND": "module://no_such_backend"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("module://no_such_backend\n", 0), done.stderr
