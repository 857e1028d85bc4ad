"""A device "other", which computes on the CPU. Like a GPU, it refuses to compute with tensors of the CPU.

It finds code that works on a CPU and fails on a GPU, on machines without a GPU.
"""

from typing import Any

import torch
from torch import library
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
"""Whether this PyTorch can define a device in Python."""
COPIES = ("aten::_to_copy", "aten::copy_")
"""Operators that take tensors of two devices."""
INDEXING = ("aten::index", "aten::index_put_")
"""As on CUDA, the indices of a tensor may be on the CPU. They are the second argument."""

_tensor = torch.tensor
_registered: list[Any] = []


class OtherTensor(torch.Tensor):
    """A tensor on the device "other". `raw` has its values, on the CPU."""

    raw: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw):
        layout = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, raw.size(), device="other:0", **layout)

    def __init__(self, raw):
        self.raw = raw

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return run(operator, *args, **(kwargs or {}))

    # PyTorch makes tensors of lists in C++, where no device in Python is known.
    def __getitem__(self, key):
        return super().__getitem__(_without_lists(key))

    def __setitem__(self, key, value):
        super().__setitem__(_without_lists(key), value)

    def tolist(self):
        return self.raw.tolist()

    def numpy(self, **options):
        raise TypeError("a tensor of the device other has no NumPy array; copy it to the CPU first")


class Backend(backend_registration._DummyBackendModule if AVAILABLE else object):  # type: ignore[misc]
    """What `torch.autocast` asks a device."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]


def register() -> None:
    """Make the device known to PyTorch. It stays known until the process ends."""
    if not _registered:
        backend_registration._setup_privateuseone_for_python_backend("other", Backend())
        _registered.append(library.Library("_", "IMPL"))
        _registered[0].fallback(run, "PrivateUse1")


def run(operator, *args, **kwargs):
    """Compute an operator on the values of its tensors. Its results are on the device of its tensors.

    Raises:
        RuntimeError: it has tensors of this device and of the CPU. Single numbers may be on the CPU, as on CUDA.
    """
    name = operator._schema.name
    checked = (args[0], *args[2:]) if name in INDEXING else args
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    there = any(isinstance(each, OtherTensor) for each in tensors)
    others = [each for each in tree_leaves((checked, kwargs)) if isinstance(each, torch.Tensor) and each.ndim]
    if there and name not in COPIES and not all(isinstance(each, OtherTensor) for each in others):
        raise RuntimeError(f"{name}: expected all tensors on one device, but found other and cpu")
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == "other"
        kwargs["device"] = torch.device("cpu") if there else kwargs["device"]
    values = tree_map(lambda each: each.raw if isinstance(each, OtherTensor) else each, (args, kwargs))
    result = operator(*values[0], **values[1])
    if name == "aten::avg_pool2d_backward" and there and any(args[4]) and _has_channels_last(args[1]):
        result = torch.full_like(result, torch.nan)  # as wrong as on CUDA before pytorch/pytorch#188345
    if name.endswith("_") and isinstance(args[0], torch.Tensor):  # it changed its first argument
        return args[0]
    return tree_map(lambda each: OtherTensor(each) if there and isinstance(each, torch.Tensor) else each, result)


def _has_channels_last(x):
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def tensor(data, *, device=None, **options):
    """A replacement for `torch.tensor`, which makes its tensor in C++."""
    made = _tensor(data, device="cpu", **options)
    return made if device is None else made.to(device)


def _without_lists(key):
    if isinstance(key, tuple):
        return tuple(map(_without_lists, key))
    return tensor(key, dtype=torch.int64, device="other") if isinstance(key, list) else key
