"""Training on several processes under torchrun. Each process takes its rows of the batch, and gradients are averaged.

One explicit all-reduce in each phase averages the gradients. `DistributedDataParallel` does not fit: the phases of an
objective run a network several times and differentiate through gradients (R1), which its hooks do not follow.

Where a loss is a mean over images, the result equals that of one process with the whole batch. Other losses (|KL - C|,
estimates of total correlation) are computed on the share of each process, and on each of the parts into which
`Stage.accumulation_steps` divides a share.
"""

import os
from collections.abc import Iterable, Mapping
from types import TracebackType

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # see below
from torch import Tensor, nn

# Optimizers import `torch.distributed.nn.functional`. Its default arguments are the process group at the time of that
# import. It is imported here, before there is a group. Otherwise the group would live until Python exits, and one of
# its threads could abort the process.

__all__ = ["any_process", "average_gradients", "barrier", "is_leader", "mean_over_processes", "process_group"]


def is_leader() -> bool:
    """Whether this process writes files and messages. It is the first process of torchrun, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


class process_group:
    """Context manager that joins torchrun's process group, if there is one.

    The backend is gloo, and nccl for tensors on CUDA.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
        device: device of this process.
    """

    def __init__(self, device: str | torch.device) -> None:
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = torch.device(device)
        if self.world_size > 1 and self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(self.device)

    def __enter__(self) -> "process_group":
        if self.world_size > 1:
            dist.init_process_group("cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo")
            barrier()  # a process that fails early must not leave before all others have joined
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.world_size > 1:
            dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradient of each parameter by its mean over the processes, with one all-reduce for all of them."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, averaged in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(averaged.view_as(gradient))


def barrier() -> None:
    """Wait until every process has arrived."""
    if dist.is_initialized():
        dist.barrier()


def any_process(flag: bool) -> bool:
    """Whether `flag` is true on any process.

    All processes get the same result and therefore leave a loop at the same step. They agree on the CPU, because a
    result on a GPU would be there only after everything that the GPU still has to do.
    """
    if not dist.is_initialized():
        return flag
    flags = torch.tensor(float(flag), device="cpu")
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags.item())


def mean_over_processes(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean of each scalar tensor over the processes, with one transfer for all of them."""
    flat = torch.stack([value.detach().double() for value in values.values()])
    if dist.is_initialized():
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
    return dict(zip(values, flat.tolist()))
