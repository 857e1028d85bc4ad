"""A small checkpoint in an empty directory, and the command line in this process."""

import shutil

import pytest
import torch
from click.testing import CliRunner

from idgan.cli import main
from idgan.images import save_png
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.weights import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint with active dimensions 2 and 0, and 1 inactive."""
    torch.manual_seed(0)
    mean, logvar = torch.zeros(16, 3), torch.zeros(16, 3)
    mean[:, 0], mean[:, 2], logvar[:, [0, 2]] = 0.5 * torch.randn(16), 2 * torch.randn(16), -2.0
    config = ModelConfig(VAEConfig(3), ConvGeneratorConfig(3, 2))
    sampler = Sampler(
        config, bank=Posterior(mean, logvar), info={"name": "small", "data": "dsprites", "training": {"seed": 7}}
    )
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small.safetensors", sampler)


@pytest.fixture
def directory(checkpoint, tmp_path, monkeypatch):
    """The current directory: small.safetensors, the run directory runs/small, and two pictures, one.png and two.png."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(checkpoint, "small.safetensors")
    (tmp_path / "runs/small").mkdir(parents=True)
    shutil.copy(checkpoint, "runs/small/model.safetensors")
    save_png(torch.rand(1, 64, 64), "one.png")
    save_png(torch.rand(3, 100, 100), "two.png")
    return tmp_path


@pytest.fixture
def run(directory):
    """`run("sample", "MODEL", ...)`: what the command prints, once it has succeeded."""

    def run(*arguments):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def fail(directory):
    """`fail("sample", "MODEL", ...)`: the one line of the error. With `code=2`, it follows lines on the usage."""

    def fail(*arguments, code=1):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        assert isinstance(result.exception, SystemExit)
        *usage, error = result.output.splitlines()
        assert bool(usage) == (code == 2)
        assert error.startswith("Error: ")
        return error

    return fail
