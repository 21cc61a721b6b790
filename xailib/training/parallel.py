"""One process or many: what training needs to run under `torchrun` as it runs alone.

Under torchrun each process takes every n-th image of each batch, and gradients are averaged (DistributedDataParallel;
nccl on GPUs, gloo on CPUs). Alone, every function here does nothing.
"""

import atexit
import os
import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; the first one writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def join(device: torch.device) -> torch.device:
    """The device of this process, which joins the others that torchrun started and stays with them to its end."""
    if not dist.is_torchelastic_launched():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():  # once only: a group cannot be left and joined again
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return device


def replicated(model: nn.Module, device: torch.device) -> nn.Module:
    """The model to call in training: it averages the gradients of all processes."""
    if count() == 1:
        return model
    share_buffers(model)
    devices = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():  # the option's new name is not known to older versions of torch
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def share_buffers(model: nn.Module) -> None:
    """Gives every process the first one's batch-norm statistics."""
    if count() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def total(sums: Tensor) -> Tensor:
    """The sum over all processes."""
    if count() > 1:
        dist.all_reduce(sums)
    return sums


def wait() -> None:
    """Until every process has come this far."""
    if count() > 1:
        dist.barrier()
