"""A seed decides what is drawn, with all its bits."""

import numpy as np
import pytest
import torch

from idgan.errors import InvalidInputError
from idgan.rng import make_rng, seeded_rng


def draw(rng):
    return torch.randn(1000, generator=rng)


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31, 2**32 - 1])
def test_seeds_of_32_bits_draw_what_pytorch_draws(seed):
    assert torch.equal(draw(seeded_rng(seed)), draw(torch.Generator().manual_seed(seed)))


def test_all_bits_of_a_large_seed_count():
    seeds = [0, 7, 2**32, 2**32 + 7, 2**33, 7 * 2**32, 2**63, 2**63 + 7, 2**64 - 1, 2**32 - 1]
    draws = torch.stack([draw(seeded_rng(seed)) for seed in seeds])
    assert (torch.corrcoef(draws) - torch.eye(len(seeds))).abs().max() < 0.15
    assert torch.equal(draw(seeded_rng(2**40)), draw(seeded_rng(2**40)))


def test_a_large_seed_draws_the_same_numbers_in_every_release():
    assert torch.randint(1000, (4,), generator=seeded_rng(2**32)).tolist() == [86, 986, 389, 72]


@pytest.mark.parametrize("seed", [np.int64(5), np.uint64(2**40)])
def test_numpy_integers_are_seeds(seed):
    assert torch.equal(draw(seeded_rng(seed)), draw(seeded_rng(int(seed))))
    assert torch.equal(draw(make_rng(seed, 3)), draw(make_rng(int(seed), 3)))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, None, "1"])
def test_other_seeds_are_refused_with_the_range(seed):
    with pytest.raises(InvalidInputError, match=r"seed must be an integer from 0 to 18446744073709551615"):
        seeded_rng(seed)
