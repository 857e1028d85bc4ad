import contextlib
import io

import numpy as np
import pytest
import torch

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError
from idgan.metrics import dci
from idgan.metrics.dci import completeness, disentanglement

sklearn = pytest.importorskip("sklearn")
SMALL = {"seed": 0, "train_points": 200, "test_points": 100}


@pytest.fixture
def small():
    return FactorGrid((2, 3), ("shape", "scale"))


def test_importance_in_closed_form():
    assert disentanglement(np.eye(3)[[2, 0, 1]]) == completeness(np.eye(3)) == 1
    assert disentanglement(np.ones((4, 3))) == pytest.approx(0, abs=1e-12)
    # Both factors of every dimension alike out of three: 1 - log 2 / log 3.
    pairs = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    assert disentanglement(pairs) == completeness(pairs) == pytest.approx(1 - np.log(2) / np.log(3))
    # One dimension holds everything: it is entangled, yet each factor is complete.
    assert (
        disentanglement(np.array([[1.0, 1], [0, 0]])) == pytest.approx(0)
        and completeness(np.array([[1.0, 1], [0, 0]])) == 1
    )
    assert disentanglement(np.zeros((2, 3))) == 0


def test_dimensions_weigh_by_their_importance():
    importance = np.array([[3.0, 0], [0.5, 0.5]])
    assert disentanglement(importance) == pytest.approx(3 / 4)


def test_perfect_code_scores_one_and_noise_does_not(small, lookup, noise):
    good, bad = (dci(encode, small, **SMALL) for encode in (lookup(small.factors(torch.arange(6))), noise))
    assert good.value > 0.9 and good.details["completeness"] > 0.9 and good.details["informativeness_test"] == 1
    assert bad.value < 0.3 and bad.details["completeness"] < 0.3 and bad.details["informativeness_test"] < 0.6
    assert np.shape(bad.details["importance"]) == (6, 2)
    assert good.versions["scikit-learn"] == sklearn.__version__ and good.confidence is None


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_over_factors_where_someone_looks(small, lookup):
    def shown(stream, **options):
        with contextlib.redirect_stderr(stream):
            dci(lookup(small.factors(torch.arange(6))), small, seed=0, train_points=20, test_points=20, **options)
        return stream.getvalue()

    assert "/2 " in shown(Terminal(), progress=True)
    assert shown(Terminal()) == shown(io.StringIO(), progress=True) == ""


def test_the_seed_decides(small, lookup):
    encode = lookup(small.factors(torch.arange(6)) + 0.5 * torch.randn(6, 2))
    first, second = (dci(encode, small, **SMALL) for _ in range(2))
    assert first == second
    assert first.value != dci(encode, small, **{**SMALL, "seed": 1}).value


def test_one_dimension_is_refused(grid, perfect, lookup):
    with pytest.raises(InvalidInputError, match="c_dim must be an integer of 2 or more, got 1"):
        dci(lookup(perfect[:, :1]), grid, **SMALL)
