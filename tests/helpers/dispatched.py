"""Count the operations that PyTorch dispatches, and run on the ``meta`` device what is for a GPU.

A ``meta`` tensor has no values: reading one back (``.item()``, ``.tolist()``, ``.cpu()``, a mask as
an index) raises, as it would make a GPU wait. Tensors on the CPU may be read.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


class Dispatched(TorchDispatchMode):
    """Context that counts dispatched operations by name.

    Attributes:
        counts: number of calls by operation.
        waiting: copies from the CPU to the device that wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.waiting: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[str(function)] = self.counts.get(str(function), 0) + 1
        kwargs = kwargs or {}
        if kwargs.get("device") == META and not kwargs.get("non_blocking"):
            if any(isinstance(arg, torch.Tensor) and arg.device != META for arg in args):
                self.waiting.append(str(function))
        return function(*args, **kwargs)
