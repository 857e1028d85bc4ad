import io
import math
import sys

import pytest
import torch
from torch import nn

from idgan.errors import DivergedError, InvalidInputError
from idgan.metrics import gilbo
from idgan.networks.vae import Posterior

GAINS = torch.tensor([2.0, 0.5])
FAST = {
    "samples": 2000,
    "batch_size": 256,
    "learning_rates": (3e-2, 3e-3),
    "check_every": 50,
    "patience": 2,
    "tolerance": 0.005,
}


class LinearEncoder(nn.Module):
    """The family that holds the exact posterior of a linear generator."""

    def __init__(self):
        super().__init__()
        self.mean, self.logvar = nn.Linear(2, 2), nn.Parameter(torch.zeros(2))

    def forward(self, images):
        return Posterior(self.mean(images.flatten(1)), self.logvar.expand(len(images), 2))


def linear_generator(n, generator, gains=GAINS):
    """x = gains * c + s with c, s ~ N(0, I): I(c; x) = sum 1/2 log(1 + gain^2)."""
    c, s = torch.randn(2, n, 2, generator=generator)
    return (gains * c + s).view(n, 1, 1, 2), c


def log_prior(c):
    return Posterior(torch.zeros_like(c), torch.zeros_like(c)).log_prob(c)


def test_reaches_the_mutual_information_of_a_linear_generator():
    result = gilbo(linear_generator, LinearEncoder(), log_prior, seed=0, **FAST)
    information = (1 + GAINS.square()).log().sum().item() / 2
    assert result.value == pytest.approx(information, abs=4 * result.confidence + 0.02)
    assert (
        result.details["held_out"][0] < result.value and len(result.details["held_out"]) * 50 == result.details["steps"]
    )


def test_a_generator_that_ignores_the_code_scores_zero():
    result = gilbo(lambda n, g: linear_generator(n, g, torch.zeros(2)), LinearEncoder(), log_prior, seed=0, **FAST)
    assert result.value == pytest.approx(0, abs=0.02)


def test_same_seed_same_value():
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        values.append(gilbo(linear_generator, LinearEncoder(), log_prior, seed=seed, **FAST).to_dict())
    assert values[0] == values[1] != values[2]


def test_the_best_weights_are_kept():
    # A rate this large only ruins the encoder after the first rate has fitted it.
    encoder = LinearEncoder()
    result = gilbo(linear_generator, encoder, log_prior, seed=0, **{**FAST, "learning_rates": (3e-2, 5.0)})
    best = max(result.details["held_out"])
    assert result.details["held_out"][-1] < best - 1
    assert result.value == pytest.approx(best, abs=4 * result.confidence)


def test_held_out_images_stay_the_same_and_apart_from_training_and_final_ones():
    drawn = []

    def sample(n, generator):
        images, c = linear_generator(n, generator)
        drawn.append(c[0, 0].item())
        return images, c

    gilbo(sample, LinearEncoder(), log_prior, seed=0, **{**FAST, "learning_rates": (1e-3,), "tolerance": math.inf})
    assert len(drawn) == 2 * (50 + 8) + 8 and drawn[50:58] == drawn[108:116]
    training, held_out, final = set(drawn[:50] + drawn[58:108]), set(drawn[50:58]), set(drawn[116:])
    assert len(training) == 100 and len(held_out) == len(final) == 8
    assert not (training & held_out or training & final or held_out & final)


def test_a_diverging_encoder_is_reported():
    class Broken(LinearEncoder):
        def forward(self, images):
            return Posterior(self.mean(images.flatten(1)) * math.nan, self.logvar.expand(len(images), 2))

    with pytest.raises(DivergedError, match="learning_rates"):
        gilbo(linear_generator, Broken(), log_prior, seed=0, **FAST)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_silent_unless_asked_for(monkeypatch):
    for progress in (False, True):
        monkeypatch.setattr(sys, "stderr", Terminal())
        gilbo(
            linear_generator,
            LinearEncoder(),
            log_prior,
            seed=0,
            progress=progress,
            **{**FAST, "samples": 100, "patience": 1},
        )
        assert ("gilbo" in sys.stderr.getvalue()) == progress


def test_bad_options_are_refused():
    with pytest.raises(InvalidInputError, match="patience must be an integer of 1 or more, got 0"):
        gilbo(linear_generator, LinearEncoder(), log_prior, seed=0, patience=0)
