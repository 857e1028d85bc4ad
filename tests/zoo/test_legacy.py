"""The reference's checkpoints, made of its own layers with random weights by the paper's tables and its files' keys."""

import copy
import os
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from idgan.cli import main
from idgan.errors import CheckpointError, IdganError, InvalidInputError
from idgan.zoo import load, verify
from idgan.zoo.legacy import convert
from idgan.zoo.weights import read_checkpoint, write_checkpoint

C_DIM = 10


class View(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return x.view(-1, *self.shape)


class Layered(nn.Module):
    """The reference names every layer `layer.N`, activations and views counted."""

    def __init__(self, *layers):
        super().__init__()
        self.layer = nn.Sequential(*layers)

    def forward(self, x):
        return self.layer(x)


def original_encoder(channels, outputs):
    return Layered(
        nn.Conv2d(channels, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(64, 256, 4, 1),
        nn.ReLU(),
        View(256),
        nn.Linear(256, outputs),
    )


def original_decoder(inputs, channels, *output):
    return Layered(
        nn.Linear(inputs, 256),
        View(256, 1, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 64, 4),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 64, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 32, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, channels, 4, 2, 1),
        *output,
    )


class OriginalBlock(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv_0 = nn.Conv2d(before, min(before, after), 3, 1, 1)
        self.conv_1 = nn.Conv2d(min(before, after), after, 3, 1, 1)
        if before != after:
            self.conv_s = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x):
        residual = self.conv_1(nn.functional.leaky_relu(self.conv_0(nn.functional.leaky_relu(x, 0.2)), 0.2))
        return (self.conv_s(x) if hasattr(self, "conv_s") else x) + 0.1 * residual


class OriginalResNet(nn.Module):
    """The generator of natural images, tables A.4 to A.7 scaled down: 4x4 to 32x32, base width 4, at most 16."""

    def __init__(self, inputs):
        super().__init__()
        self.fc = nn.Linear(inputs, 16 * 4 * 4)
        blocks = [OriginalBlock(16, 16), OriginalBlock(16, 8), OriginalBlock(8, 4), OriginalBlock(4, 4)]
        up = nn.Upsample(scale_factor=2)
        self.resnet = nn.Sequential(blocks[0], up, blocks[1], up, blocks[2], up, blocks[3])
        self.conv_img = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, code):
        features = self.resnet(self.fc(code).view(-1, 16, 4, 4))
        return torch.tanh(self.conv_img(nn.functional.leaky_relu(features, 0.2)))


class Originals:
    """A pair of reference checkpoints: the networks, and what its two training programs save of them."""

    def __init__(self, channels=1, s_dim=0, generator=None):
        self.net = nn.Module()
        self.net.encoder = original_encoder(channels, 2 * C_DIM)
        self.net.decoder = original_decoder(C_DIM, channels)
        self.generator = nn.DataParallel(generator or original_decoder(s_dim + C_DIM, channels, nn.Tanh()))
        self.generator_test = copy.deepcopy(self.generator)
        for parameter in [*self.net.parameters(), *self.generator.parameters(), *self.generator_test.parameters()]:
            nn.init.normal_(parameter, std=0.1)  # biases too: a network without them would hide their loss
        discriminator = nn.DataParallel(original_encoder(channels, 1))
        self.vae = {
            "iter": 500_000,
            "model_states": {"net": self.net.state_dict(), "c_dim": C_DIM, "nc": channels},
            "optim_states": {"optim": optimizer_state("exp_avg", "exp_avg_sq")},
        }
        self.gan = {
            "it": 300_000,
            "generator": self.generator.state_dict(),
            "discriminator": discriminator.state_dict(),
            "g_optimizer": optimizer_state("square_avg"),
            "d_optimizer": optimizer_state("square_avg"),
            "generator_test": self.generator_test.state_dict(),
        }

    def at(self, directory):
        """A copy that saves in `directory`; only the networks are shared."""
        one = copy.copy(self)
        one.directory, one.vae, one.gan = directory, copy.deepcopy(self.vae), copy.deepcopy(self.gan)
        return one

    def save(self, **options):
        """The two files, as they are now: (VAE, GAN)."""
        paths = self.directory / "last", self.directory / "model.pt"
        for values, path in zip((self.vae, self.gan), paths):
            torch.save(values, path, **options)
        return paths

    def convert(self, **options):
        return convert(*self.save(), **options)


def optimizer_state(*averages):
    """As an optimizer of one parameter saves it, after a step."""
    state = {"step": torch.tensor(1.0), **{average: torch.ones(3) for average in averages}}
    return {"state": {0: state}, "param_groups": [{"lr": 1e-4, "eps": 1e-8, "weight_decay": 0, "params": [0]}]}


@pytest.fixture(scope="module")
def gray():
    return Originals()


@pytest.fixture
def originals(gray, tmp_path):
    """Originals whose files' content a test may change."""
    return gray.at(tmp_path)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert expected.std() > 1e-3  # else anything would be close


@torch.no_grad()
def assert_same_networks(sampler, originals):
    c, s, x = torch.randn(5, C_DIM), torch.randn(5, sampler.s_dim), torch.rand(5, sampler.image_channels, 64, 64)
    mean, logvar = originals.net.encoder(x).split(C_DIM, dim=1)
    close(sampler.vae.encode(x).mean, mean)
    close(sampler.vae.encode(x).logvar, logvar)
    close(sampler.vae.decode_logits(c), originals.net.decoder(c))
    close(sampler(c, s), originals.generator_test.module(torch.cat([s, c], 1)) / 2 + 0.5)


# ------------------------------------------------------------------ what comes in


@pytest.mark.parametrize(("channels", "s_dim"), [(1, 0), (3, 6)])
def test_converted_networks_compute_what_the_original_layers_do(tmp_path, channels, s_dim):
    originals = Originals(channels, s_dim).at(tmp_path)
    sampler = originals.convert()
    assert (sampler.c_dim, sampler.s_dim, sampler.image_channels) == (C_DIM, s_dim, channels)
    assert_same_networks(sampler, originals)


@pytest.fixture(scope="module")
def natural():
    return Originals(3, 6, OriginalResNet(6 + C_DIM))


def test_the_generator_of_natural_images_is_converted_too(natural, tmp_path):
    sampler = natural.at(tmp_path).convert()
    assert (sampler.resolution, sampler.config.generator.base_width, sampler.config.generator.max_width) == (32, 4, 16)
    assert_same_networks(sampler, natural)
    path = write_checkpoint(tmp_path / "natural.safetensors", sampler)
    assert_same_networks(read_checkpoint(path), natural)


def test_the_moving_average_is_taken(originals):
    sampler = originals.convert()
    c = torch.randn(2, C_DIM)
    with torch.no_grad():
        assert (sampler(c, torch.zeros(2, 0)) - originals.generator.module(c) / 2 - 0.5).abs().max() > 1e-3


def test_files_of_old_pytorch_and_a_wrapped_vae_are_read(originals):
    originals.vae["model_states"]["net"] = nn.DataParallel(originals.net).state_dict()
    assert_same_networks(convert(*originals.save(_use_new_zipfile_serialization=False)), originals)


def test_a_converted_checkpoint_is_written_and_loads_and_holds_its_goldens(originals, tmp_path):
    path = write_checkpoint(tmp_path / "dsprites.safetensors", originals.convert(name="mine"))
    assert_same_networks(read_checkpoint(path), originals)
    assert verify(path)["ok"]
    sampler = load(path, device="cpu")
    assert sampler.info["name"] == "mine"
    origin = sampler.info["training"]["converted_from"]
    assert (origin["vae"]["steps"], origin["gan"]["steps"]) == (500_000, 300_000)


def test_without_data_the_bank_is_the_normal_prior(originals):
    sampler = originals.convert()
    assert torch.equal(sampler.bank.kl(), torch.zeros(1, C_DIM))
    x = torch.rand(2, 1, 64, 64)
    assert torch.equal(sampler.encode(x), sampler.posterior(x).mean)  # no dimension is taken for collapsed
    assert torch.equal(sampler.codes(8, seed=1, prior="aggregated")[0], sampler.codes(8, seed=1, prior="normal")[0])


def test_with_data_the_bank_is_the_encoder_s_view_of_it(originals):
    sampler = originals.convert(data="dsprites", bank_size=300)
    assert sampler.info["data"] == "dsprites"
    assert len(sampler.bank) == 300
    assert torch.equal(sampler.bank.mean, originals.convert(data="dsprites", bank_size=300).bank.mean)
    assert len(sampler.bank.mean.unique(dim=0)) > 250  # sprites, and not one of them again and again
    with pytest.raises(InvalidInputError, match="3 channels"):
        originals.convert(data="color-dsprites")
    with pytest.raises(InvalidInputError, match="dsprite-s"):
        originals.convert(data="dsprite-s")


# ------------------------------------------------------------------ what stays out


def refusal(originals, words):
    """The conversion fails and says `words`, a regular expression."""
    with pytest.raises(CheckpointError, match=words):
        originals.convert()


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("part", ["vae", "gan"])
def test_a_hostile_pickle_is_refused_and_not_run(originals, tmp_path, part):
    getattr(originals, part)["extra"] = Hostile(tmp_path / "ran")
    refusal(originals, "plain data.*mkdir")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x80\x02garbage", bytes(range(256)) * 40])
def test_what_is_no_checkpoint_is_refused(originals, content):
    vae, gan = originals.save()
    for path in (vae, gan):
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="last is not a PyTorch checkpoint"):
        convert(vae, gan)


def test_a_cut_file_is_refused_and_an_absent_one_is_said_to_be_absent(originals, tmp_path):
    vae, gan = originals.save()
    gan.write_bytes(gan.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        convert(vae, gan)
    with pytest.raises(FileNotFoundError):
        convert(vae, tmp_path / "absent")


def test_the_two_files_in_each_other_s_place_are_refused(originals):
    vae, gan = originals.save()
    with pytest.raises(
        CheckpointError, match=r"missing: \['iter', 'model_states', 'optim_states'\]; not expected: \['it', 'generator'"
    ):
        convert(gan, vae)


def test_keys_of_the_files_are_held_to(originals):
    del originals.gan["generator_test"]
    refusal(originals, r"missing: \['generator_test'\]; not expected: none")
    originals.vae["model_states"]["beta"] = 4
    refusal(originals, r"model_states .*missing: none; not expected: \['beta'\]")


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize("name", ["encoder.layer.8.weight", "decoder.layer.3.bias"])
def test_tensors_of_the_vae_are_held_to(originals, name):
    net = originals.vae["model_states"]["net"]
    tensor = net.pop(name)
    refusal(originals, f"missing: .*{name}.*not expected: none")
    net[name] = tensor[..., :-1]
    refusal(originals, f"{name} must be float32")
    net[name] = tensor.double()
    refusal(originals, f"{name} must be float32")
    net[name] = torch.full_like(tensor, torch.nan)
    refusal(originals, f"{name} has values that are not finite")
    for odd in (tensor.to_sparse(), torch.zeros(1).expand(tensor.shape), torch.tensor(1.0), "tensor"):
        net[name] = odd
        refusal(originals, "plain tensors")
    net |= {name: tensor, "encoder.layer.13.weight": tensor}
    refusal(originals, r"missing: none; not expected: \['encoder.layer.13.weight'\]")


def test_tensors_of_the_generator_are_held_to(originals):
    state = originals.gan["generator_test"]
    tensor = state.pop("module.layer.5.bias")
    refusal(originals, r"missing: \['layer.5.bias'\]")
    state |= {"module.layer.5.bias": tensor, "module.layer.12.bias": tensor}
    refusal(originals, r"not expected: \['layer.12.bias'\]")
    del state["module.layer.12.bias"]
    state["module.layer.11.weight"] = torch.zeros(32, 3, 4, 4)
    refusal(originals, r"layer.11.weight must be float32 \(32, 1, 4, 4\), found .* \(32, 3, 4, 4\)")


@pytest.mark.parametrize("width", [C_DIM - 1, 10**6])
def test_a_generator_of_another_code_is_refused(originals, width):
    originals.gan["generator_test"]["module.layer.0.weight"] = torch.zeros(1, width)
    refusal(originals, f"a generator with {width} inputs does not fit the 10 code dimensions")


@pytest.mark.parametrize(
    ("key", "value"), [("c_dim", 0), ("c_dim", 10.0), ("c_dim", 10**12), ("nc", True), ("nc", None)]
)
def test_numbers_of_the_vae_are_held_to(originals, key, value):
    originals.vae["model_states"][key] = value
    refusal(originals, f"{key} must be an integer")


def test_a_code_width_that_the_layers_do_not_have_is_refused(originals):
    originals.vae["model_states"]["c_dim"] = C_DIM + 1
    refusal(originals, "must be float32")


def test_tensors_of_the_generator_of_natural_images_are_held_to(natural, tmp_path):
    originals = natural.at(tmp_path)
    state = originals.gan["generator_test"]
    tensor = state.pop("module.resnet.2.conv_s.weight")
    refusal(originals, r"missing: \['resnet.2.conv_s.weight'\]")
    state |= {"module.resnet.2.conv_s.weight": tensor, "module.resnet.0.conv_s.weight": tensor}
    refusal(originals, r"not expected: \['resnet.0.conv_s.weight'\]")
    del state["module.resnet.0.conv_s.weight"]
    state["module.conv_img.weight"] = torch.zeros(1, 4, 3, 3)
    refusal(originals, r"conv_img.weight must be float32 \(3, 4, 3, 3\)")
    del state["module.fc.weight"]
    refusal(originals, "a generator with 0 inputs")
    del state["module.fc.bias"]
    refusal(originals, "is not supported")


@pytest.mark.parametrize("state", [{}, {"module.other": torch.zeros(1)}])
def test_a_generator_of_no_known_family_is_refused(originals, state):
    originals.gan["generator_test"] = state
    refusal(originals, "which tell the kinds of generators apart")


def test_a_faulty_translation_is_noticed(originals, monkeypatch):
    from idgan.zoo import legacy

    right = legacy._decoder

    def wrong(*arguments):
        stack = right(*arguments)
        return replace(stack, translate=lambda state: stack.translate(state | {"5.bias": state["5.bias"].flip(0)}))

    monkeypatch.setattr(legacy, "_decoder", wrong)
    refusal(originals, r"decoder.layer.\* computes something else")


# ------------------------------------------------------------------ command line


def test_the_command_makes_a_model_and_says_what_it_lacks(originals, tmp_path):
    vae, gan = map(str, originals.save())
    out = tmp_path / "converted.safetensors"
    result = CliRunner().invoke(main, ["convert", "--vae", vae, "--gan", gan, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "VAE of 500,000 steps, GAN of 300,000" in result.output
    assert "Without --data" in result.output
    assert load(out, device="cpu").info["name"] == "converted"


def test_the_command_fails_in_one_line_and_writes_nothing(originals, tmp_path):
    vae, gan = map(str, originals.save())
    out = tmp_path / "converted.safetensors"
    result = CliRunner().invoke(main, ["convert", "--vae", gan, "--gan", vae, "--out", str(out)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert issubclass(CheckpointError, IdganError)
    assert not out.exists()
