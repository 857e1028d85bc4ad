"""PyTorch's global state, which a caller may have changed, has no influence on training."""

import contextlib

import pytest
import torch
from safetensors.torch import load_file

from idgan.recipes import override, recipe_of
from idgan.training import train
from idgan.training.estimate import cost_of
from idgan.training.setup import cpu_settings, library_defaults, seeded


@contextlib.contextmanager
def float64_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": float64_default,
    "meta": lambda: torch.device("meta"),
}


@pytest.fixture(scope="module")
def short(tiny, tmp_path_factory):
    """`short(name)`: the tensors of a run of two steps of each stage, with a selection."""

    def run(name):
        path = tmp_path_factory.mktemp("setup") / name
        options = tiny(vae_stage__steps=2, vae_stage__select_every=2, gan_stage__steps=2)
        model = load_file(train("dsprites", path, **options))
        states = {stage: load_file(path / stage / "state.safetensors") for stage in ("vae", "gan")}
        return {"model": model, **states}

    return run


@pytest.fixture(scope="module")
def plain(short):
    return short("plain")


@pytest.mark.parametrize("name", STATES)
def test_a_run_has_the_same_bits_under_any_global_state(short, plain, name):
    with STATES[name]():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
        found = short(name)
        assert before == (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype())
    for part, tensors in plain.items():
        assert tensors.keys() == found[part].keys()
        assert all(torch.equal(tensor, found[part][key]) for key, tensor in tensors.items()), part


def test_an_estimate_is_the_same_under_any_global_state():
    recipe = override(recipe_of("dsprites"), {"vae_stage.batch_size": 2})
    expected = cost_of(recipe, "vae")
    for state in STATES.values():
        with state():
            assert cost_of(recipe, "vae") == expected


def test_global_state_is_restored_after_an_error():
    threads = torch.get_num_threads()
    with float64_default():
        with pytest.raises(ZeroDivisionError), cpu_settings(1), library_defaults():
            assert torch.get_default_dtype() == torch.float32
            raise ZeroDivisionError
        assert torch.get_default_dtype() == torch.float64
    assert torch.get_num_threads() == threads


def test_every_bit_of_a_seed_counts_for_initial_weights():
    def weights(seed):
        with seeded(seed):
            return torch.rand(3)

    torch.manual_seed(5)
    expected = torch.rand(3)
    assert torch.equal(weights(5), expected)  # as PyTorch's own seeds
    assert not torch.equal(weights(5 + 2**32), expected)
    assert torch.equal(weights(2**64 - 1), weights(2**64 - 1))
