"""Value ranges of pixels, the encoder's view of an image, and unit images as 8-bit pixels."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from idgan.errors import InvalidInputError, brief

__all__ = [
    "check_dense",
    "default_batch_size",
    "describe",
    "encoder_view",
    "psnr",
    "to_pil",
    "to_signed",
    "to_uint8",
    "to_unit",
    "unit_batch",
    "unit_values",
]

FULL_SCALE = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}
"""Value of white for each type of integers."""
ROUNDING = 1e-4
"""How far a float image may exceed [0, 1] because of rounding."""


def to_signed(x: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1], for any shape."""
    return x * 2 - 1


def to_unit(x: Tensor) -> Tensor:
    """Map [-1, 1] to [0, 1], for any shape. Values outside are not clamped, so that gradients pass."""
    return (x + 1) / 2


def encoder_view(x: Tensor, resolution: int = 64) -> Tensor:
    """Square images x (N, C, H, H) at the encoder's resolution: (N, C, resolution, resolution).

    Larger images are reduced by area averaging. For a whole factor, that is the mean of each block. Smaller images are
    enlarged bilinearly. Images of `resolution` are returned unchanged. The range is kept, and the function is
    differentiable: R_ID (Eq. 4) of large images uses it.

    Raises:
        InvalidInputError: x is not a float tensor (N, C, H, H).
    """
    if not torch.is_tensor(x) or not x.is_floating_point() or x.ndim != 4 or x.shape[-2] != x.shape[-1]:
        raise InvalidInputError(f"expected square float images (N, C, H, H), got {describe(x)}")
    size = x.shape[-1]
    if size == resolution:
        return x
    if size < resolution:
        return F.interpolate(x, size=(resolution, resolution), mode="bilinear", align_corners=False)
    if size % resolution == 0:
        return F.avg_pool2d(x, size // resolution)
    # Edges of the new pixels in units of the old ones, then the share that each old pixel has in each new one.
    edges = torch.arange(resolution + 1, dtype=torch.float64, device="cpu") * size / resolution
    old = torch.arange(size, device="cpu")
    overlap = torch.minimum(edges[1:, None], old + 1) - torch.maximum(edges[:-1, None], old)
    shares = (overlap.clamp(min=0) * resolution / size).to(x)  # (resolution, size), rows sum to 1
    return shares @ x @ shares.T


def default_batch_size(resolution: int) -> int:
    """The batch size to use at `resolution` if the caller does not choose one: 256 at 64x64, 1 at 1024x1024.

    With it, the widest generator (64 channels at full resolution) needs about 1 GB of memory in addition to its
    weights.
    """
    return max(1, 256 * 64**2 // resolution**2)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio between unit images x and y, (N, C, H, W) each: (N,) in dB.

    It is -10 log10 of the mean squared difference.
    """
    if x.shape != y.shape:
        raise InvalidInputError(f"expected images of the same shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    return -10 * (unit_batch(x) - unit_batch(y)).square().flatten(1).mean(1).log10()


def to_uint8(x: Tensor) -> np.ndarray:
    """Unit images (N, C, H, W) or (C, H, W) as a uint8 array (N, H, W, C): 255 x, rounded to the nearest integer."""
    return (unit_batch(x) * 255).round().byte().movedim(1, -1).cpu().numpy()


def to_pil(x: Tensor) -> list[Image.Image]:
    """Unit images (N, C, H, W) or (C, H, W) as a list of PIL images of mode L or RGB."""
    return [Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels) for pixels in to_uint8(x)]


# ------------------------------------------------------------------ checks


def unit_batch(x: Tensor) -> Tensor:
    """Check unit images (N, C, H, W) or (C, H, W). Returns them as float32 (N, C, H, W), detached."""
    check_dense(x)
    if not torch.is_tensor(x) or x.ndim not in (3, 4) or x.shape[-3] not in (1, 3) or 0 in x.shape:
        raise InvalidInputError(f"expected a tensor (N, C, H, W) or (C, H, W) with C = 1 or 3, got {describe(x)}")
    return unit_values(x.detach()).reshape(-1, *x.shape[-3:])


def unit_values(x: np.ndarray | Tensor) -> Tensor:
    """Pixels of any accepted type as a float32 tensor in [0, 1] of the same shape.

    Raises:
        InvalidInputError: another type, or floats outside [0, 1].
    """
    check_dense(x)
    if isinstance(x, np.ndarray) and x.dtype.kind in "buf" and x.dtype.itemsize <= 8:
        x = torch.from_numpy(x.astype(x.dtype.newbyteorder("="), order="C"))
    if isinstance(x, Tensor) and x.dtype in FULL_SCALE:
        return x.float() / FULL_SCALE[x.dtype]
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise InvalidInputError(
            f"images must be bool, uint8 (0 to 255), uint16 (0 to 65535) or float (0 to 1), not {describe(x)}"
        )
    low, high = (value.item() for value in x.detach().float().aminmax())
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return x.float().clamp(0, 1)
    hint = ""
    if -1 - ROUNDING <= low and high <= 1 + ROUNDING:
        hint = ". These look like [-1, 1]: pass (x + 1) / 2"
    elif low >= 0 and high <= 255:
        hint = ". These look like 0 to 255: pass x / 255"
    raise InvalidInputError(f"float images must lie in [0, 1], got {describe(x)}{hint}")


def check_dense(x: np.ndarray | Tensor) -> None:
    """Refuse a tensor without plain values in memory: sparse, nested, quantized, or on the device "meta".

    Raises:
        InvalidInputError: names the kind of tensor.
    """
    if not isinstance(x, Tensor):
        return
    kinds = {"nested": x.is_nested, "quantized": x.is_quantized, "meta": x.is_meta}
    kinds["sparse"] = x.layout != torch.strided and not x.is_nested
    if unusable := [kind for kind, found in kinds.items() if found]:
        raise InvalidInputError(f"expected a dense tensor with values, got a {unusable[0]} tensor of type {x.dtype}")


def describe(x: Any) -> str:
    """Type, shape and value range of `x`, for error messages."""
    if not isinstance(x, (Tensor, np.ndarray)):
        return f"{type(x).__name__} {brief(x):.60}"
    text = f"{type(x).__name__} of shape {tuple(x.shape)} and type {str(x.dtype).removeprefix('torch.')}"
    real = not x.is_complex() if isinstance(x, Tensor) else x.dtype.kind in "biuf"
    if 0 in x.shape or not real:
        return text
    values = x.detach().float() if isinstance(x, Tensor) else x  # torch has no min of uint16
    return f"{text} with values from {values.min().item():.6g} to {values.max().item():.6g}"
