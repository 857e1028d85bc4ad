"""With what arithmetic a step is computed: precision, and compiled networks."""

from contextlib import contextmanager

import torch
import torch.backends.cudnn
from torch import nn

__all__ = ["Compiled", "float32_products", "has_bf16"]


def has_bf16(device):
    """Whether `device` computes in bf16 itself. A CPU that does not would emulate it, many times slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@contextmanager
def float32_products(tf32):
    """CUDA multiplies and convolves float32 in TF32, or in full; then as before. (PyTorch's own choice is TF32 for convolutions only.)"""
    if hasattr(torch.backends.cudnn, "conv"):  # from PyTorch 2.9 on; the older names are refused once these were used
        switches, name, values = (
            (torch.backends.cuda.matmul, torch.backends.cudnn.conv),
            "fp32_precision",
            ("ieee", "tf32"),
        )
    else:
        switches, name, values = (torch.backends.cuda.matmul, torch.backends.cudnn), "allow_tf32", (False, True)
    before = [getattr(switch, name) for switch in switches]
    for switch in switches:
        setattr(switch, name, values[tf32])
    try:
        yield
    finally:
        for switch, value in zip(switches, before):
            setattr(switch, name, value)


class Compiled:
    """Context manager in which the networks of `objective` are compiled; outside it they, and the keys of their states, are what they were.

    Compiled networks compute other bits than others do, and cannot be differentiated twice. `backend`: of `torch.compile`.
    """

    def __init__(self, objective, backend="inductor"):
        self._forwards = [
            (network, torch.compile(network.forward, dynamic=False, backend=backend))
            for network in _callable(objective)
        ]

    def __enter__(self):
        for network, forward in self._forwards:
            network.forward = forward

    def __exit__(self, *exception):
        for network, _ in self._forwards:
            del network.forward


def _callable(module):
    """The outermost modules in `module` that have a `forward`: a VAE has none, its encoder and decoder have."""
    if type(module).forward is not nn.Module.forward:
        return [module]
    return list(dict.fromkeys(network for child in module.children() for network in _callable(child)))
