"""Images a second of one training step, by memory layout, allocator and compilation.

    python benchmarks/step.py [--model mobilenetv2_dcs] [--height 128] [--width 64]

Each row runs in a process of its own. Prints a table in Markdown.
"""

import argparse
import os
import platform
import subprocess
import sys
import time

import torch

ROWS = {
    "default layout, glibc's allocator": "",
    "channels_last, glibc's allocator": "channels_last",
    "channels_last, freed memory kept": "channels_last keep",
    "channels_last, freed memory kept, compiled": "channels_last keep compile",
}
STEPS, WARMUP = 12, 3


def measure(name: str, height: int, width: int, batch: int, traits: list[str]) -> None:
    from reid_dcs import build_model
    from reid_dcs.engine.device import choose_device, compiled
    from reid_dcs.losses import IdentityTripletLoss

    if "keep" in traits:
        choose_device("cpu")
    layout = torch.channels_last if "channels_last" in traits else torch.contiguous_format
    torch.manual_seed(0)
    model = build_model(name, 751).to(memory_format=layout).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    criterion = IdentityTripletLoss()
    images = torch.randn(batch, 3, height, width).to(memory_format=layout)
    pids = torch.arange(batch // 4).repeat_interleave(4)
    step_model = compiled(model) if "compile" in traits else model
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenetv2_dcs")
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--traits", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.traits is not None:
        size = options.height, options.width, options.batch
        return measure(options.model, *size, options.traits.split())
    print(
        f"{options.model} at {options.height}x{options.width}, batch {options.batch}, "
        f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores\n\n"
        "| | images a second | first step, s |\n|---|---|---|"
    )
    for row, traits in ROWS.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--traits", traits]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        speed, first = result.stdout.split()[-2:]
        print(f"| {row} | {speed} | {first} |", flush=True)


if __name__ == "__main__":
    main()
