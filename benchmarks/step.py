"""Images per second of a training step, by memory layout, allocator and compilation.

    python benchmarks/step.py [--model mobilenetv2_dcs] [--output benchmarks/results/step.md]

Each row runs in a separate process and adds one optimization to the row above.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch
from machine import machine
from measuring import seconds, write_page
from training import IDENTITIES, add_input_arguments, random_batch, training_step

from reid_dcs import build_model
from reid_dcs.runtime.device import choose_device, compiled

ROWS = {
    "PyTorch defaults": "",
    "channels_last": "channels_last",
    "freed memory kept (`reid_dcs/runtime/device.py`)": "channels_last keep",
    "compiled": "channels_last keep compile",
}
STEPS, WARMUP = 8, 2


def measure(options: argparse.Namespace, optimizations: list[str]) -> None:
    """Print images per second, and the seconds of the first step."""
    device = choose_device("cpu") if "keep" in optimizations else torch.device("cpu")
    channels_last = "channels_last" in optimizations
    layout = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    model = build_model(options.model, IDENTITIES).to(memory_format=layout).train()
    batch = random_batch(options.batch, options.height, options.width, layout=layout)
    step = training_step(compiled(model, "compile" in optimizations), *batch)
    times = [seconds(step, device) for _ in range(WARMUP + STEPS)]
    print(f"{options.batch / median(times[WARMUP:]):.1f} {times[0]:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenetv2_dcs")
    add_input_arguments(parser)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        return measure(options, options.row.split())
    lines = [
        "# A training step on a CPU",
        "",
        f"`{' '.join(['python', *sys.argv])}`: `{options.model}` at "
        f"{options.height}x{options.width}, batch {options.batch}. Each row runs in a separate "
        f"process and adds one optimization to the row above; median of {STEPS} steps.",
        "",
        machine(),
        "",
        "| | images per second | first step, s |",
        "|---|---|---|",
    ]
    for row, optimizations in ROWS.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--row", optimizations]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        speed, first = result.stdout.split()[-2:]
        lines.append(f"| {row} | {speed} | {first} |")
        print(lines[-1], file=sys.stderr, flush=True)
    write_page(lines, options.output)


if __name__ == "__main__":
    main()
