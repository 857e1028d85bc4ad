"""The 4x4 convolutions with stride 2 of Tables A.2 and A.3, with faster CPU kernels, and the layer before all maps.

They compute what PyTorch's layers compute, up to rounding, and have the same states. On other devices, in compiled or
exported programs, for inputs without a batch, and under `torch.func`, they are PyTorch's layers. Forward-mode automatic
differentiation is not supported on a CPU.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DownConv2d", "Unflatten", "UpConv2d"]

NARROW = 16
"""CPU kernels of a transposed convolution compute this many output channels at least, even if there are fewer."""


class DownConv2d(nn.Conv2d):
    """A 4x4 convolution with stride 2 and padding 1: (N, in_channels, 2H, 2W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if _takes_plain_kernels(x) or x.shape[2] % 2 or x.shape[3] % 2:  # odd sides have no exact transpose
            return super().forward(x)
        return _by_cpu(x, self.weight, self.bias, transposed=False)


class UpConv2d(nn.ConvTranspose2d):
    """A transposed 4x4 convolution with stride 2 and padding 1: (N, in_channels, H, W) -> (N, out_channels, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or _takes_plain_kernels(x):
            return super().forward(x, output_size)
        return _by_cpu(x, self.weight, self.bias, transposed=True)


class Unflatten(nn.Unflatten):
    """Features (N, width * H * H) -> maps (N, width, H, H).

    On a CPU, the maps and all that follow have their channels last in memory. Convolutions take a fifth less time then.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__(1, (width, side, side))

    def forward(self, input: Tensor) -> Tensor:
        maps = super().forward(input)
        return maps if _takes_plain_kernels(maps) else maps.contiguous(memory_format=torch.channels_last)


def _takes_plain_kernels(x: Tensor) -> bool:
    if x.ndim != 4 or x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    return torch._C._are_functorch_transforms_active()


def _by_cpu(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    """The convolution, or the transposed one, of `x` on a CPU."""
    if torch.is_autocast_enabled("cpu"):  # the saved tensors must have the dtype of the output, for the backward pass
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)  # nearly twice as fast
    if not torch.is_grad_enabled():
        return _convolution(x, weight, bias, transposed)
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    by_weights = _Weights.apply((x,), weight, bias, transposed) if trained else None
    y: Tensor = _Convolution.apply(by_weights, x, weight, bias, transposed)
    return y


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    if not transposed:
        return F.conv2d(x, weight, bias, stride=2, padding=1)
    if weight.shape[1] < NARROW:
        return _transposed_by_phases(x, weight, bias)
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)


class _Convolution(torch.autograd.Function):
    """The convolution or the transposed one. Its gradient by the input is the other of the two.

    A second derivative (R1) is thus made of the same fast kernels. PyTorch's own takes convolutions whose kernels are
    as large as the maps. Gradients of weights flow through the output of `_Weights`, the first argument.
    """

    @staticmethod
    def forward(
        ctx: Any, by_weights: Tensor | None, x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.transposed = transposed
        return _convolution(x, weight, bias, transposed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        by_x = _by_cpu(gradient, weight, None, not ctx.transposed) if ctx.needs_input_grad[1] else None
        return gradient if ctx.needs_input_grad[0] else None, by_x, None, None, None


class _Weights(torch.autograd.Function):
    """A tensor without memory in the shape of the convolution's output. Its gradient becomes that of the weights.

    It is a node of its own, so that `torch.autograd.grad` computes the gradients of weights only where they are asked
    for. PyTorch does not tell a node which of its gradients are not. For the same reason, the input `x` comes in a
    tuple: the node has no edge to it and does not run for gradients by `x`. Derivatives of the weights' gradients do
    reach `x`.
    """

    @staticmethod
    def forward(ctx: Any, inputs: tuple[Tensor], weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
        (x,) = inputs
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        (n, _, height, width), channels = x.shape, weight.shape[1 if transposed else 0]
        shape = (n, channels, 2 * height, 2 * width) if transposed else (n, channels, height // 2, width // 2)
        return x.new_empty(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        by_weight = _weight_gradient(x, weight, gradient, ctx.transposed) if ctx.needs_input_grad[1] else None
        return None, by_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, transposed: bool) -> Tensor:
    """Gradient by `weight`, from the input `x` and the `gradient` by the output.

    A transposed convolution has the gradient of the convolution with the roles of `x` and `gradient` exchanged. With
    many channels, that takes less time, above all in bf16.
    """
    if transposed and weight.shape[1] >= NARROW:
        x, gradient, transposed = gradient, x, False
    geometry = [2, 2], [1, 1], [1, 1], transposed, [0, 0], 1
    found: Tensor = torch.ops.aten.convolution_backward(gradient, x, weight, None, *geometry, [False, True, False])[1]
    return found


def _transposed_by_phases(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A transposed convolution as one 2x2 convolution. It computes the four phases of the output as channels.

    Row 2i + a of the output depends on rows i + a - 1 and i + a of the input, with the rows 3 - a and 1 - a of the
    kernel. The same holds for columns.
    """
    (before, after), (height, width) = weight.shape[:2], x.shape[2:]
    # Reversed rows are (3, 2, 1, 0): in the shape (2, 2), the first axis is the row of the input, the second is a.
    kernel = weight.flip(2, 3).reshape(before, after, 2, 2, 2, 2).permute(1, 3, 5, 0, 2, 4).reshape(-1, before, 2, 2)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    biases = None if bias is None else bias.repeat_interleave(4)
    phases = F.conv2d(x, kernel, biases, padding=1).unflatten(1, (after, 2, 2))
    y = x.new_empty(len(x), after, height, 2, width, 2)
    for a in (0, 1):
        for b in (0, 1):
            y[:, :, :, a, :, b] = phases[:, :, a, b, a : a + height, b : b + width]
    return y.view(len(x), after, 2 * height, 2 * width)
