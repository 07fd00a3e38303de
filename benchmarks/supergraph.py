"""Training step of a supergraph and of its largest subgraph: time and memory.

    python benchmarks/supergraph.py [--batch 8] [--rounds 5] [SPACE ...]

The two alternate in one process; the ratio of times is the median over rounds. The loss of the
supergraph includes the cost penalty. Memory is measured in a separate process, as the increase of
its peak since before the network was built. Prints a table in Markdown.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from statistics import median

import torch
from machine import machine
from measuring import seconds
from training import IDENTITIES, random_batch, training_step

from reid_dcs import build_model
from reid_dcs.models.space import SPACES
from reid_dcs.runtime.device import choose_device
from reid_dcs.search import build_supergraph, expected_macs, target_penalty

HEIGHT, WIDTH, WARMUP = 384, 128, 1
NETWORKS = "supergraph", "largest"


def build_step(network: str, space: str, batch_size: int) -> Callable[[], None]:
    """Training step of the ``supergraph`` of a space or of its ``largest`` subgraph."""
    torch.manual_seed(0)
    batch = random_batch(batch_size, HEIGHT, WIDTH)
    if network == "largest":
        model = build_model(f"{space}_dcs", IDENTITIES)
        return training_step(model.to(memory_format=torch.channels_last), *batch)
    supergraph = build_supergraph(f"{space}_dcs", IDENTITIES)
    return training_step(
        supergraph.to(memory_format=torch.channels_last),
        *batch,
        penalty=lambda: target_penalty(expected_macs(supergraph, (3, HEIGHT, WIDTH)), 0.5),
    )


def peak_memory() -> float:
    """Peak memory of this process, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def print_memory(network: str, space: str, batch_size: int) -> None:
    """Print the increase of the peak by two training steps, in GB."""
    before = peak_memory()
    step = build_step(network, space, batch_size)
    step(), step()
    print(peak_memory() - before)


def memory(network: str, space: str, batch_size: int) -> float:
    """Run :func:`print_memory` in a separate process."""
    command = [sys.executable, __file__, space, "--batch", str(batch_size), "--memory", network]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spaces", nargs="*", default=list(SPACES), metavar="SPACE")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", choices=NETWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = choose_device("cpu")
    if options.memory:
        return print_memory(options.memory, options.spaces[0], options.batch)
    print(
        f"{HEIGHT}x{WIDTH}, batch {options.batch}. {machine()}\n\n"
        "| supergraph | s per step | largest subgraph | ratio | GB | largest subgraph | ratio |\n"
        "|---|---|---|---|---|---|---|"
    )
    # Memory first: a process starts with the peak of its parent.
    gigabytes = {
        space: [memory(network, space, options.batch) for network in NETWORKS]
        for space in options.spaces
    }
    for space in options.spaces:
        steps = [build_step(network, space, options.batch) for network in NETWORKS]
        rounds = [
            [seconds(step, device) for step in steps] for _ in range(WARMUP + options.rounds)
        ][WARMUP:]
        supergraph, largest = (median(times) for times in zip(*rounds, strict=True))
        ratio = median(searched / plain for searched, plain in rounds)
        supergraph_gb, largest_gb = gigabytes[space]
        print(
            f"| `{space}_dcs` | {supergraph:.2f} | {largest:.2f} | {ratio:.2f} "
            f"| {supergraph_gb:.2f} | {largest_gb:.2f} | {supergraph_gb / largest_gb:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
