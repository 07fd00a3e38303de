"""Count the operations that PyTorch dispatches, and run on the ``meta`` device what is for a GPU.

A ``meta`` tensor has no values: reading one back (``.item()``, ``.tolist()``, ``.cpu()``, a mask as
an index) raises, as it would make a GPU wait. Tensors on the CPU may be read.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


class Dispatched(TorchDispatchMode):
    """Context that counts dispatched operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[str(function)] = self.counts.get(str(function), 0) + 1
        return function(*args, **(kwargs or {}))
