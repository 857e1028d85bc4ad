import json
import sys
from dataclasses import dataclass, field, make_dataclass
from typing import Literal

import pytest
from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks import (
    NETWORKS,
    ConvGeneratorConfig,
    ModelConfig,
    NuisanceEncoderConfig,
    VAEConfig,
    register_network,
)

CONFIG = ModelConfig(VAEConfig(c_dim=6, image_channels=3), ConvGeneratorConfig(c_dim=6, s_dim=4, image_channels=3))


def described(**changes):
    """The result of `CONFIG.to_dict()` with `changes` to its parts: part -> fields to set, or a value for the part."""
    values = json.loads(json.dumps(CONFIG.to_dict()))
    for part, change in changes.items():
        values[part] = values.get(part, {}) | change if isinstance(change, dict) else change
    return values


def test_shapes_come_from_the_two_parts():
    assert (CONFIG.c_dim, CONFIG.s_dim, CONFIG.image_channels, CONFIG.resolution) == (6, 4, 3, 64)


def test_json_round_trip():
    assert ModelConfig.from_dict(described()) == CONFIG


def test_files_name_the_networks_of_the_package_without_their_package():
    assert CONFIG.to_dict()["vae"] == {"type": "VAEConfig", "c_dim": 6, "image_channels": 3}


def test_a_generator_without_nuisance_is_a_model():
    assert ModelConfig.from_dict(described(generator={"s_dim": 0})).s_dim == 0


@pytest.mark.parametrize(
    "generator", [ConvGeneratorConfig(c_dim=7, image_channels=3), ConvGeneratorConfig(c_dim=6, image_channels=1)]
)
def test_parts_that_do_not_fit_are_refused(generator):
    with pytest.raises(InvalidInputError, match="in the VAE"):
        ModelConfig(CONFIG.vae, generator)


def test_a_nuisance_encoder_is_a_third_part_that_fits_the_generator():
    config = ModelConfig(CONFIG.vae, CONFIG.generator, NuisanceEncoderConfig(s_dim=4, image_channels=3))
    assert CONFIG.parts == ("vae", "generator") and config.parts == ("vae", "generator", "nuisance_encoder")
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config and config.is_registered
    for other, message in (
        (NuisanceEncoderConfig(s_dim=5, image_channels=3), "s_dim is 5 in the nuisance encoder, 4 in the generator"),
        (NuisanceEncoderConfig(s_dim=4), "image_channels is 1 in the nuisance encoder, 3 in the generator"),
        (VAEConfig(image_channels=3), "nuisance_encoder cannot be a VAEConfig: it has no s_dim"),
        (CONFIG.generator, "nuisance_encoder cannot be a ConvGeneratorConfig: it has c_dim"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            ModelConfig(CONFIG.vae, CONFIG.generator, other)
    with pytest.raises(InvalidInputError, match="s_dim must be an integer from 1 to"):
        NuisanceEncoderConfig(s_dim=0)


def test_a_mismatch_is_refused_when_read_too():
    with pytest.raises(InvalidInputError, match="c_dim is 6 in the VAE, 5 in the generator"):
        ModelConfig.from_dict(described(generator={"c_dim": 5}))


@pytest.mark.parametrize("values", [None, [], "vae", {}, {"vae": {}}, described(extra={})])
def test_other_parts_are_refused(values):
    with pytest.raises(InvalidInputError, match="has the parts vae and generator"):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize("kind", ["Nothing", "VAEConfig ", "os.system", "idgan.networks.vae:VAEConfig", "", "a" * 9999])
def test_an_unknown_type_is_refused_with_the_known_ones(kind):
    with pytest.raises(
        InvalidInputError, match="generator: no network is called .*known: .*ConvGeneratorConfig"
    ) as caught:
        ModelConfig.from_dict(described(generator={"type": kind}))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", [None, [], {}, 0])
def test_a_type_that_is_no_text_is_refused(kind):
    with pytest.raises(InvalidInputError, match="generator must be an object with the name of a network as type"):
        ModelConfig.from_dict(described(generator={"type": kind}))


@pytest.mark.parametrize("part", ["VAEConfig", None, 3, [["type", "VAEConfig"]]])
def test_a_part_that_is_not_an_object_is_refused(part):
    with pytest.raises(InvalidInputError, match="vae must be an object"):
        ModelConfig.from_dict(described(vae=part))


def test_a_generator_in_the_place_of_the_vae_is_refused():
    with pytest.raises(InvalidInputError, match="vae cannot be a ConvGeneratorConfig: it has s_dim"):
        ModelConfig.from_dict(described(vae=described()["generator"]))


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"type": "VAEConfig", "c_dim": 6, "image_channels": 3}, "s_dim"),
        ({"type": "ConvDiscriminatorConfig", "image_channels": 3}, "c_dim, s_dim"),
    ],
)
def test_only_a_generator_may_be_the_generator(values, missing):
    with pytest.raises(InvalidInputError, match=f"generator cannot be a {values['type']}: it has no {missing}"):
        ModelConfig.from_dict(described() | {"generator": values})


def test_missing_and_surplus_fields_are_refused():
    values = described()
    del values["vae"]["c_dim"]
    with pytest.raises(InvalidInputError, match="VAEConfig has the fields c_dim, image_channels; got image_channels"):
        ModelConfig.from_dict(values)
    with pytest.raises(InvalidInputError, match="has the fields"):
        ModelConfig.from_dict(described(vae={"depth": 3}))


@pytest.mark.parametrize("value", [6.0, "6", True, None, [6]])
def test_fields_of_another_type_are_refused(value):
    with pytest.raises(InvalidInputError, match=r"vae: VAEConfig.c_dim must be of type int, got"):
        ModelConfig.from_dict(described(vae={"c_dim": value}))


@pytest.mark.parametrize("value", [0, -1, 4097])
def test_fields_out_of_range_are_refused(value):
    with pytest.raises(InvalidInputError, match=f"VAEConfig.*c_dim must be an integer from 1 to 4096, got {value}"):
        ModelConfig.from_dict(described(vae={"c_dim": value}))


@pytest.mark.parametrize("value", [10**30, {}, [[{}]], float("nan"), float("inf"), "x" * 1001, [1] * 1001])
def test_values_that_are_not_plain_or_too_large_are_refused(value):
    with pytest.raises(InvalidInputError, match=r"VAEConfig.c_dim must be an integer up to 1,048,576, a finite"):
        ModelConfig.from_dict(described(vae={"c_dim": value}))


# ------------------------------------------------------------------ networks of a user


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder without a decoder, with a field of each plain type."""

    c_dim: int = 6
    image_channels: int = 3
    resolution: int = 32
    slope: float = 0.2
    norm: "Literal['batch', 'none']" = "batch"
    widths: tuple[int, ...] = (8, 16)
    pair: tuple[str, float] = ("a", 0.5)
    dropout: float | None = None
    bias: bool = True
    inputs: int = field(init=False, default=7)

    def build(self):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(2 * self.c_dim))


@pytest.fixture
def registered(monkeypatch):
    """`EncoderConfig`, registered by a package other than this one for the time of a test."""
    monkeypatch.setattr(NETWORKS, "_entries", dict(NETWORKS))
    monkeypatch.setattr(EncoderConfig, "__module__", "my_package.nets")
    monkeypatch.setitem(sys.modules, "my_package.nets", sys.modules[__name__])
    monkeypatch.setattr(EncoderConfig, "build", EncoderConfig.build)
    return register_network()(EncoderConfig)


def with_encoder(**changes):
    """The JSON of a model with a registered `EncoderConfig`, with `changes` to its fields."""
    values = json.loads(json.dumps(ModelConfig(EncoderConfig(), CONFIG.generator).to_dict()))
    return values | {"vae": values["vae"] | changes}


def test_a_registered_network_goes_through_json(registered):
    config = ModelConfig(registered(widths=(4, 5, 6), dropout=0.5, bias=False), CONFIG.generator)
    assert config.is_registered
    values = json.loads(json.dumps(config.to_dict()))
    assert (values["vae"]["type"], values["vae"]["package"]) == ("EncoderConfig", "my_package")
    assert ModelConfig.from_dict(values) == config


def test_a_network_that_is_not_registered_cannot_be_stored():
    config = ModelConfig(EncoderConfig(), CONFIG.generator)
    assert not config.is_registered
    with pytest.raises(InvalidInputError, match="vae: EncoderConfig is not registered; decorate it"):
        config.to_dict()


def test_a_file_with_an_unknown_network_names_the_package_to_import(registered, monkeypatch):
    values = with_encoder()
    monkeypatch.undo()
    with pytest.raises(InvalidInputError, match="'EncoderConfig' is not registered.* the package 'my_package'"):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize(
    "changes",
    [
        {"slope": 1},
        {"slope": -3.5},
        {"norm": "none"},
        {"widths": []},
        {"widths": [3]},
        {"pair": ["b", 1]},
        {"dropout": 0.1},
        {"bias": False},
    ],
)
def test_values_of_the_annotated_types_are_read(registered, changes):
    config = ModelConfig.from_dict(with_encoder(**changes)).vae
    ((name, value),) = changes.items()
    assert getattr(config, name) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    "changes",
    [
        {"slope": "0.2"},
        {"slope": True},
        {"norm": "layer"},
        {"widths": [3, 2.5]},
        {"widths": 3},
        {"pair": ["b"]},
        {"pair": [1, "b"]},
        {"dropout": "0.5"},
        {"bias": 1},
    ],
)
def test_values_of_other_types_are_refused(registered, changes):
    with pytest.raises(InvalidInputError, match=f"vae: EncoderConfig.{next(iter(changes))} must be of type"):
        ModelConfig.from_dict(with_encoder(**changes))


def test_what_the_config_itself_refuses_is_an_error_of_the_package(registered, monkeypatch):
    def refuse(self, **values):
        raise AssertionError("widths must rise")

    monkeypatch.setattr(EncoderConfig, "__init__", refuse)
    with pytest.raises(InvalidInputError, match="vae: EncoderConfig refuses these values: widths must rise"):
        ModelConfig.from_dict(described(vae=None) | {"vae": VALUES})


VALUES = {"type": "EncoderConfig", "package": "my_package"} | {
    "c_dim": 6,
    "image_channels": 3,
    "resolution": 32,
    "slope": 0.2,
    "norm": "batch",
    "widths": [8],
    "pair": ["a", 1.0],
    "dropout": None,
    "bias": True,
}


def test_a_value_that_no_file_can_hold_is_refused_before_training(registered):
    with pytest.raises(InvalidInputError, match=r"EncoderConfig.widths must be .*, got \[8, 16\]"):
        ModelConfig(EncoderConfig(widths=[8, 16]), CONFIG.generator)


def test_attributes_that_a_part_lacks_are_named():
    @dataclass(frozen=True)
    class NoSizes:
        c_dim: int = 6

    with pytest.raises(InvalidInputError, match="vae cannot be a NoSizes: it has no image_channels, resolution"):
        ModelConfig(NoSizes(), CONFIG.generator)


def test_only_frozen_dataclasses_that_build_are_registered():
    @dataclass
    class Mutable:
        def build(self): ...

    @dataclass(frozen=True)
    class NoBuild:
        items: list = field(default_factory=list)

    for kind in (Mutable, NoBuild, nn.Linear):
        with pytest.raises(InvalidInputError, match="expected a frozen dataclass with a build"):
            register_network()(kind)
        assert kind.__name__ not in NETWORKS


@pytest.mark.parametrize("name", ["type", "package"])
def test_a_field_that_files_need_for_themselves_is_refused(name):
    config_class = make_dataclass("Odd", [(name, str, "x")], frozen=True, namespace={"build": lambda self: None})
    with pytest.raises(InvalidInputError, match=f"Odd cannot have a field '{name}'"):
        register_network()(config_class)


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(InvalidInputError, match="the network 'VAEConfig' is registered already"):
        register_network("VAEConfig")(EncoderConfig)
