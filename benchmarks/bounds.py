"""What bounds a training step: its operations and bytes against the device's measured ceilings.

    python benchmarks/bounds.py [--model mobilenetv2_dcs] [--height 256] [--width 128] [--batch 64]

An operator takes at least its floating-point operations over the rate of a large matrix product,
and at least the bytes of its inputs and outputs over the rate of a large copy. The roofline is the
sum over operators of the larger of the two: no fusion of operators, no cache between them.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from machine import machine
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from reid_dcs import build_model
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision


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
            flops = _operations(operator, args, kwargs or {}, result)
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


def _operations(operator: OpOverload, args: tuple, kwargs: dict, result: object) -> int:
    if operator.overloadpacket == torch.ops.aten.convolution_backward:
        # torch's count takes the weight's gradient of a grouped convolution for a dense one's
        grad, _, weight, *_, mask = args
        return 2 * grad.numel() * weight[0].numel() * sum(mask[:2])
    count = flop_registry.get(operator.overloadpacket)
    return count(*args, **kwargs, out_val=result) if count else 0


def _bytes(tree: object) -> int:
    """Of all tensors; an expanded one counts what lies in memory."""
    return sum(
        min(leaf.nbytes, leaf.untyped_storage().nbytes())
        for leaf in tree_leaves(tree)
        if isinstance(leaf, Tensor)
    )


def row(options: argparse.Namespace, precision: Precision, device: torch.device) -> str:
    """Of the table: a step's counts, the ceilings, the times they allow, the time it takes."""
    model = build_model(options.model, 751).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.train().parameters(), 3e-4, fused=True)
    images = torch.randn(options.batch, 3, options.height, options.width, device=device)
    images = images.to(memory_format=torch.channels_last)
    pids = torch.arange(options.batch // 4, device=device).repeat_interleave(4)

    def step() -> None:
        optimizer.zero_grad()
        with precision.autocast():
            logits, features = model(images)
        IdentityTripletLoss()(logits.float(), features, pids).total.backward()
        optimizer.step()

    took = seconds(step, device)
    with Costs() as costs:
        step()
    ceilings = Ceilings.measured(device, precision.dtype)
    cells = [
        precision.name,
        f"{costs.operations / 2e9:.1f}",
        f"{costs.bytes / 2**30:.1f}",
        f"{ceilings.operations / 1e12:.3g}",
        f"{ceilings.bytes / 1e9:.3g}",
        f"{1e3 * costs.operations / ceilings.operations:.0f}",
        f"{1e3 * costs.bytes / ceilings.bytes:.0f}",
        f"{1e3 * costs.roofline(ceilings):.0f}",
        f"{1e3 * took:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenetv2_dcs")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    device = choose_device("auto")
    print(
        f"{options.model} at {options.height}x{options.width}, batch {options.batch}. {machine()}"
    )
    print(
        "\n| | multiply-adds, G | bytes, GiB | product, TFLOP/s | copy, GB/s "
        "| operations, ms | bytes, ms | roofline, ms | measured, ms |\n" + 9 * "|---" + "|"
    )
    for name in dict.fromkeys(["float32", Precision("auto", device).name]):
        print(row(options, Precision(name, device), device), flush=True)


if __name__ == "__main__":
    main()
