"""Description of the environment of a run: command, versions, device."""

import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import torch

from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import device_name
from reid_dcs.runtime.precision import Precision

_PACKAGES = ("torch", "torchvision", "torchreid", "numpy", "pillow", "omegaconf")


def environment(precision: Precision) -> dict[str, Any]:
    """Content of ``environment.json`` of a run in a precision on a device."""
    return {
        "command": sys.argv,
        "reid_dcs": version("reid_dcs"),
        "commit": commit(),
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device_name(precision.device),
        "precision": precision.name,
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
    }


def version(package: str) -> str | None:
    """Version of an installed package; None of one that is used without being installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the checkout that holds this code; None outside of a checkout.

    ``+`` after it says that tracked files have changed since.
    """
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    git = ("git", "-C", str(checkout))
    try:
        head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True, stderr=DEVNULL)
        changed = subprocess.call([*git, "diff", "--quiet", "HEAD"], stderr=DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + "+" * bool(changed)


def command_line() -> str:
    """The command that started this process, to be shared: absolute paths cut to their names."""
    words = []
    for word in sys.argv:
        key, equals, value = word.rpartition("=")
        words.append(f"{key}{equals}{Path(value).name}" if Path(value).is_absolute() else word)
    return shlex.join(words)
