"""Description of the environment of a run: command, versions, device."""

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import device_name

_PACKAGES = ("torch", "torchvision", "torchreid", "numpy", "pillow", "omegaconf")


def environment(device: torch.device) -> dict[str, Any]:
    """Content of ``environment.json``."""
    return {
        "command": sys.argv,
        "reid_dcs": metadata.version("reid_dcs"),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
    }


def command_line() -> str:
    """The command that started this process, to be shared: absolute paths cut to their names."""
    words = []
    for word in sys.argv:
        key, equals, value = word.rpartition("=")
        words.append(f"{key}{equals}{Path(value).name}" if Path(value).is_absolute() else word)
    return shlex.join(words)
