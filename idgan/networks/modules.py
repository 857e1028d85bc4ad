"""What applies to any network: freezing it, and the device it runs on."""

from typing import TypeVar

import torch
from torch import nn

from idgan.errors import InvalidInputError

__all__ = ["freeze", "usable_device"]

Module = TypeVar("Module", bound=nn.Module)


def freeze(module: Module) -> Module:
    """Put `module` in eval mode and turn off the gradients of its parameters. Gradients still flow through it. Returns `module`."""
    return module.eval().requires_grad_(False)


def usable_device(device: str | torch.device) -> torch.device:
    """The device called `device`: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda", "cuda:1" ...

    Raises:
        InvalidInputError: PyTorch does not know the device or cannot use it here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=torch.device(device)).device
    except (AssertionError, RuntimeError, TypeError) as error:
        raise InvalidInputError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
