"""Checks and arithmetic of codes c and nuisances s: rows of numbers, changes, sweeps."""

from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from idgan.dims import as_dim
from idgan.errors import InvalidInputError, brief, check_integer

__all__ = ["MAX_COUNT", "as_dims", "as_rows", "change", "common_size", "sweep"]

MAX_COUNT = 2**31 - 1
"""Largest number of images, steps or restarts in one call."""
MAX_VALUE = torch.finfo(torch.float32).max
"""Largest number in a code."""


def as_rows(name: str, code: object, width: int, device: torch.device) -> Tensor:
    """Convert `code` to a float32 tensor (N, width) on `device`.

    Args:
        name: name of the code in messages.
        code: numbers of shape (N, width) or (width,): a tensor, an array or a list.

    Raises:
        InvalidInputError: `code` has another shape, or has values that are not finite real numbers.
    """
    if isinstance(code, Tensor) and not _is_plain(code):
        raise InvalidInputError(f"{name} must be a dense tensor of real numbers, got {_kind(code)}")
    try:
        values = torch.as_tensor(code, dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        found = type(code).__name__
        raise InvalidInputError(f"{name} must be numbers of shape (N, {width}), got {found} ({error})") from error
    rows = values[None] if values.ndim == 1 else values
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) == 0:
        raise InvalidInputError(f"{name} must be of shape (N, {width}) or ({width},), got {tuple(values.shape)}")
    if not rows.isfinite().all():
        raise InvalidInputError(f"{name} has values that are not finite")
    return rows


def common_size(c: Tensor | None, s: Tensor | None, n: int | None = None) -> int:
    """Number of pairs that `c` (rows or None), `s` (rows or None) and the count `n` make. A single row is broadcast.

    Raises:
        InvalidInputError: the numbers disagree.
    """
    if n is not None:
        check_integer(1, MAX_COUNT, n=n)
    sizes = {name: len(rows) for name, rows in (("c", c), ("s", s)) if rows is not None}
    size = max(sizes.values(), default=1) if n is None else int(n)
    if any(rows not in (1, size) for rows in sizes.values()):
        found = [f"{name} has {rows} row{'' if rows == 1 else 's'}" for name, rows in sizes.items()]
        found = [*found, f"n is {n}"] if n is not None else [found[0], f"s has {sizes['s']}"]
        raise InvalidInputError(f"{' and '.join(found)}; sizes must match (a single row is broadcast)")
    return size


def as_dims(dims: object, c_dim: int, active_dims: Sequence[int], names: Mapping[str, int]) -> list[int]:
    """Check a list of code dimensions, each as `as_dim` takes it. Returns them as Python integers.

    Raises:
        InvalidInputError: `dims` is not a list or is empty, or there is no such dimension.
    """
    if isinstance(dims, Tensor) and not _is_plain(dims):
        raise InvalidInputError(f"dims must be a list of code dimensions, got {_kind(dims)}")
    values = dims.tolist() if hasattr(dims, "tolist") else dims
    if not isinstance(values, Sequence | range) or isinstance(values, str) or len(values) == 0:
        raise InvalidInputError(f"dims must be a list of code dimensions, got {brief(dims)}")
    return [as_dim(dim, c_dim, active_dims, names) for dim in values]


def change(
    c: Tensor,
    changes: Mapping[Any, float],
    active_dims: Sequence[int],
    names: Mapping[str, int],
    *,
    absolute: bool = False,
) -> Tensor:
    """A copy of codes `c` (N, c_dim) with `changes` added: dimension, as `as_dim` takes it -> number.

    `absolute` replaces the values.

    Raises:
        InvalidInputError: `changes` is not a mapping, a dimension does not exist or is given twice, or a value is not
            finite.
    """
    if not isinstance(changes, Mapping):
        raise InvalidInputError(f"changes must map code dimensions to numbers, as {{3: 1.5}}, got {brief(changes)}")
    c, changed = c.clone(), set()
    for key, value in changes.items():
        dim = as_dim(key, c.shape[1], active_dims, names)
        if dim in changed:
            raise InvalidInputError(f"dimension {dim} is changed twice: {brief(changes)}")
        changed.add(dim)
        if not _is_finite(value):
            raise InvalidInputError(f"the change of dimension {brief(key)} must be a finite number, got {brief(value)}")
        if abs(float(value)) > MAX_VALUE:
            raise InvalidInputError("the changed c has values that are not finite")
        c[:, dim] = float(value) + (0 if absolute else c[:, dim])
    return as_rows("the changed c", c, c.shape[1], c.device)


def sweep(c: Tensor, dims: Sequence[int], span: Sequence[float] = (-3.0, 3.0), steps: int = 7) -> Tensor:
    """Copies of one code in which one dimension at a time takes `steps` values over `span`, both ends included.

    Args:
        c: the code, (1, c_dim).
        dims: the D dimensions to sweep.
        span: first and last value.
        steps: number of values.

    Returns:
        Codes (D, steps, c_dim).

    Raises:
        InvalidInputError: `span` is not two finite numbers.
    """
    is_list = isinstance(span, Sequence) or (hasattr(span, "tolist") and getattr(span, "ndim", 0) == 1)
    if isinstance(span, Tensor) and not _is_plain(span):
        raise InvalidInputError(f"span must be two finite numbers, got {_kind(span)}")
    ends = tuple(span.tolist() if hasattr(span, "tolist") else span) if is_list else ()
    if len(ends) != 2 or not all(map(_is_finite, ends)):
        raise InvalidInputError(f"span must be two finite numbers, got {brief(span)}")
    if max(abs(float(end)) for end in ends) > MAX_VALUE:
        raise InvalidInputError(f"span must be two numbers up to {MAX_VALUE:g}, got {brief(span)}")
    path = c.repeat(len(dims), steps, 1)
    for row, dim in enumerate(dims):
        path[row, :, dim] = torch.linspace(float(ends[0]), float(ends[1]), steps, dtype=torch.float32, device=c.device)
    return path


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


def _is_plain(code: Tensor) -> bool:
    return code.layout == torch.strided and not (
        code.is_nested or code.is_meta or code.is_complex() or code.is_quantized
    )


def _kind(code: Tensor) -> str:
    """Dtype, layout and device of a tensor, for messages."""
    layout = "nested" if code.is_nested else str(code.layout).removeprefix("torch.")
    return f"a {layout} tensor of {str(code.dtype).removeprefix('torch.')} on {code.device}"
