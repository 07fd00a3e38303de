"""What the machine at hand is good for: its device, its memory, its compiler."""

import ctypes
import os
import warnings
from functools import cache

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


def compiled(model: nn.Module) -> nn.Module:
    """``torch.compile(model)``.

    Raises:
        InputError: the machine has no compiler that works.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.compile(torch.sin)(torch.zeros(8, device=next(model.parameters()).device))
    except Exception as error:  # a compiler fails in as many ways as there are compilers
        reason = str(error).splitlines()[0]
        raise InputError(f"train.compile=true: no working compiler here ({reason})") from error
    return torch.compile(model)


@cache
def _keep_freed_memory() -> None:
    """Have glibc reuse the pages of freed tensors, and the kernel make them huge.

    By default every large tensor is a fresh mapping, zeroed page by page and unmapped after use,
    and a step over gigabytes in pages of 4 KiB waits for address translation. So half of the
    memory is reserved, which takes none of it yet, and advised; benchmarks/step.py shows the gain.
    """
    m_trim_threshold, m_mmap_threshold, m_mmap_max = -1, -3, -4  # malloc.h
    madv_hugepage = 14  # sys/mman.h
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc, free, madvise = libc.mallopt, libc.malloc, libc.free, libc.madvise
        mallopt.restype, malloc.restype = ctypes.c_int, ctypes.c_void_p
    except (OSError, AttributeError):  # not glibc
        return
    malloc.argtypes, free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    mallopt(m_trim_threshold, -1)  # never
    mallopt(m_mmap_max, 0)  # the reservation is of the heap
    page = os.sysconf("SC_PAGE_SIZE")
    size = os.sysconf("SC_PHYS_PAGES") // 2 * page
    if reserved := malloc(size):
        madvise(-(-reserved // page) * page, size - page, madv_hugepage)
        free(reserved)
    mallopt(m_mmap_max, 2**16)
    mallopt(m_mmap_threshold, 2**30)
