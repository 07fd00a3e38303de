"""Processes that train or evaluate together: torchrun starts them; without it there is one.

Rank 0 alone speaks and writes.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")

_PATIENCE = timedelta(minutes=60)  # of a rank that waits: decoding a large set takes long


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; all but rank 0 fall silent.

    Args:
        device: asked for; of several accelerators each rank of a machine takes its own.

    Yields:
        the device of this rank.
    """
    if "RANK" not in os.environ or dist.is_initialized():
        yield device
        return
    backend = "gloo"
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE)
    with contextlib.ExitStack() as stack:
        if not is_main():
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        yield device
    # After an error it is left standing: taking it down would wait for the other ranks.
    dist.destroy_process_group()


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Rank 0 goes first, for what it leaves on the disk for the others."""
    if not is_main():
        dist.barrier()
    yield
    if is_main() and world_size() > 1:
        dist.barrier()


def share() -> slice:
    """Every how-manieth item is this rank's: ``items[share()]``."""
    return slice(rank(), None, world_size())


def gathered(value: T) -> list[T]:
    """What every rank has, in the order of ranks, on every rank; picklable, on the CPU."""
    if world_size() == 1:
        return [value]
    values: list[T] = [value] * world_size()
    dist.all_gather_object(values, value)
    return values


def summed(values: Tensor) -> Tensor:
    """The sum over the ranks of a tensor of one shape."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def any_rank(flag: object) -> bool:
    """Whether it is true on any rank."""
    return bool(summed(torch.tensor(float(bool(flag)))))


def parallel(model: nn.Module) -> nn.Module:
    """The model with the mean of the ranks' gradients as its gradient; alone, the model."""
    return DistributedDataParallel(model) if world_size() > 1 else model


def share_statistics(model: nn.Module) -> None:
    """Give every rank the batch norm statistics of rank 0; in training each gathers its own."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
