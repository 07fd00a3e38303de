"""Roofline of a training step: its operations and memory traffic against the device's limits.

    python benchmarks/bounds.py [--model mobilenetv2_dcs] [--height 256] [--width 128] [--batch 64]

An operator takes at least its floating-point operations over the measured throughput of a large
matrix product, and at least the bytes of its inputs and outputs over the measured bandwidth of a
large copy. The roofline is the sum over operators of the larger of the two; it assumes no fusion
and no cache between operators.
"""

import argparse
from dataclasses import dataclass

import torch
from machine import machine
from measuring import best_seconds
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from training import IDENTITIES, add_input_arguments, random_batch, training_step

from reid_dcs import build_model
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision


@dataclass(frozen=True)
class DeviceLimits:
    """Measured limits of a device.

    Attributes:
        flops: floating-point operations per second.
        bandwidth: bytes read and written per second.
    """

    flops: float
    bandwidth: float

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype = torch.float32) -> "DeviceLimits":
        size = 8192 if device.type == "cuda" else 2048
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        source = torch.zeros(2**30 if device.type == "cuda" else 2**26, device=device)
        target = torch.zeros_like(source)
        product_time = best_seconds(lambda: a @ b, device)
        copy_time = best_seconds(lambda: target.copy_(source), device)
        return cls(2 * size**3 / product_time, 2 * source.nbytes / copy_time)


class OperatorCosts(TorchDispatchMode):
    """Context that records operations and bytes of every operator, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[tuple[int, int]] = []  # (operations, bytes)

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

    def roofline(self, limits: DeviceLimits) -> float:
        """Lower bound on the seconds of the operators, run one after the other."""
        return sum(
            max(operations / limits.flops, size / limits.bandwidth)
            for operations, size in self.operators
        )


def _operations(operator: OpOverload, args: tuple, kwargs: dict, result: object) -> int:
    if operator.overloadpacket == torch.ops.aten.convolution_backward:
        # torch counts the weight gradient of a grouped convolution as that of a dense one.
        grad, _, weight, *_, mask = args
        return 2 * grad.numel() * weight[0].numel() * sum(mask[:2])
    count = flop_registry.get(operator.overloadpacket)
    return count(*args, **kwargs, out_val=result) if count else 0


def _bytes(tree: object) -> int:
    """Bytes of all tensors in a tree; an expanded tensor counts the memory it occupies."""
    return sum(
        min(leaf.nbytes, leaf.untyped_storage().nbytes())
        for leaf in tree_leaves(tree)
        if isinstance(leaf, Tensor)
    )


def table_row(options: argparse.Namespace, precision: Precision, device: torch.device) -> str:
    """Operations and bytes of a step, limits of the device, lower bounds and measured time."""
    model = build_model(options.model, IDENTITIES).to(device, memory_format=torch.channels_last)
    batch = random_batch(options.batch, options.height, options.width, device)
    step = training_step(model, *batch, autocast=precision.autocast)
    step_time = best_seconds(step, device)
    with OperatorCosts() as costs:
        step()
    limits = DeviceLimits.measure(device, precision.dtype)
    cells = [
        precision.name,
        f"{costs.operations / 2e9:.1f}",
        f"{costs.bytes / 2**30:.1f}",
        f"{limits.flops / 1e12:.3g}",
        f"{limits.bandwidth / 1e9:.3g}",
        f"{1e3 * costs.operations / limits.flops:.0f}",
        f"{1e3 * costs.bytes / limits.bandwidth:.0f}",
        f"{1e3 * costs.roofline(limits):.0f}",
        f"{1e3 * step_time:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenetv2_dcs")
    add_input_arguments(parser, batch=64)
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
        print(table_row(options, Precision(name, device), device), flush=True)


if __name__ == "__main__":
    main()
