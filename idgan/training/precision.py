"""The arithmetic of a training step: its precision, and compiled networks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
import torch.backends.cudnn
from torch import nn

from idgan.errors import InvalidInputError

__all__ = ["Compiled", "float32_products", "has_bf16"]


def has_bf16(device: torch.device) -> bool:
    """Whether `device` has bf16 arithmetic. A CPU without it would emulate bf16, many times slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """Compute float32 matrix products and convolutions on CUDA in TF32, or in full precision.

    PyTorch's own default is TF32 for convolutions only.
    """
    switches: tuple[Any, Any]
    value: str | bool
    if hasattr(torch.backends.cudnn, "conv"):  # since PyTorch 2.9, which refuses the older names after a use of these
        switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv
        name, value = "fp32_precision", "tf32" if tf32 else "ieee"
    else:
        switches = torch.backends.cuda.matmul, torch.backends.cudnn
        name, value = "allow_tf32", tf32
    before = [getattr(switch, name) for switch in switches]
    for switch in switches:
        setattr(switch, name, value)
    try:
        yield
    finally:
        for switch, old in zip(switches, before):
            setattr(switch, name, old)


class Compiled:
    """Context manager in which the networks of an objective are compiled.

    Outside it, the networks and their state keys are unchanged.

    Compiled networks compute other bits, and cannot be differentiated twice.

    Args:
        objective: module that contains the networks.
        backend: backend of `torch.compile`.

    Raises:
        InvalidInputError: at the first use, the networks cannot be compiled on this machine.
    """

    def __init__(self, objective: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
        self._forwards = [
            (network, torch.compile(network.forward, dynamic=False, backend=backend))
            for network in _callable(objective)
        ]

    def __enter__(self) -> None:
        for network, forward in self._forwards:
            network.forward = forward

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for network, _ in self._forwards:
            del network.forward
        if error is not None and _is_compile_error(error):
            cause = getattr(error, "inner_exception", error)
            reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
            raise InvalidInputError(
                f"the networks cannot be compiled on this machine ({reason.strip():.200}). Compiling needs a C++ "
                "compiler on a CPU, and Triton on CUDA. Install it, or train without compile (--compile)"
            ) from error


def _is_compile_error(error: BaseException) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def _callable(module: nn.Module) -> list[Any]:
    """The outermost modules in `module` that have a `forward`. A VAE has none, but its encoder and decoder have."""
    if type(module).forward is not nn.Module.forward:
        return [module]
    return list(dict.fromkeys(network for child in module.children() for network in _callable(child)))
