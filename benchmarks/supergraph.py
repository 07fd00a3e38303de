"""A training step of a supergraph beside one of its largest subgraph: time and memory.

    python benchmarks/supergraph.py [--batch 8] [--rounds 5] [SPACE ...]

Steps of the two alternate in one process, and the ratio of times is the median over rounds; the
supergraph's step has the cost penalty in its loss. Memory is what a process of its own gains from
before the network is built to its peak. Prints a table in Markdown.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
from statistics import median

import torch
from overhead import LAYOUT, trainer

from reid_dcs import build_model
from reid_dcs.models.space import SPACES
from reid_dcs.runtime.device import choose_device
from reid_dcs.search import build_supergraph, expected_macs, target_penalty

HEIGHT, WIDTH, CLASSES, WARMUP = 384, 128, 751, 1


def step_of(which: str, space: str, batch: int):
    """A function that takes a step of the ``supergraph`` or of its ``largest`` subgraph."""
    torch.manual_seed(0)
    images = torch.randn(batch, 3, HEIGHT, WIDTH).to(memory_format=LAYOUT)
    pids = torch.arange(batch // 4).repeat_interleave(4)
    if which == "largest":
        return trainer(build_model(f"{space}_dcs", CLASSES), images, pids)
    supergraph = build_supergraph(f"{space}_dcs", CLASSES)
    size = 3, HEIGHT, WIDTH
    return trainer(
        supergraph, images, pids, lambda: target_penalty(expected_macs(supergraph, size), 0.5)
    )


def peak() -> float:
    """This process's, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def memory(which: str, space: str, batch: int) -> float:
    """In GB, measured in a process of its own."""
    command = [sys.executable, __file__, space, "--batch", str(batch), "--memory", which]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spaces", nargs="*", default=list(SPACES), metavar="SPACE")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    choose_device("cpu")
    if options.memory:
        before = peak()
        step = step_of(options.memory, options.spaces[0], options.batch)
        step(), step()
        return print(peak() - before)
    print(
        f"{HEIGHT}x{WIDTH}, batch {options.batch}, torch {torch.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} cores\n\n"
        "| supergraph | s a step | the largest subgraph | ratio | GB | the largest | ratio |\n"
        "|---|---|---|---|---|---|---|"
    )
    pair = "supergraph", "largest"
    gains = {  # first: a process begins with the peak of the one that starts it
        space: [memory(which, space, options.batch) for which in pair] for space in options.spaces
    }
    for space, gain in gains.items():
        steps = [step_of(which, space, options.batch) for which in pair]
        rounds = [[step() for step in steps] for _ in range(WARMUP + options.rounds)][WARMUP:]
        own, largest = (median(times) for times in zip(*rounds, strict=True))
        ratio = median(own / largest for own, largest in rounds)
        print(
            f"| `{space}_dcs` | {own:.2f} | {largest:.2f} | {ratio:.2f} "
            f"| {gain[0]:.2f} | {gain[1]:.2f} | {gain[0] / gain[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
