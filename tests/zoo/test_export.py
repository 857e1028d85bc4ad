"""Exported files are run by their own runtimes, on inputs that the export did not check."""

import copy
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import idgan
from idgan.cli import main
from idgan.errors import IdganError, InvalidInputError
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.export import export
from idgan.zoo.weights import write_checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*not supported"),
]
BATCHES = (1, 5)


def sampler_of(s_dim, channels=1):
    """Random weights, large enough for outputs that differ from input to input."""
    sampler = Sampler(ModelConfig(VAEConfig(4, channels), ConvGeneratorConfig(4, s_dim, channels)))
    for parameter in sampler.parameters():
        parameter.normal_(std=0.1)
    return sampler


def generator_cases(sampler):
    for n in BATCHES:
        c, s = torch.randn(n, sampler.c_dim), torch.randn(n, sampler.s_dim)
        yield ([c, s] if sampler.s_dim else [c]), [sampler(c, s)]


def encoder_cases(sampler):
    for n in BATCHES:
        images = torch.rand(n, sampler.image_channels, 64, 64)
        posterior = sampler.posterior(images)
        yield [images], [posterior.mean, posterior.logvar]


def decoder_cases(sampler):
    for n in BATCHES:
        c = torch.randn(n, sampler.c_dim)
        yield [c], [sampler.decode(c)]


CASES = {"generator": generator_cases, "decoder": decoder_cases, "encoder": encoder_cases}


def contents_of(path):
    """The bytes of a file, and those of the files in it if it is an archive."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())


def run_torchscript(path):
    return torch.jit.load(path)


def run_exported_program(path):
    return torch.export.load(path).module()


def run_onnx(path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime runs ONNX files")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return lambda *inputs: [
        torch.from_numpy(found) for found in session.run(None, {name: x.numpy() for name, x in zip(names, inputs)})
    ]


RUNNERS = {"onnx": run_onnx, "torchscript": run_torchscript, "exported-program": run_exported_program}


@pytest.mark.parametrize("format", RUNNERS)
@pytest.mark.parametrize(
    ("part", "s_dim", "channels"), [("generator", 0, 1), ("generator", 3, 3), ("decoder", 0, 3), ("encoder", 0, 3)]
)
def test_an_exported_file_computes_what_the_sampler_does_at_any_batch_size(tmp_path, format, part, s_dim, channels):
    if format == "onnx":
        pytest.importorskip("onnxscript", reason="PyTorch exports to ONNX by onnxscript")
    sampler, path = sampler_of(s_dim, channels), tmp_path / "new" / "network.pt2"
    result = export(sampler, path, part=part, format=format)
    assert result["bytes"] == path.stat().st_size
    assert [file.name for file in path.parent.iterdir()] == ["network.pt2"]
    assert (
        set(result["differences"])
        == set(result["outputs"])
        == ({"mean", "logvar"} if part == "encoder" else {"images"})
    )
    assert max(result["differences"].values()) < 1e-5
    assert not any(str(Path(idgan.__file__).parent).encode() in content for content in contents_of(path))
    network = RUNNERS[format](str(path))
    for inputs, expected in CASES[part](sampler):
        assert [("N", *x.shape[1:]) for x in inputs] == list(result["inputs"].values())
        found = network(*inputs)
        found = [found] if isinstance(found, torch.Tensor) else found
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert other.std() > 1e-3  # else anything would be close
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_images_are_clamped_as_the_sampler_clamps_them(tmp_path):
    sampler = sampler_of(0)
    sampler.generator.layers.append(Doubled())
    export(sampler, tmp_path / "network.pt", format="torchscript")
    images = torch.jit.load(tmp_path / "network.pt")(torch.randn(8, 4))
    assert (images.min(), images.max()) == (0, 1)


class Doubled(nn.Module):
    def forward(self, x):
        return 20 * x


def test_the_sampler_is_left_as_it_was(tmp_path):
    sampler = sampler_of(0).to(torch.float16)
    before = copy.deepcopy(sampler.state_dict())
    export(sampler, tmp_path / "network.pt", format="torchscript")
    assert sampler.dtype == torch.float16
    assert all(torch.equal(tensor, before[name]) for name, tensor in sampler.state_dict().items())
    assert torch.jit.load(tmp_path / "network.pt")(torch.zeros(1, 4)).dtype == torch.float32


class OwnVAE(nn.Module):
    """A VAE whose encoder is a method, with BatchNorm, and without a decoder."""

    config = VAEConfig(4)

    def __init__(self):
        super().__init__()
        self.convolution, self.norm, self.logvar = nn.Conv2d(1, 4, 64), nn.BatchNorm2d(4), nn.Linear(4, 4)
        self.unused = nn.Linear(1000, 1000)

    def encode(self, x):
        mean = self.norm(self.convolution(x)).flatten(1)
        return Posterior(mean, self.logvar(mean))


@pytest.mark.parametrize("format", ["torchscript", "exported-program"])
def test_the_encoder_is_what_the_vae_encodes_with(tmp_path, format):
    sampler = Sampler(ModelConfig(VAEConfig(4), ConvGeneratorConfig(4, 0)), vae=OwnVAE())
    result = export(sampler, tmp_path / "network", part="encoder", format=format)
    assert result["bytes"] < 1_000_000  # the unused layer has four times as many
    assert list(result["outputs"]) == ["mean", "logvar"]
    assert sampler.vae.unused.weight.shape == (1000, 1000)


def test_a_failed_export_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="could not write"):
        export(sampler_of(0), tmp_path / "file" / "network", format="torchscript")
    sampler = Sampler(ModelConfig(VAEConfig(4, 1), Branching.config), generator=Branching())
    sampler.generator.weight = nn.Parameter(torch.zeros(1), requires_grad=False)
    with pytest.raises(IdganError, match="was not written"):
        export(sampler, tmp_path / "network", format="torchscript")
    assert not list((tmp_path / "temporary").iterdir())


class Branching(nn.Module):
    """What it computes depends on the batch size in a way that a trace does not see."""

    config = ConvGeneratorConfig(4, 0, 1)

    def forward(self, code):
        return 0 * code.sum(1)[:, None, None, None].expand(-1, 1, 64, 64) + (0.5 if int(code.shape[0]) == 2 else 0.0)


def test_a_file_that_computes_something_else_is_not_written_and_the_old_one_stays(tmp_path):
    sampler = Sampler(ModelConfig(VAEConfig(4, 1), Branching.config), generator=Branching())
    sampler.generator.weight = nn.Parameter(torch.zeros(1), requires_grad=False)
    path = tmp_path / "network.pt"
    path.write_bytes(b"old")
    with pytest.raises(
        IdganError, match=r"network\.pt was not written: the torchscript generator differs .*'images': 0.25"
    ):
        export(sampler, path, format="torchscript")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("options", [{"part": "discriminator"}, {"format": "tflite"}, {"part": None}])
def test_unknown_parts_and_formats_are_refused(tmp_path, options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be one of"):
        export(sampler_of(0), tmp_path / "network", **options)
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_wrote(tmp_path):
    model = write_checkpoint(tmp_path / "model.safetensors", sampler_of(3))
    out = tmp_path / "generator.pt"
    result = CliRunner().invoke(main, ["export", str(model), "--format", "torchscript", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "c (N, 4), s (N, 3) -> images (N, 1, 64, 64)" in result.output
    assert "largest difference from the model: images" in result.output
    assert out.exists()
