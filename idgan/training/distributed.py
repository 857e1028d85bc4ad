"""Training on several processes under torchrun: each takes its rows of the batch, gradients are averaged.

Gradients are averaged by one explicit all-reduce a phase instead of `DistributedDataParallel`: the phases of an objective run a network
several times and differentiate through gradients (R1), which DDP's hooks do not follow. Where a loss is a mean over images, the result is
that of one process with the whole batch; what is not (|KL - C|, estimates of total correlation) is computed on each share, and on each of
the parts into which `Stage.accumulation_steps` divides a share.
"""

import os

import torch
import torch.distributed as dist

__all__ = ["any_process", "average_gradients", "barrier", "is_leader", "mean_over_processes", "process_group"]


def is_leader():
    """Whether this process is the one that writes and speaks: the first of torchrun's, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


class process_group:
    """Context manager: joins torchrun's process group if there is one (nccl on CUDA, else gloo); has `rank`, `world_size` and `device`."""

    def __init__(self, device):
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = torch.device(device)
        if self.world_size > 1 and self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(self.device)

    def __enter__(self):
        if self.world_size > 1:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
            barrier()  # none leaves, with an error of its own to tell, before all have joined
        return self

    def __exit__(self, *exception):
        if self.world_size > 1:
            dist.destroy_process_group()


def average_gradients(parameters):
    """Replace each parameter's gradient by its mean over the processes; one all-reduce of all of them, flattened."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, averaged in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(averaged.view_as(gradient))


def barrier():
    """Wait until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def any_process(flag):
    """Whether `flag` is true on any process, so that all leave a loop at the same step."""
    if not dist.is_initialized():
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flags = torch.tensor(float(flag), device=device)
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags.item())


def mean_over_processes(values):
    """Mean over the processes of each scalar tensor in the dict `values`, as floats; one transfer for all of them."""
    flat = torch.stack([value.detach().double() for value in values.values()])
    if dist.is_initialized():
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
    return dict(zip(values, flat.tolist()))
