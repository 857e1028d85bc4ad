"""Random number generators as functions of integers.

The package draws from PyTorch's global generator only where a caller asks for it.
"""

import torch

from idgan.errors import check_integer

__all__ = ["MAX_SEED", "make_rng", "seeded_rng"]

MAX_SEED = 2**64 - 1
"""The largest seed."""


def seeded_rng(seed: int) -> torch.Generator:
    """A CPU `torch.Generator` for `seed`, an integer from 0 to 2**64 - 1. Every bit of the seed counts.

    Below 2**32 it equals `torch.Generator().manual_seed(seed)`. PyTorch ignores the higher bits of a larger seed, so
    `make_rng` mixes them into the lower ones.

    Raises:
        InvalidInputError: the seed is not an integer in that range.
    """
    check_integer(0, MAX_SEED, seed=seed)
    return torch.Generator().manual_seed(int(seed)) if seed < 2**32 else make_rng(seed)


def make_rng(*key: int) -> torch.Generator:
    """A CPU `torch.Generator` that is a function of the integers in `key`, such as (seed, step).

    The key is reduced to 32 bits, because PyTorch's CPU generator keeps no more of a seed. Among 100,000 keys, one or
    two pairs are expected to draw the same numbers.
    """
    state = 0x9E3779B97F4A7C15
    for part in key:  # splitmix64's finalizer over each part: near keys give unrelated streams
        state = (state ^ int(part)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return torch.Generator().manual_seed(state % 2**63)
