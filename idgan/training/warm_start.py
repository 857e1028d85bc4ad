"""Stage 2 from the generator of a trained model."""

from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks.widening import deepened, widened
from idgan.rng import seeded_rng
from idgan.zoo import load

__all__ = ["load_pretrained_generator"]


def load_pretrained_generator(generator: nn.Module, where: str, seed: int = 0) -> None:
    """Fill `generator` with the weights of the generator of the model `where`, which is anything `idgan.load` takes.

    `generator` may have 2, 4, 8, ... times as many channels. It then starts with `widened` weights, and draws the same
    images, unless a block has lost the convolution of its shortcut. `seed` draws the random parts of `widened`. A
    generator for larger images starts with `deepened` weights.

    Raises:
        InvalidInputError: that generator has other inputs or outputs, other layers, or more channels.
        UnknownModelError, NotTrainedError, HubError, CheckpointError: as `idgan.load`.
    """
    pretrained = load(where, device="cpu").generator
    try:
        for name in ("c_dim", "s_dim", "image_channels"):
            if (there := getattr(pretrained.config, name, None)) != getattr(generator.config, name, None):
                raise InvalidInputError(f"that generator has {name} {there}")
        weights = pretrained.state_dict()
        if getattr(pretrained.config, "resolution", 0) < getattr(generator.config, "resolution", 0):
            generator.load_state_dict(deepened(weights, generator))
        else:
            generator.load_state_dict(widened(weights, generator, seeded_rng(seed)))
    except InvalidInputError as error:
        raise InvalidInputError(
            f"the generator of {where} does not fit the recipe's {generator.config}: {error}"
        ) from error
