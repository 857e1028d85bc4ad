import numpy as np
import pytest
import torch

from idgan.errors import InvalidInputError
from idgan.metrics import code_alignment

LIVE = np.array([True, True, False])


def test_reading_back_the_code_itself_is_zero():
    c = torch.randn(50, 3)
    assert code_alignment(c, c, active=LIVE, seed=0).value == 0


def test_only_active_dimensions_count():
    c = torch.randn(50, 3)
    result = code_alignment(c + torch.tensor([1.0, -3.0, 100.0]), c, active=LIVE, seed=0)
    assert result.value == pytest.approx(2, abs=1e-5) and result.confidence == pytest.approx(0, abs=1e-5)
    assert result.details["per_dim"] == pytest.approx([1, 3, 100], abs=1e-4)
    assert result.details["all_dims"] == pytest.approx(104 / 3, abs=1e-4)


def test_an_encoder_that_hears_nothing_is_off_by_the_mean_absolute_code():
    # E|c| of a standard normal is sqrt(2 / pi).
    c = torch.randn(20_000, 3)
    result = code_alignment(torch.zeros_like(c), c, active=LIVE, seed=0)
    assert result.value == pytest.approx((2 / np.pi) ** 0.5, abs=4 * result.confidence)


@pytest.mark.parametrize(
    "read_back, active", [(torch.zeros(4, 2), LIVE), (torch.zeros(5, 3), LIVE[:2]), (torch.zeros(5, 3), ~LIVE & LIVE)]
)
def test_inputs_that_do_not_fit_are_refused(read_back, active):
    with pytest.raises(InvalidInputError, match="active"):
        code_alignment(read_back, torch.zeros(5, 3), active=active, seed=0)
