"""Distributed training and evaluation: helpers that also work in a single process.

Processes are started by torchrun. Only rank 0 prints and writes files.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")

_TIMEOUT = timedelta(minutes=60)  # other ranks wait while rank 0 decodes a large data set
_groups = itertools.count()


def is_launched() -> bool:
    """Whether torchrun, or what sets the same variables, started this process."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def rank() -> int:
    """Rank of this process; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """True on rank 0, which alone prints and writes files."""
    return rank() == 0


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the process group if torchrun started this process; mute stdout except on rank 0.

    Args:
        device: requested device; with CUDA, each local rank uses its own GPU.

    Yields:
        the device of this rank.
    """
    if not is_launched() or dist.is_initialized():
        yield device
        return
    backend = "gloo"
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    store, number, size = next(dist.rendezvous("env://", timeout=_TIMEOUT))
    # keys of its own: those of the group before it, in this process, hold addresses that are closed
    store = dist.PrefixStore(f"reid_dcs/{next(_groups)}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=size, timeout=_TIMEOUT)
    with contextlib.ExitStack() as stack:
        if not is_main():
            devnull = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(devnull))
        yield device
    # Not in a finally block: after an error, destroying the group would wait for the other ranks.
    dist.destroy_process_group()


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Run the block on rank 0 first, then on the other ranks, which find the files it wrote."""
    if not is_main():
        dist.barrier()
    yield
    if is_main() and world_size() > 1:
        dist.barrier()


def rank_slice() -> slice:
    """Slice selecting this process's items, every ``world_size``-th: ``items[rank_slice()]``."""
    return slice(rank(), None, world_size())


def gathered(value: T) -> list[T]:
    """All-gather a picklable value on the CPU: the values of all ranks, in rank order."""
    if world_size() == 1:
        return [value]
    values: list[T] = [value] * world_size()
    dist.all_gather_object(values, value)
    return values


def summed(values: Tensor) -> Tensor:
    """All-reduce: the sum over the ranks of a tensor that has the same shape on each."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def any_rank(flag: object) -> bool:
    """True if ``flag`` is true on any rank."""
    return bool(summed(torch.tensor(float(bool(flag)))))


def parallel(model: nn.Module) -> nn.Module:
    """Wrap the model to average gradients over the ranks; a single process gets it unwrapped."""
    return DistributedDataParallel(model) if world_size() > 1 else model


def share_statistics(model: nn.Module) -> None:
    """Broadcast the buffers of rank 0: each rank has updated its batch norms in the last batch."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
