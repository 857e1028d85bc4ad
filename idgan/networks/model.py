"""The pair that a checkpoint holds, as configuration: which VAE, which generator."""

from dataclasses import asdict, dataclass, fields

from idgan.errors import InvalidInputError
from idgan.networks.conv import ConvDiscriminatorConfig, ConvGeneratorConfig
from idgan.networks.vae import VAEConfig

__all__ = ["ModelConfig", "config_from_dict", "config_to_dict"]

CONFIGS = {config.__name__: config for config in (VAEConfig, ConvGeneratorConfig, ConvDiscriminatorConfig)}


@dataclass(frozen=True)
class ModelConfig:
    """The shapes of an encoder-decoder and of the generator distilled from it.

    Raises:
        InvalidInputError: the two disagree on the code's width or the number of image channels.
    """

    vae: VAEConfig
    generator: ConvGeneratorConfig

    def __post_init__(self):
        for name in ("c_dim", "image_channels"):
            if getattr(self.vae, name) != getattr(self.generator, name):
                raise InvalidInputError(f"{name} is {getattr(self.vae, name)} in the VAE, {getattr(self.generator, name)} in the generator")

    @property
    def c_dim(self):
        return self.vae.c_dim

    @property
    def s_dim(self):
        return self.generator.s_dim

    @property
    def image_channels(self):
        return self.generator.image_channels

    @property
    def resolution(self):
        return self.generator.resolution

    def to_dict(self):
        """As a JSON object."""
        return {"vae": config_to_dict(self.vae), "generator": config_to_dict(self.generator)}

    @classmethod
    def from_dict(cls, values):
        """From what `to_dict` gave; every field is checked.

        Raises:
            InvalidInputError: something is missing, unknown or of the wrong kind.
        """
        if not isinstance(values, dict) or set(values) != {"vae", "generator"}:
            raise InvalidInputError(f"a model config has the parts vae and generator, got {values!r:.200}")
        return cls(config_from_dict(values["vae"]), config_from_dict(values["generator"]))


def config_to_dict(config):
    """A network config as a JSON object: its fields and its class name under "type"."""
    return {"type": type(config).__name__, **asdict(config)}


def config_from_dict(values):
    """The network config that `config_to_dict` described.

    Raises:
        InvalidInputError: an unknown type, or fields that are missing, unknown, or not positive integers.
    """
    if not isinstance(values, dict) or values.get("type") not in CONFIGS:
        raise InvalidInputError(f"a network config is an object whose type is one of {', '.join(sorted(CONFIGS))}; got {values!r:.200}")
    config = CONFIGS[values["type"]]
    given = {name: value for name, value in values.items() if name != "type"}
    known = [field.name for field in fields(config)]
    if set(given) != set(known):
        raise InvalidInputError(f"{config.__name__} has the fields {', '.join(known)}; got {', '.join(sorted(given)) or 'none'}")
    for name, value in given.items():
        if type(value) is not int or not 0 <= value <= 65_536:
            raise InvalidInputError(f"{config.__name__}.{name} must be an integer from 0 to 65,536, got {value!r:.100}")
    return config(**given)
