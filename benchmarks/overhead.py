"""What the attention modules add to a training step of a network, kind by kind.

    python benchmarks/overhead.py [--backbone mobilenetv2] [--batch 32]

Steps of the networks alternate in one process; a ratio is the median of those to the step of the
network without attention in the same round. Prints a table in Markdown.
"""

import argparse
import os
import platform
import time
from statistics import median

import torch
from torch import nn

from reid_dcs import build_model
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.runtime.device import choose_device

ROWS = {
    "sa": {},
    "dcs": {"windows": 1},
    "dcs, M = 2 (the default)": {},
    "dcs, interp": {"windows": 1, "mode": "interp"},
    "dcs_sw": {},
    "gsa": {},
}
ROUNDS, WARMUP = 9, 2
LAYOUT = torch.channels_last


def no_penalty() -> float:
    return 0.0


def trainer(model: nn.Module, images: torch.Tensor, pids: torch.Tensor, penalty=no_penalty):
    """A function that takes one training step of a network and gives its seconds."""
    model.to(memory_format=LAYOUT).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    criterion = IdentityTripletLoss()

    def step() -> float:
        began = time.perf_counter()
        loss = criterion(*model(images), pids).total + penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - began

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="mobilenetv2")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    choose_device("cpu")
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, options.height, options.width).to(memory_format=LAYOUT)
    pids = torch.arange(options.batch // 4).repeat_interleave(4)
    steps = {"base": trainer(build_model(f"{options.backbone}_base", 751), images, pids)}
    for row, settings in ROWS.items():
        kind = row.split(",")[0]
        model = build_model(f"{options.backbone}_{kind}", 751, **settings)
        steps[row] = trainer(model, images, pids)
    times: dict[str, list[float]] = {row: [] for row in steps}
    for _ in range(WARMUP + ROUNDS):
        for row, step in steps.items():
            times[row].append(step())
    print(
        f"{options.backbone} at {options.height}x{options.width}, batch {options.batch}, "
        f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores\n\n"
        "| attention | ms a step | more than base |\n|---|---|---|"
    )
    base = times["base"][WARMUP:]
    for row, values in times.items():
        own = values[WARMUP:]
        more = median([a / b for a, b in zip(own, base, strict=True)]) - 1
        print(f"| {row} | {1000 * median(own):.0f} | {100 * more:.1f} % |")


if __name__ == "__main__":
    main()
