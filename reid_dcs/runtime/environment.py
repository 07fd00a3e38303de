"""What a run ran on: versions, device, command."""

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import reid_dcs
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import device_name

_PACKAGES = ("torch", "torchvision", "torchreid", "numpy", "pillow", "omegaconf")


def environment(device: torch.device) -> dict[str, Any]:
    """What a run ran on, and the command that started it."""
    return {
        "command": sys.argv,
        "reid_dcs": reid_dcs.__version__,
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
