"""Stage 2 from the generator of a trained model."""

from torch import nn

from idgan.errors import InvalidInputError
from idgan.zoo import resolve
from idgan.zoo.weights import read_checkpoint

__all__ = ["load_pretrained_generator"]


def load_pretrained_generator(generator: nn.Module, where: str) -> None:
    """Fill `generator` with the weights of the generator of the model `where`, which is anything `idgan.load` takes.

    Raises:
        InvalidInputError: that generator has other shapes.
        UnknownModelError, NotTrainedError, HubError, CheckpointError: as `idgan.load`.
    """
    pretrained = read_checkpoint(resolve(where).path).generator
    weights = pretrained.state_dict()
    shapes, expected = (
        {name: tuple(tensor.shape) for name, tensor in state.items()} for state in (weights, generator.state_dict())
    )
    if shapes != expected:
        raise InvalidInputError(f"the generator of {where} has other shapes than the recipe's {generator.config}")
    generator.load_state_dict(weights)
