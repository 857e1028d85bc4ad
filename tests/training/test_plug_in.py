"""Networks that are not the package's: any encoder with `encode -> Posterior`, any generator of cat([s, c])."""

import dataclasses
import json
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import idgan
from idgan.data import DSprites
from idgan.errors import InvalidInputError
from idgan.networks import ConvGeneratorConfig, Posterior, register_network
from idgan.objectives import BetaVAEConfig
from idgan.recipes import Adam, recipe_of
from idgan.training import train
from idgan.training.checkpoint import load_state
from idgan.training.distributed import process_group
from idgan.training.run import Run
from idgan.zoo.weights import golden_differences

KEPT = "networks.safetensors"


@dataclass(frozen=True)
class MeansConfig:
    """An encoder of four block means, with nothing to train, that comes without a decoder."""

    c_dim: int = 4
    image_channels: int = 1
    resolution: int = 32

    def build(self):
        return Means()


class Means(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(2.0))

    def encode(self, x):
        assert x.shape[-1] == 32
        mean = self.scale * nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return Posterior(mean, torch.full_like(mean, -2.0))


@dataclass(frozen=True)
class FlatVAEConfig:
    """One linear layer each way, with batch statistics."""

    c_dim: int = 4
    image_channels: int = 1
    resolution: int = 64

    def build(self):
        return FlatVAE(self)


class FlatVAE(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.down = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 2 * config.c_dim), nn.BatchNorm1d(2 * config.c_dim))
        self.up = nn.Sequential(nn.Linear(config.c_dim, 64 * 64), nn.Unflatten(1, (1, 64, 64)))

    def encode(self, x):
        return Posterior(*self.down(x).float().chunk(2, dim=1))

    def decode_logits(self, c):
        return self.up(c).float()

    def decode(self, c):
        return self.decode_logits(c).sigmoid()


@dataclass(frozen=True)
class FlatGeneratorConfig:
    c_dim: int = 4
    s_dim: int = 3
    image_channels: int = 1
    resolution: int = 64

    def build(self):
        return nn.Sequential(
            nn.Linear(self.s_dim + self.c_dim, 64 * 64),
            nn.BatchNorm1d(64 * 64),
            nn.Tanh(),
            nn.Unflatten(1, (1, 64, 64)),
        )


@register_network("test-flat-vae")
@dataclass(frozen=True)
class RegisteredVAEConfig(FlatVAEConfig):
    """`FlatVAEConfig` under a name that a checkpoint can hold."""


@register_network("test-encoder")
@dataclass(frozen=True)
class RegisteredEncoderConfig:
    """An encoder with weights and without a decoder. With `pretrained`, its weights do not depend on a seed."""

    c_dim: int = 4
    image_channels: int = 1
    resolution: int = 64
    pretrained: bool = False

    def build(self):
        return OnlyEncoder(self)


class OnlyEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 2 * config.c_dim))
        if config.pretrained:
            nn.init.constant_(self.layers[1].weight, 0.01)
            nn.init.zeros_(self.layers[1].bias)

    def encode(self, x):
        return Posterior(*self.layers(x).float().chunk(2, dim=1))


@register_network("test-flat-generator")
@dataclass(frozen=True)
class RegisteredGeneratorConfig(FlatGeneratorConfig):
    """`FlatGeneratorConfig` under a name that a checkpoint can hold."""


@dataclass(frozen=True)
class FlatDiscriminatorConfig:
    features: str = "/home/someone/features.pt"

    def build(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 1), nn.Flatten(0))


@pytest.fixture
def recipe():
    """`recipe(vae, stage_1=True, generator)`: dSprites' recipe with networks of a user's own, two steps a stage."""

    def make(vae, stage_1=True, generator=FlatGeneratorConfig()):
        recipe = recipe_of("dsprites")
        sizes = {"steps": 2, "batch_size": 4, "precision": "fp32"}
        first = dataclasses.replace(
            recipe.vae_stage, objective=BetaVAEConfig(), optimizers={"vae": Adam(1e-3)}, select_every=0, **sizes
        )
        return dataclasses.replace(
            recipe,
            vae=vae,
            generator=generator,
            discriminator=FlatDiscriminatorConfig(),
            vae_stage=first if stage_1 else None,
            gan_stage=dataclasses.replace(recipe.gan_stage, ema_decay=0.5, **sizes),
            bank_size=8,
        )

    return make


@pytest.fixture
def options():
    return {"device": "cpu", "threads": 1, "progress": False}


def test_two_steps_of_both_stages_leave_the_weights_and_a_picture(recipe, options, tmp_path):
    recipe = recipe(FlatVAEConfig())
    with pytest.warns(
        UserWarning,
        match=r"no .*model.safetensors was written: FlatVAEConfig and FlatGeneratorConfig must be registered",
    ):
        out = train(recipe, tmp_path / "run", **options)
    assert out == tmp_path / "run"
    assert {KEPT, "samples.png", "recipe.json"} <= {path.name for path in out.iterdir()}
    assert not (out / "model.safetensors").exists()
    described = json.loads((out / "recipe.json").read_text())
    assert (described["vae.type"], described["generator.s_dim"]) == ("FlatVAEConfig", 3)

    kept = load_state(out / KEPT)
    for part in ("vae", "generator"):
        recipe.build(part).load_state_dict(kept[part])
    gan, vae = load_file(out / "gan" / "state.safetensors"), load_file(out / "vae" / "state.safetensors")
    assert all(torch.equal(tensor, gan[f"/ema/module.{name}"]) for name, tensor in kept["generator"].items())
    assert all(
        torch.equal(tensor, vae[f"/objective/vae.{name}"]) for name, tensor in kept["vae"].items()
    )  # frozen in stage 2, statistics too
    assert not torch.equal(kept["generator"]["0.weight"], gan["/objective/generator.0.weight"])


@pytest.mark.filterwarnings("ignore:no .* was written")
def test_it_continues_with_the_same_bits(recipe, options, tmp_path):
    whole = train(recipe(FlatVAEConfig()), tmp_path / "whole", **options)
    for steps in (1, 2):
        parts = recipe(FlatVAEConfig())
        parts = dataclasses.replace(parts, gan_stage=dataclasses.replace(parts.gan_stage, steps=steps))
        train(parts, tmp_path / "parts", **options)
    ours, theirs = load_file(tmp_path / "parts" / KEPT), load_file(whole / KEPT)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.filterwarnings("ignore:no .* was written")
def test_an_encoder_that_needs_no_training_is_taken_as_it_is(recipe, options, tmp_path):
    out = train(recipe(MeansConfig(), stage_1=False), tmp_path / "run", **options)
    assert not (out / "vae").exists()
    last = json.loads((out / "gan" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 2
    assert "r_id" in last
    assert load_state(out / KEPT)["vae"]["scale"] == 2.0


@pytest.mark.filterwarnings("ignore:no .* was written")
def test_methods_are_for_own_networks_too(recipe, options, tmp_path):
    for method in ("gan", "end-to-end", "vae-gan", "beta-vae"):
        out = train(recipe(FlatVAEConfig()), tmp_path / method, method=method, **options)
        assert load_state(out / KEPT).keys() == {"vae", "generator"}


@pytest.mark.filterwarnings("ignore:no .* was written")
def test_a_own_vae_of_another_run_takes_the_place_of_stage_1(recipe, options, tmp_path):
    first = train(recipe(FlatVAEConfig()), tmp_path / "first", stage="vae", **options)
    out = train(recipe(FlatVAEConfig()), tmp_path / "second", vae=first, **options)
    weights = load_file(first / "vae" / "state.safetensors")
    assert all(
        torch.equal(tensor, weights[f"/objective/vae.{name}"]) for name, tensor in load_state(out / KEPT)["vae"].items()
    )


def test_a_look_at_networks_with_batch_statistics_leaves_them_as_they_are(recipe, tmp_path):
    with process_group("cpu") as group:
        run = Run(recipe(FlatVAEConfig()), tmp_path / "run", DSprites(), group)
        before = {name: tensor.clone() for name, tensor in run.vae.train().state_dict().items()}
        assert min(run.vae_picture(run.vae).size) > 64
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.vae.state_dict().items())
    assert run.vae.training


def test_networks_that_do_not_go_together_are_refused_at_once(recipe, options, tmp_path):
    odd = dataclasses.replace(recipe(FlatVAEConfig()), generator=ConvGeneratorConfig(c_dim=9))
    with pytest.raises(InvalidInputError, match="c_dim is 4 in the VAE, 9 in the generator"):
        train(odd, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------ registered networks


def test_registered_networks_end_in_a_checkpoint_like_any_other(recipe, options, tmp_path):
    recipe = recipe(RegisteredVAEConfig(), generator=RegisteredGeneratorConfig())
    path = train(recipe, tmp_path / "run", measure=False, **options)
    assert path == tmp_path / "run" / "model.safetensors"
    assert not (tmp_path / "run" / KEPT).exists()
    described = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (described["vae.type"], described["generator.type"]) == ("test-flat-vae", "test-flat-generator")
    sampler = idgan.load(path, device="cpu")
    assert sampler.config.vae == RegisteredVAEConfig() and sampler.untrained == ()
    assert sampler.sample(n=2, seed=0).shape == (2, 1, 64, 64)
    assert all(difference < 1e-4 for difference in golden_differences(path).values())
    assert sampler.generator.state_dict()["1.num_batches_tracked"].dtype == torch.int64
    command = sampler.record.command
    assert command.startswith("No command repeats this training. It used code of the caller: ")
    assert "vae test-flat-vae" in command and "generator test-flat-generator" in command
    assert sampler.record.settings["discriminator.features"] == "features.pt"  # private paths stay private


def test_an_encoder_without_a_decoder_ends_in_a_checkpoint(recipe, options, tmp_path):
    recipe = recipe(RegisteredEncoderConfig(pretrained=True), stage_1=False, generator=RegisteredGeneratorConfig())
    path = train(recipe, tmp_path / "run", measure=False, **options)
    sampler = idgan.load(path, device="cpu")
    assert sampler.untrained == ("decoder",)
    assert golden_differences(path).keys() == {"images", "mean"}
    x = sampler.sample(n=2, seed=0)
    assert sampler.encode(x).shape == (2, 4)


@pytest.mark.parametrize(
    ("vae", "expected"),
    [
        (RegisteredVAEConfig(), ("encoder", "decoder")),
        (RegisteredEncoderConfig(), ("encoder", "decoder")),
        (RegisteredEncoderConfig(pretrained=True), ("decoder",)),
    ],
)
def test_untrained_parts_of_a_vae_are_found_by_its_parameters(recipe, vae, expected, tmp_path):
    recipe = recipe(vae, stage_1=False)
    with process_group("cpu") as group:
        run = Run(recipe, tmp_path / "run", DSprites(), group, progress=False)
        run.train_gan()
    assert run.untrained() == expected


def test_a_registered_vae_that_cannot_be_a_generator_keeps_its_weights(recipe, options, tmp_path):
    with pytest.warns(
        UserWarning, match="the generator is the decoder of RegisteredVAEConfig, which has no as_generator"
    ):
        out = train(recipe(RegisteredVAEConfig()), tmp_path / "run", method="beta-vae", **options)
    assert load_state(out / KEPT).keys() == {"vae", "generator"}
