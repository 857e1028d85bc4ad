"""What the package expects of a network. Any `torch.nn.Module` with these methods will do. No base class is needed.

All images are float tensors (N, C, H, W). Data sets and VAEs use values in [0, 1]. GANs use values in [-1, 1].
"""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from idgan.errors import InvalidInputError
from idgan.networks.posterior import Posterior

__all__ = [
    "DiscriminatorNetwork",
    "Encoder",
    "GeneratorNetwork",
    "Network",
    "NetworkConfig",
    "VAENetwork",
    "check_methods",
]


@runtime_checkable
class NetworkConfig(Protocol):
    """A frozen dataclass of plain values that describes a network.

    A checkpoint can hold the network if its config class is registered with `register_network`. Plain values are int,
    float, bool, str, None, and tuples of these. The package also reads these attributes:

    - VAE: `c_dim`, `image_channels`, and the `resolution` of the images that the encoder sees;
    - generator: `c_dim`, `s_dim`, `image_channels`, `resolution`.
    """

    def build(self) -> nn.Module:
        """The network with random weights."""
        ...


def check_methods(network: object, *names: str, needed_by: str) -> None:
    """Check that `network` has the attributes `names`. `needed_by` says what uses them, for the message.

    Raises:
        InvalidInputError: names the attributes that are missing.
    """
    if missing := [name for name in names if not hasattr(network, name)]:
        raise InvalidInputError(
            f"{needed_by} needs a network with {', '.join(names)}; {type(network).__name__} has no {', '.join(missing)}"
        )


class Network(Protocol):
    """The methods of `torch.nn.Module` that every part of the package may use."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...

    def requires_grad_(self, requires_grad: bool = True) -> Any: ...

    def eval(self) -> Any: ...

    def state_dict(self) -> Any: ...


class Encoder(Network, Protocol):
    """An encoder q(c|x).

    Attributes:
        config: the config that built the network.

    An encoder may have a method `hidden_features(x) -> list[Tensor]`: activations of its hidden layers, each
    (N, features). Inversion compares them. Without the method, inversion compares posterior means.
    """

    config: Any

    def encode(self, x: Tensor) -> Posterior:
        """Images (N, C, H, W) in [0, 1] -> `Posterior` in float32."""
        ...


class VAENetwork(Encoder, Protocol):
    """An encoder with a decoder p(x|c)."""

    def decode_logits(self, c: Tensor) -> Tensor:
        """Codes (N, c_dim) -> pixel logits (N, C, H, W) in float32."""
        ...

    def decode(self, c: Tensor) -> Tensor:
        """Codes (N, c_dim) -> images (N, C, H, W) in [0, 1]."""
        ...


class GeneratorNetwork(Network, Protocol):
    """A generator G(s, c).

    Attributes:
        config: the config that built the network.
    """

    config: Any

    def __call__(self, code: Tensor) -> Tensor:
        """cat([s, c]) (N, s_dim + c_dim) -> images (N, C, H, W) in [-1, 1]."""
        ...


class DiscriminatorNetwork(Network, Protocol):
    """A discriminator D(x)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] -> logits (N,). A positive logit means "real"."""
        ...
