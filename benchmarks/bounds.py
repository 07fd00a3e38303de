"""What bounds a piece of work on a device: its operations and bytes against measured ceilings.

An operator takes at least its floating-point operations over the rate of a large matrix product,
and at least the bytes of its inputs and outputs over the rate of a large copy. The roofline is the
sum over operators of the larger of the two: no fusion of operators, no cache between them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Ceilings:
    """Of a device: floating-point operations a second, bytes read and written a second."""

    operations: float
    bytes: float

    @classmethod
    def measured(cls, device: torch.device, dtype: torch.dtype = torch.float32) -> "Ceilings":
        size = 8192 if device.type == "cuda" else 2048
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        source = torch.zeros(2**30 if device.type == "cuda" else 2**26, device=device)
        target = torch.zeros_like(source)
        product = seconds(lambda: a @ b, device)
        copy = seconds(lambda: target.copy_(source), device)
        return cls(2 * size**3 / product, 2 * source.nbytes / copy)


def seconds(run: Callable[[], object], device: torch.device, rounds: int = 10) -> float:
    """The fastest of some rounds, after two to warm up."""
    times = []
    for _ in range(2 + rounds):
        synchronise(device)
        began = time.perf_counter()
        run()
        synchronise(device)
        times.append(time.perf_counter() - began)
    return min(times[2:])


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Costs(TorchDispatchMode):
    """Counts what runs in its context, operator by operator, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[tuple[int, int]] = []  # operations, bytes

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        if not operator.is_view and not operator.name().startswith("aten::empty"):
            count = flop_registry.get(operator.overloadpacket)
            flops = count(*args, **(kwargs or {}), out_val=result) if count else 0
            self.operators.append((flops, _bytes((args, kwargs)) + _bytes(result)))
        return result

    @property
    def operations(self) -> int:
        return sum(operations for operations, _ in self.operators)

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.operators)

    def roofline(self, ceilings: Ceilings) -> float:
        """Seconds that the operators take at least, one after the other."""
        return sum(
            max(operations / ceilings.operations, size / ceilings.bytes)
            for operations, size in self.operators
        )


def _bytes(tree: object) -> int:
    """Of all tensors; an expanded one counts what lies in memory."""
    return sum(
        min(leaf.nbytes, leaf.untyped_storage().nbytes())
        for leaf in tree_leaves(tree)
        if isinstance(leaf, Tensor)
    )
