"""Cost of each attention module in a training step.

    python benchmarks/overhead.py [--backbone mobilenetv2] [--batch 32]

The networks alternate in one process, one training step each per round. The overhead of a network
is the median over rounds of its time relative to the network without attention in the same round.
Prints a table in Markdown.
"""

import argparse
from statistics import median

import torch
from machine import machine
from measuring import seconds
from training import IDENTITIES, add_input_arguments, random_batch, training_step

from reid_dcs import build_model
from reid_dcs.runtime.device import choose_device

ROWS = {  # the attention module is the first word of a row
    "base": {},
    "sa": {},
    "dcs": {"windows": 1},
    "dcs, M = 2 (the default)": {},
    "dcs, interp": {"windows": 1, "mode": "interp"},
    "dcs_sw": {},
    "gsa": {},
}
ROUNDS, WARMUP = 9, 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="mobilenetv2")
    add_input_arguments(parser)
    options = parser.parse_args()
    device = choose_device("cpu")
    torch.manual_seed(0)
    batch = random_batch(options.batch, options.height, options.width)
    steps = {}
    for row, settings in ROWS.items():
        model = build_model(f"{options.backbone}_{row.split(',')[0]}", IDENTITIES, **settings)
        steps[row] = training_step(model.to(memory_format=torch.channels_last), *batch)
    times: dict[str, list[float]] = {row: [] for row in steps}
    for _ in range(WARMUP + ROUNDS):
        for row, step in steps.items():
            times[row].append(seconds(step, device))
    print(
        f"{options.backbone} at {options.height}x{options.width}, batch {options.batch}. "
        f"{machine()}\n\n"
        "| attention | ms per step | overhead |\n|---|---|---|"
    )
    base_times = times["base"][WARMUP:]
    for row in steps:
        row_times = times[row][WARMUP:]
        ratio = median(time / base for time, base in zip(row_times, base_times, strict=True))
        print(f"| {row} | {1000 * median(row_times):.0f} | {100 * (ratio - 1):.1f} % |")


if __name__ == "__main__":
    main()
