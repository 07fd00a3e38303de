"""Images a second of one training step, by memory layout, allocator and compilation.

    python benchmarks/step.py [--model mobilenetv2_dcs] [--output benchmarks/results/step.md]

Each row runs in a process of its own, and adds something to the row above.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from machine import machine

ROWS = {
    "as PyTorch has it": "",
    "channels_last": "channels_last",
    "freed memory kept (`runtime/device.py`)": "channels_last keep",
    "compiled": "channels_last keep compile",
}
STEPS, WARMUP = 8, 2


def measure(name: str, height: int, width: int, batch: int, traits: list[str]) -> None:
    from reid_dcs import build_model
    from reid_dcs.losses import IdentityTripletLoss
    from reid_dcs.runtime.device import choose_device, compiled

    if "keep" in traits:
        choose_device("cpu")
    layout = torch.channels_last if "channels_last" in traits else torch.contiguous_format
    torch.manual_seed(0)
    model = build_model(name, 751).to(memory_format=layout).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    criterion = IdentityTripletLoss()
    images = torch.randn(batch, 3, height, width).to(memory_format=layout)
    pids = torch.arange(batch // 4).repeat_interleave(4)
    step_model = compiled(model, "compile" in traits)
    times = []
    for _ in range(WARMUP + STEPS):
        started = time.perf_counter()
        loss = criterion(*step_model(images), pids)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    median = sorted(times[WARMUP:])[STEPS // 2]
    print(f"{batch / median:.1f} {times[0]:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenetv2_dcs")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--traits", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.traits is not None:
        size = options.height, options.width, options.batch
        return measure(options.model, *size, options.traits.split())
    lines = [
        "# A training step on a CPU",
        "",
        f"`{' '.join(['python', *sys.argv])}`: `{options.model}` at "
        f"{options.height}x{options.width}, batch {options.batch}, each row a process and what "
        f"the row above has; the median of {STEPS} steps.",
        "",
        machine(),
        "",
        "| | images a second | first step, s |",
        "|---|---|---|",
    ]
    for row, traits in ROWS.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--traits", traits]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        speed, first = result.stdout.split()[-2:]
        lines.append(f"| {row} | {speed} | {first} |")
        print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
