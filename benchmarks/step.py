"""Images per second of a training step on a CPU: by memory layout, allocator and compilation, or
with ``--precisions`` by size of the images and precision.

    python benchmarks/step.py [--model mobilenetv2_dcs] [--output FILE]
    python benchmarks/step.py --precisions [--batch 64] [--threads 1] [--output FILE]

Each figure is measured in a process of its own.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import machine
from measuring import seconds, write_page
from training import IDENTITIES, add_input_arguments, random_batch, training_step

from reid_dcs import build_model
from reid_dcs.runtime.device import choose_device, compiled
from reid_dcs.runtime.precision import Precision

ROWS = {
    "PyTorch defaults": "",
    "channels_last": "channels_last",
    "freed memory kept (`reid_dcs/runtime/device.py`)": "channels_last keep",
    "compiled": "channels_last keep compile",
}
SIZES = ((64, 32), (128, 64), (192, 96), (256, 128))  # height, width
PRECISIONS = ("float32", "autocast", "bfloat16")
STEPS, WARMUP = 8, 2


def measure(options: argparse.Namespace, optimizations: list[str]) -> None:
    """Print images per second, and the seconds of the first step."""
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device("cpu") if "keep" in optimizations else torch.device("cpu")
    channels_last = "channels_last" in optimizations
    layout = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    model = build_model(options.model, IDENTITIES).to(memory_format=layout).train()
    batch = random_batch(options.batch, options.height, options.width, layout=layout)
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    if "autocast" in optimizations:
        context = partial(torch.autocast, "cpu", torch.bfloat16)
    elif "bfloat16" in optimizations:
        context = Precision("bfloat16", device).autocast
    passes = compiled(model, "compile" in optimizations)
    step = training_step(passes, *batch, autocast=context)
    times = [seconds(step, device) for _ in range(WARMUP + STEPS)]
    print(f"{options.batch / median(times[WARMUP:]):.1f} {times[0]:.0f}")


def in_a_process(*arguments: str) -> list[str]:
    """What :func:`measure` prints with these arguments, beside those of this process."""
    command = [sys.executable, __file__, *sys.argv[1:], *arguments]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return result.stdout.split()[-2:]


def by_optimization() -> Iterator[str]:
    """Rows of the table of optimizations."""
    yield "| | images per second | first step, s |"
    yield "|---|---|---|"
    for row, optimizations in ROWS.items():
        speed, first = in_a_process("--row", optimizations)
        yield f"| {row} | {speed} | {first} |"


def by_precision() -> Iterator[str]:
    """Rows of the table of sizes and precisions."""
    yield "| size | float32 | bfloat16 by `torch.autocast` | bfloat16 | ratio to float32 |"
    yield "|---|---|---|---|---|"
    for height, width in SIZES:
        size = ["--height", str(height), "--width", str(width)]
        speeds = [
            in_a_process(*size, "--row", f"channels_last keep {name}")[0] for name in PRECISIONS
        ]
        ratio = float(speeds[-1]) / float(speeds[0])
        yield f"| {height}x{width} | {' | '.join(speeds)} | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="mobilenetv2_dcs")
    add_input_arguments(parser)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--precisions", action="store_true", help="by size and precision")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        return measure(options, options.row.split())
    if options.precisions:
        rows, what = by_precision(), "images per second by size and precision"
    else:
        rows = by_optimization()
        what = (
            f"images per second at {options.height}x{options.width}; each row adds one "
            "optimization to the row above"
        )
    lines = [
        "# A training step on a CPU",
        "",
        f"`{' '.join(['python', *sys.argv])}`: `{options.model}`, batch {options.batch}: {what}. "
        f"Each figure is the median of {STEPS} steps in a process of its own.",
        "",
        machine(),
        "",
    ]
    for row in rows:
        lines.append(row)
        print(row, file=sys.stderr, flush=True)
    write_page(lines, options.output)


if __name__ == "__main__":
    main()
