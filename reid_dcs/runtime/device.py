"""What the machine at hand is good for: its device, its memory, its compiler."""

import contextlib
import ctypes
import platform
import warnings
from pathlib import Path

import torch
from torch import nn

from reid_dcs.errors import InputError


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one.

    Raises:
        InputError: CUDA asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: PyTorch finds no CUDA device here; use device=auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        _keep_freed_memory()
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """What the maker calls it: of an accelerator or, as far as the system tells, the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):  # not Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def compiled(model: nn.Module, wanted: bool | None) -> nn.Module:
    """``torch.compile(model)``, if ``wanted``; None leaves it to the device.

    An accelerator gets one captured graph of kernels, whose launches then cost nothing; on a CPU
    compilation gains nothing (benchmarks/results/train.md).

    Raises:
        InputError: the machine has no compiler that works.
    """
    device = next(model.parameters()).device
    if wanted is None:
        wanted = device.type == "cuda"
    if not wanted:
        return model
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.compile(torch.sin)(torch.zeros(8, device=device))
    except Exception as error:  # a compiler fails in as many ways as there are compilers
        reason = str(error).splitlines()[0]
        raise InputError(f"train.compile=true: no working compiler here ({reason})") from error
    return torch.compile(model, mode="reduce-overhead" if device.type == "cuda" else "default")


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norms whose statistics are those of all processes' batches.

    Raises:
        InputError: on a CPU, where torch has none.
    """
    if device.type == "cpu":
        raise InputError("train.sync_bn=true: torch synchronises batch norms on accelerators only")
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _keep_freed_memory() -> None:
    """Have glibc reuse the pages of freed tensors.

    By default every large tensor is a fresh mapping, zeroed page by page and unmapped after use;
    benchmarks/step.py shows what that costs.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(m_mmap_threshold, 2**30)
    mallopt(m_trim_threshold, -1)  # never: a step at 256x128 frees gigabytes
