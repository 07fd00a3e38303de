"""Time of the gradient of depthwise convolutions on a CPU: in bfloat16 and in float32.

    python benchmarks/studies/depthwise.py > benchmarks/studies/results/depthwise.md

One thread, 64 images; the best of five backward passes. A row is marked if a training in bfloat16
computes it in float32 (`reid_dcs/runtime/depthwise.py`).
"""

import sys
from itertools import product
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from reid_dcs.runtime.depthwise import DepthwiseInFloat32

sys.path.append(str(Path(__file__).parents[1]))
from machine import machine  # noqa: E402

CHANNELS = 192
SIZES = ((2, 1), (8, 4), (16, 8), (32, 16))
KERNELS, STRIDES = (3, 5, 7), (1, 2)
TURNS = 5


def milliseconds(convolution: nn.Module, images: torch.Tensor, dtype: torch.dtype) -> float:
    """Best time of a backward pass."""
    times = []
    for _ in range(TURNS):
        inputs = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            output = convolution(inputs)
        gradient = torch.ones_like(output)
        start = perf_counter()
        output.backward(gradient)
        times.append(perf_counter() - start)
    return min(times) * 1e3


def main() -> None:
    torch.set_num_threads(1)
    print(f"# The gradient of depthwise convolutions of {CHANNELS} channels\n")
    print("`python benchmarks/studies/depthwise.py`: one thread, 64 images, best of 5.\n")
    print(f"{machine()}\n")
    print("| kernel | stride | map | float32, ms | bfloat16, ms | ratio | stays in float32 |")
    print("|---|---|---|---|---|---|---|")
    for kernel, stride, (height, width) in product(KERNELS, STRIDES, SIZES):
        convolution = nn.Conv2d(
            CHANNELS, CHANNELS, kernel, stride, kernel // 2, groups=CHANNELS, bias=False
        ).to(memory_format=torch.channels_last)
        images = torch.randn(64, CHANNELS, height, width)
        images = images.to(memory_format=torch.channels_last)
        full, half = (
            milliseconds(convolution, images, dtype) for dtype in (torch.float32, torch.bfloat16)
        )
        with torch.autocast("cpu", torch.bfloat16), DepthwiseInFloat32():
            kept = convolution(images.requires_grad_()).dtype == torch.float32
        print(
            f"| {kernel} | {stride} | {height}x{width} | {full:.2f} | {half:.2f} | "
            f"{half / full:.1f} | {'yes' if kept else ''} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
