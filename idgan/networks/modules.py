"""Helpers that all networks share: their registry, building, freezing, and devices."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from idgan.errors import InvalidInputError, brief
from idgan.networks.protocols import Network
from idgan.registry import Registry

__all__ = [
    "MAX_CHANNELS",
    "MAX_CODE_DIM",
    "MAX_RESOLUTION",
    "NETWORKS",
    "build_mode",
    "freeze",
    "in_build_mode",
    "register_network",
    "usable_device",
]

MAX_RESOLUTION = 8192
"""Largest side of an image in pixels."""
MAX_CHANNELS = 4096
"""Largest number of channels of a layer or an image."""
MAX_CODE_DIM = 4096
"""Largest number of dimensions of c or s."""

NETWORKS: Registry[type[Any]] = Registry("network")
"""Name -> config class. A checkpoint can hold the networks that are registered."""

RESERVED_FIELDS = {"type", "package"}
"""Names that a checkpoint stores together with the fields of a config."""

ConfigClass = TypeVar("ConfigClass", bound=type[Any])
Module = TypeVar("Module", bound=Network)


def register_network(name: str | None = None) -> Callable[[ConfigClass], ConfigClass]:
    """Decorator that registers the config class of a network (`NetworkConfig`) under `name`, by default its own name.

    Afterwards `build()` runs in `build_mode` and sets the attribute `config` of the network.

    Raises:
        InvalidInputError: the class is not a frozen dataclass with `build()`, it has a field "type" or "package", or
            another class has the name.
    """

    def register(config_class: ConfigClass) -> ConfigClass:
        check_config_class(config_class)
        if taken := RESERVED_FIELDS & {field.name for field in dataclasses.fields(config_class)}:
            raise InvalidInputError(f"{config_class.__name__} cannot have a field {min(taken)!r}; files use that name")
        build = config_class.build

        @functools.wraps(build)
        def build_with_config(config: Any) -> Any:
            with build_mode():
                network = build(config)
            if not isinstance(network, nn.Module):
                raise InvalidInputError(
                    f"{config_class.__name__}.build() must return a torch.nn.Module, got {type(network).__name__}"
                )
            network.config = config
            return network

        NETWORKS.add(name or config_class.__name__, config_class)
        config_class.build = build_with_config
        return config_class

    return register


def check_config_class(config_class: Any) -> None:
    """Check that `config_class` is a frozen dataclass with a `build` method.

    Raises:
        InvalidInputError: it is not.
    """
    parameters = getattr(config_class, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen or not callable(getattr(config_class, "build", None)):
        raise InvalidInputError(f"expected a frozen dataclass with a build() method, got {config_class!r:.200}")


@contextmanager
def build_mode() -> Iterator[None]:
    """Context in which new parameters and buffers are normal float32 tensors on the CPU.

    PyTorch's default dtype, default device and inference mode have no effect inside. Only the meta device is kept:
    tensors on it have shapes but no values.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        on_meta = torch.empty(0).device.type == "meta"  # torch.get_default_device fails here in torch 2.6
        stack.enter_context(torch.device("meta" if on_meta else "cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        yield


def in_build_mode(build: Callable[..., Any]) -> Callable[..., Any]:
    """The function `build`, run in `build_mode`."""

    @functools.wraps(build)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with build_mode():
            return build(*args, **kwargs)

    return wrapped


def freeze(module: Module) -> Module:
    """Put `module` in eval mode and turn off the gradients of its parameters. Gradients still flow through it.

    Returns:
        `module`.
    """
    module.eval()
    module.requires_grad_(False)
    return module


def usable_device(device: str | torch.device) -> torch.device:
    """The device that `device` names: "auto" (CUDA if available, else the CPU), "cpu", "cuda", "cuda:1", ...

    Raises:
        InvalidInputError: PyTorch does not know the device or cannot use it on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=torch.device(device)).device
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidInputError(f"device {brief(device)} cannot be used here: {str(error).splitlines()[0]}") from error
