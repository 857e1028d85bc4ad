"""A large network from the weights of a smaller one: a wider network, or one for larger images."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from idgan.errors import InvalidInputError

__all__ = ["deepened", "widened"]

SHORTCUT = ".shortcut.weight"
"""End of the name of the convolution in a `ResBlock`'s shortcut."""
SHARE = 0.25, 0.75
"""Range of the part of a weight that the first copy of a channel gets. Equal parts would keep the copies equal."""


def widened(weights: Mapping[str, Tensor], network: nn.Module, rng: torch.Generator) -> dict[str, Tensor]:
    """Weights of `network` that compute what a narrower network with `weights` computes, up to rounding.

    This is Net2WiderNet of Chen et al. 2016. Both have the same layers, inputs and outputs. `network` has the same
    channels in a layer, or twice, four times, ... as many. Copies of a channel have the same values. The layer after
    them splits each weight into random parts. The parts differ from copy to copy, so that training makes the copies
    different.

    A limit such as `max_width` can give a block of the wide network as many channels after it as before it. Its
    shortcut then has no convolution, and no weights make the block compute what the narrow block computes. Such a
    block keeps its own weights, and the networks compute different values.

    Args:
        weights: state of the narrow network.
        network: the wide network. It stays as it is.
        rng: draws the random parts.

    Raises:
        InvalidInputError: `network` has other layers, a layer is narrower or wider by another factor, or a layer that
            should be widened is neither an `nn.Linear` nor an `nn.Conv2d` without groups.
    """
    state = network.state_dict()
    lost = tuple(name.removesuffix(SHORTCUT) + "." for name in weights.keys() - state.keys() if name.endswith(SHORTCUT))
    result = {name: value.clone() for name, value in state.items() if name.startswith(lost)}
    weights = {name: value for name, value in weights.items() if not name.startswith(lost)}
    state = {name: value for name, value in state.items() if name not in result}
    if state.keys() != weights.keys():
        raise InvalidInputError(f"only one of the two networks has the weights {_names(state.keys() ^ weights.keys())}")
    for name, target in state.items():
        source = weights[name]
        layer = network.get_submodule(name.rpartition(".")[0])
        if source.shape == target.shape:
            result[name] = source.clone()
        elif _is_plain(layer) and _can_double(source, target):
            result[name] = _widen(source, target.shape, rng)
        else:
            raise _other_shape(name, source, target)
    return result


def deepened(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights for `network`. Its first layers have the weights of a network for smaller images.

    The weights are compared in order. All before the first one with another name or shape come from `weights`. The
    others stay those of `network`. A `ResNetGenerator` for images of twice the side and with half of the `base_width`
    shares all blocks with the smaller one, except its last two.

    Args:
        weights: state of the network for smaller images.
        network: the network for larger images. It stays as it is.

    Raises:
        InvalidInputError: the first weights already differ.
    """
    state = network.state_dict()
    shared: dict[str, Tensor] = {}
    for (name, target), (other, source) in zip(state.items(), weights.items()):
        if name != other or source.shape != target.shape:
            if not shared:
                raise _other_shape(name, source, target)
            break
        shared[name] = source.clone()
    return state | shared


def _other_shape(name: str, source: Tensor, target: Tensor) -> InvalidInputError:
    return InvalidInputError(f"{name} has the shape {tuple(source.shape)}, and not {tuple(target.shape)}")


def _is_plain(layer: nn.Module) -> bool:
    return type(layer) is nn.Linear or (type(layer) is nn.Conv2d and layer.groups == 1)


def _can_double(source: Tensor, target: Tensor) -> bool:
    """Whether doubling the first two sides of `source` some times gives the shape of `target`."""
    return source.shape[2:] == target.shape[2:] and all(
        side % old == 0 and (side // old).bit_count() == 1 for old, side in zip(source.shape[:2], target.shape[:2])
    )


def _widen(source: Tensor, shape: torch.Size, rng: torch.Generator) -> Tensor:
    """A weight (out, in, ...) or a bias (out,) with the sides of `shape`. Channel i copies channel i modulo the old."""
    while source.shape[0] < shape[0]:
        source = torch.cat([source, source])
    while source.ndim > 1 and source.shape[1] < shape[1]:
        low, high = SHARE
        part = torch.empty(source.shape[:2], device="cpu").uniform_(low, high, generator=rng)
        part = part.reshape(*part.shape, *[1] * (source.ndim - 2))
        source = torch.cat([source * part, source * (1 - part)], 1)
    return source


def _names(names: Iterable[str]) -> str:
    first, *more = sorted(names)
    return first + (f" and {len(more)} more" if more else "")
