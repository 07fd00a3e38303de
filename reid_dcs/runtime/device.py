"""Device selection, compilation and memory settings."""

import contextlib
import ctypes
import os
import platform
import warnings
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from reid_dcs.errors import InputError


def choose_device(name: str) -> torch.device:
    """Select a device.

    Selecting the CPU also tunes the C library's memory allocator for training.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` (the second GPU), ``mps`` (Apple's GPU), or ``auto``:
            CUDA if available, otherwise the CPU.

    Raises:
        InputError: unknown name, or the device is not available.
    """
    kind, colon, number = name.partition(":")
    known = kind in ("cpu", "cuda", "mps", "auto") and (kind == "cuda" or not colon)
    if not known or (colon and not (number.isascii() and number.isdigit() and len(number) < 4)):
        raise InputError(f"device={name}: use auto, cpu, cuda, cuda:NUMBER or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device={name}: PyTorch finds no CUDA device; use device=auto")
    if colon and int(number) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"device={name}: there are {count} CUDA devices, numbered from 0")
    if colon:
        torch.cuda.set_device(name)  # also for what is allocated or launched without a device
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("device=mps: PyTorch finds no Metal device; use device=auto")
    if kind == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        _keep_freed_memory()
    return torch.device(name)


def is_accelerator(device: torch.device) -> bool:
    """Whether operations are queued on the device, so that reading a value waits for it."""
    return device.type != "cpu"


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; from the CPU to a GPU without waiting, through pinned memory."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=is_accelerator(device))


def device_name(device: torch.device) -> str:
    """Product name of the GPU, or of the CPU as far as the system reports it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):  # not Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Number of processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS, Windows


def compiled(model: nn.Module, wanted: bool | None) -> nn.Module:
    """Apply ``torch.compile`` where it is wanted.

    On CUDA, kernel launches are captured in CUDA graphs and cost almost nothing. On a CPU,
    compilation gains nothing (benchmarks/results/train.md).

    Args:
        model: network, on its device.
        wanted: whether to compile; None compiles on CUDA only.

    Raises:
        InputError: there is no working compiler.
    """
    device = next(model.parameters()).device
    if wanted is None:
        wanted = device.type == "cuda"
    if not wanted:
        return model
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.compile(torch.sin)(torch.zeros(8, device=device))
    except Exception as error:  # compilers raise many types of errors
        reason = str(error).splitlines()[0]
        raise InputError(
            f"train.compile: no working compiler ({reason}); use train.compile=false"
        ) from error
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return cast(nn.Module, torch.compile(model, mode=mode))  # annotated as any callable


def check_synchronized(device: torch.device) -> None:
    """Check that batch norms can be synchronized.

    Raises:
        InputError: the device is a CPU, where PyTorch does not support it.
    """
    if device.type == "cpu":
        raise InputError(
            "train.sync_bn=true: PyTorch synchronizes batch norms on accelerators only; "
            "use train.sync_bn=false"
        )


def synchronized(model: nn.Module, device: torch.device) -> nn.Module:
    """Convert batch norms to synchronized ones, with statistics over the batches of all ranks.

    Raises:
        InputError: see :func:`check_synchronized`.
    """
    check_synchronized(device)
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _keep_freed_memory() -> None:
    """Make glibc reuse the memory of freed tensors.

    By default every large tensor is a new memory mapping, zeroed page by page and unmapped when
    freed; benchmarks/step.py measures the cost.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(m_mmap_threshold, 2**30)
    mallopt(m_trim_threshold, -1)  # never trim: a training step at 256x128 frees gigabytes
