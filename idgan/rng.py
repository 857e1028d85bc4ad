"""Random number generators as functions of integers. Nothing in the package draws from PyTorch's global generator unasked."""

import torch

__all__ = ["make_rng"]


def make_rng(*key: int) -> torch.Generator:
    """A CPU `torch.Generator` that is a function of the integers in `key`, such as (seed, step).

    PyTorch's CPU generator keeps 32 bits of a seed, so among some 100,000 keys one or two pairs are expected to draw the same numbers.
    """
    state = 0x9E3779B97F4A7C15
    for part in key:  # splitmix64's finalizer over each part: near keys give unrelated streams
        state = (state ^ int(part)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return torch.Generator().manual_seed(state % 2**63)
