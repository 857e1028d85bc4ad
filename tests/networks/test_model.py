import json

import pytest

from idgan.errors import InvalidInputError
from idgan.networks import ConvGeneratorConfig, ModelConfig, VAEConfig

CONFIG = ModelConfig(VAEConfig(c_dim=6, image_channels=3), ConvGeneratorConfig(c_dim=6, s_dim=4, image_channels=3))


def described(**changes):
    """What `CONFIG.to_dict()` gives, with `changes` to its parts: part -> fields to set, or what to put in its place."""
    values = json.loads(json.dumps(CONFIG.to_dict()))
    for part, change in changes.items():
        values[part] = values.get(part, {}) | change if isinstance(change, dict) else change
    return values


def test_shapes_come_from_the_two_parts():
    assert (CONFIG.c_dim, CONFIG.s_dim, CONFIG.image_channels, CONFIG.resolution) == (6, 4, 3, 64)


def test_json_round_trip():
    assert ModelConfig.from_dict(described()) == CONFIG


def test_a_generator_without_nuisance_is_a_model():
    assert ModelConfig.from_dict(described(generator={"s_dim": 0})).s_dim == 0


@pytest.mark.parametrize(
    "generator", [ConvGeneratorConfig(c_dim=7, image_channels=3), ConvGeneratorConfig(c_dim=6, image_channels=1)]
)
def test_parts_that_do_not_fit_are_refused(generator):
    with pytest.raises(InvalidInputError, match="in the VAE"):
        ModelConfig(CONFIG.vae, generator)


def test_a_mismatch_is_refused_when_read_too():
    with pytest.raises(InvalidInputError, match="c_dim is 6 in the VAE, 5 in the generator"):
        ModelConfig.from_dict(described(generator={"c_dim": 5}))


@pytest.mark.parametrize("values", [None, [], "vae", {}, {"vae": {}}, described(extra={})])
def test_other_parts_are_refused(values):
    with pytest.raises(InvalidInputError, match="has the parts vae and generator"):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize("kind", ["Nothing", "VAEConfig ", "ConvDiscriminatorConfig", "VAEConfig", None, [], {}, 0])
def test_only_a_generator_may_be_the_generator(kind):
    with pytest.raises(InvalidInputError, match="generator must be an object whose type is one of ConvGeneratorConfig"):
        ModelConfig.from_dict(described(generator={"type": kind}))


@pytest.mark.parametrize("part", ["VAEConfig", None, 3, [["type", "VAEConfig"]]])
def test_a_part_that_is_not_an_object_is_refused(part):
    with pytest.raises(InvalidInputError, match="vae must be an object"):
        ModelConfig.from_dict(described(vae=part))


def test_a_generator_in_the_place_of_the_vae_is_refused():
    with pytest.raises(InvalidInputError, match="vae must be an object whose type is one of VAEConfig"):
        ModelConfig.from_dict(described(vae=described()["generator"]))


def test_missing_and_surplus_fields_are_refused():
    values = described()
    del values["vae"]["c_dim"]
    with pytest.raises(InvalidInputError, match="VAEConfig has the fields c_dim, image_channels; got image_channels"):
        ModelConfig.from_dict(values)
    with pytest.raises(InvalidInputError, match="has the fields"):
        ModelConfig.from_dict(described(vae={"depth": 3}))


@pytest.mark.parametrize("value", [0, -1, 65_537, 6.0, "6", True, None, [6], 10**30])
def test_fields_of_the_wrong_kind_or_size_are_refused(value):
    with pytest.raises(InvalidInputError, match=r"VAEConfig.c_dim must be an integer from 1 to 65,536"):
        ModelConfig.from_dict(described(vae={"c_dim": value}))
