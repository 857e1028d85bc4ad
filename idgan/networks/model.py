"""The pair that a checkpoint holds, as configuration: which VAE, which generator."""

from dataclasses import asdict, dataclass, fields

from idgan.errors import InvalidInputError
from idgan.networks.conv import ConvGeneratorConfig
from idgan.networks.resnet import ResNetGeneratorConfig
from idgan.networks.vae import VAEConfig

__all__ = ["ModelConfig"]

KINDS = {"vae": (VAEConfig,), "generator": (ConvGeneratorConfig, ResNetGeneratorConfig)}
"""Part of a model -> the config classes that may describe it."""


@dataclass(frozen=True)
class ModelConfig:
    """The shapes of an encoder-decoder and of the generator distilled from it.

    Raises:
        InvalidInputError: the two disagree on the code's width or the number of image channels.
    """

    vae: VAEConfig
    generator: ConvGeneratorConfig | ResNetGeneratorConfig

    def __post_init__(self):
        for name in ("c_dim", "image_channels"):
            if getattr(self.vae, name) != getattr(self.generator, name):
                raise InvalidInputError(
                    f"{name} is {getattr(self.vae, name)} in the VAE, {getattr(self.generator, name)} in the generator"
                )

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

    @property
    def of_the_package(self):
        """Whether both networks are the package's own: a checkpoint can hold no others, for `from_dict` would not know them."""
        return all(type(getattr(self, part)) in kinds for part, kinds in KINDS.items())

    def to_dict(self):
        """As a JSON object."""
        return {"vae": _to_dict(self.vae), "generator": _to_dict(self.generator)}

    @classmethod
    def from_dict(cls, values):
        """From what `to_dict` gave; every field is checked.

        Raises:
            InvalidInputError: something is missing, unknown or of the wrong kind.
        """
        if not isinstance(values, dict) or set(values) != set(KINDS):
            raise InvalidInputError(f"a model config has the parts {' and '.join(KINDS)}, got {values!r:.200}")
        return cls(**{part: _from_dict(part, values[part]) for part in KINDS})


def _to_dict(config):
    """A network config as a JSON object: its fields, and its class name under "type"."""
    return {"type": type(config).__name__, **asdict(config)}


def _from_dict(part, values):
    """The network config that `_to_dict` described, for one part of a model."""
    kinds = {kind.__name__: kind for kind in KINDS[part]}
    kind = kinds.get(str(values.get("type"))) if isinstance(values, dict) else None
    if kind is None:
        raise InvalidInputError(
            f"{part} must be an object whose type is one of {', '.join(kinds)}; got {values!r:.200}"
        )
    given = {name: value for name, value in values.items() if name != "type"}
    known = [field.name for field in fields(kind)]
    if set(given) != set(known):
        raise InvalidInputError(
            f"{kind.__name__} has the fields {', '.join(known)}; got {', '.join(map(str, given)) or 'none'}"
        )
    for name, value in given.items():
        least = 0 if name == "s_dim" else 1
        if type(value) is not int or not least <= value <= 65_536:
            raise InvalidInputError(
                f"{kind.__name__}.{name} must be an integer from {least} to 65,536, got {value!r:.100}"
            )
    return kind(**given)
