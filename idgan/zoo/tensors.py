"""Checks of the tensors in a checkpoint: names, types, shapes and values."""

import os
from collections.abc import Mapping

import torch

from idgan.errors import CheckpointError
from idgan.zoo.untrusted import printable

__all__ = ["DTYPES", "Spec", "check_specs", "check_tensors", "check_values", "spec_of"]

MAX_MAGNITUDE = 1e6
"""Largest absolute value of a weight."""
LOGVAR_RANGE = (-100.0, 20.0)
"""Range of the log-variances in the bank of posteriors."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Data type in a safetensors header -> PyTorch's."""

Spec = tuple[object, tuple[int, ...]]
"""Data type and shape of a tensor."""


def spec_of(tensor: torch.Tensor) -> Spec:
    """Data type and shape of `tensor`."""
    return tensor.dtype, tuple(tensor.shape)


def check_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], expected: Mapping[str, Spec]
) -> None:
    """Check that `tensors` are exactly the `expected` ones, and that their values are finite and not absurdly large.

    Raises:
        CheckpointError: names the file at `path`, the tensor, and what is wrong.
    """
    check_specs(path, {name: spec_of(tensor) for name, tensor in tensors.items()}, expected)
    check_values(path, tensors)


def check_specs(path: str | os.PathLike[str], found: Mapping[str, Spec], expected: Mapping[str, Spec]) -> None:
    """As `check_tensors`, for types and shapes alone."""
    if found.keys() != expected.keys():
        missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        raise CheckpointError(f"{printable(path)}: tensors missing: {_first(missing)}; not expected: {_first(surplus)}")
    for name, (dtype, shape) in expected.items():
        if found[name] != (dtype, shape):
            wanted = str(dtype).removeprefix("torch.")
            there, size = found[name]
            raise CheckpointError(f"{printable(path)}: {name} must be {wanted} {shape}, found {there} {size}"[:500])


def _first(names: list[str]) -> str:
    """The first few of `names`, for a message."""
    return str([name[:100] for name in names[:5]] or "none")


def check_values(path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor]) -> None:
    """As `check_tensors`, for values alone."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        if not tensor.isfinite().all():
            raise CheckpointError(f"{printable(path)}: {name} has values that are not finite")
        low, high = LOGVAR_RANGE if name == "bank.logvar" else (-MAX_MAGNITUDE, MAX_MAGNITUDE)
        if tensor.numel() and not low <= tensor.min() <= tensor.max() <= high:
            raise CheckpointError(
                f"{printable(path)}: {name} has values from {tensor.min():g} to {tensor.max():g}; "
                f"accepted are {low:g} to {high:g}"
            )
