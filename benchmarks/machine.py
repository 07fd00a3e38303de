"""Description of the machine, printed with every result."""

import os
import platform
from importlib.metadata import version

import torch

from reid_dcs.runtime.device import device_name


def machine(*packages: str) -> str:
    """GPU if there is one, processor, cores, and versions of torch, ``packages`` and Python."""
    parts = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    parts += [device_name(torch.device("cpu")), f"{os.cpu_count()} cores"]
    parts += [f"{package} {version(package)}" for package in ("torch", *packages)]
    return f"{', '.join(parts)}, Python {platform.python_version()}."
