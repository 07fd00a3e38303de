"""Where a measurement was made: a line for every page of results."""

import contextlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def machine(*packages: str) -> str:
    """Accelerator or processor, cores, and the versions of torch, Python and ``packages``."""
    parts = [_processor(), f"{os.cpu_count()} cores", f"torch {torch.__version__}"]
    if torch.cuda.is_available():
        parts.insert(0, torch.cuda.get_device_name())
    parts += [f"{package} {version(package)}" for package in packages]
    return f"{', '.join(parts)}, Python {platform.python_version()}."


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").open():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()
