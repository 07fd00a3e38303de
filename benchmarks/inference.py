"""Images a second: PyTorch as it is, compiled, and ONNX Runtime; torchreid's networks beside ours.

    python benchmarks/inference.py [--output benchmarks/results/inference.md]

Everything is compiled and exported first. Then the networks and the ways alternate, round after
round, in one process; a cell is the median of its rounds and their quartiles.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import machine
from torch import Tensor

import reid_dcs
from reid_dcs.inference.onnx import OnnxNetwork, onnx_graph
from reid_dcs.runtime.device import choose_device

OURS = ("mobilenetv2_base", "mobilenetv2_dcs", "mobilenetv2_200_dcs", "osnet_x1_0_dcs")
TORCHREID = ("mobilenetv2_x1_0", "osnet_x1_0")
WAYS = ("contiguous, as torchreid runs it", "channels_last", "compiled", "ONNX Runtime")
PAUSE = 0.1  # seconds after a measurement, for the threads of a runtime to come to rest

Run = Callable[[], Tensor]


def ways(name: str, images: Tensor) -> dict[str, Run]:
    """The network in each way, as functions without arguments; called once, so that all is made."""
    torch.manual_seed(0)
    model = reid_dcs.build_model(name, 751).eval()
    exported = OnnxNetwork(onnx_graph(model, images))
    plain = reid_dcs.build_model(name, 751).eval()
    layered = model.to(memory_format=torch.channels_last)
    strided = images.to(memory_format=torch.channels_last)
    compiled = torch.compile(layered)
    runs: list[Run] = [
        lambda: plain(images),
        lambda: layered(strided),
        lambda: compiled(strided),
        lambda: exported(images),
    ]
    for run in runs:
        run()
    print(f"{name} is ready", file=sys.stderr, flush=True)
    return dict(zip(WAYS, runs, strict=True))


def cell(seconds: list[float], batch: int) -> str:
    low, middle, high = batch / np.quantile(seconds, [0.75, 0.5, 0.25])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    choose_device("cpu")
    images = torch.randn(options.batch, 3, options.height, options.width)
    networks = {name: ways(name, images) for name in (*OURS, *TORCHREID)}
    print("measuring", file=sys.stderr, flush=True)
    times: dict[tuple[str, str], list[float]] = {
        (name, way): [] for name in networks for way in WAYS
    }
    for _ in range(1 + options.rounds):
        for name, way in times:
            began = time.perf_counter()
            networks[name][way]()
            times[name, way].append(time.perf_counter() - began)
            time.sleep(PAUSE)
    lines = [
        "# Features of images, on a CPU",
        "",
        f"`python benchmarks/inference.py` at {options.height}x{options.width}, batch "
        f"{options.batch}: images a second, the median of {options.rounds} rounds that alternate "
        "(and their quartiles). No decoding, no resizing.",
        "",
        machine("onnxruntime"),
        "",
        f"| network | {' | '.join(WAYS)} |",
        "|---" * (1 + len(WAYS)) + "|",
    ]
    for name in networks:
        whose = " (torchreid's)" if name in TORCHREID else ""
        cells = [cell(times[name, way][1:], options.batch) for way in WAYS]
        lines.append(f"| `{name}`{whose} | {' | '.join(cells)} |")
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
