"""Images per second of feature extraction: PyTorch, torch.compile, and each exported form.

    python benchmarks/inference.py [--output benchmarks/results/inference.md]

Networks of torchreid are measured beside those of reid_dcs. Everything is compiled and exported
first. All networks and backends then alternate in one process; a cell is the median over rounds,
with the quartiles in parentheses.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import machine
from measuring import seconds, write_page
from torch import Tensor
from training import IDENTITIES, add_input_arguments

import reid_dcs
from reid_dcs.inference.forms import write_form
from reid_dcs.inference.onnx import OnnxNetwork, onnx_graph
from reid_dcs.inference.reduced import to_float16, to_int8
from reid_dcs.runtime.device import choose_device
from reid_dcs.weights import ModelCard

REID_DCS = ("mobilenetv2_base", "mobilenetv2_dcs", "mobilenetv2_200_dcs", "osnet_x1_0_dcs")
TORCHREID = ("mobilenetv2_x1_0", "osnet_x1_0")
BACKENDS = (
    "contiguous, as in torchreid",
    "channels_last",
    "compiled",
    "ONNX Runtime",
    "ONNX, float16",
    "ONNX, int8",
    "OpenVINO",
)
PAUSE = 0.1  # seconds after each measurement, until the threads of a runtime are idle

Run = Callable[[], Tensor]


def build_runs(name: str, images: Tensor) -> dict[str, Run]:
    """Feature extraction with each backend; every function has been called once."""
    torch.manual_seed(0)
    model = reid_dcs.build_model(name, IDENTITIES).eval()
    graph = onnx_graph(model, images)
    exported = OnnxNetwork(graph)
    float16, int8 = OnnxNetwork(to_float16(graph)), OnnxNetwork(to_int8(graph, images))
    openvino = run_openvino(graph)
    contiguous = reid_dcs.build_model(name, IDENTITIES).eval()
    channels_last = model.to(memory_format=torch.channels_last)
    channels_last_images = images.to(memory_format=torch.channels_last)
    compiled = torch.compile(channels_last)
    runs: list[Run] = [
        lambda: contiguous(images),
        lambda: channels_last(channels_last_images),
        lambda: compiled(channels_last_images),
        lambda: exported(images),
        lambda: float16(images),
        lambda: int8(images),
        lambda: openvino(images),
    ]
    for run in runs:
        run()
    print(f"{name} is ready", file=sys.stderr, flush=True)
    return dict(zip(BACKENDS, runs, strict=True))


def run_openvino(graph: object) -> Callable[[Tensor], Tensor]:
    """The network that ``reid-dcs export --for openvino`` writes, on the CPU."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        write_form("openvino", graph, Path(folder, "network.xml"), ModelCard("network"))
        network = openvino.Core().compile_model(Path(folder, "network.xml"), "CPU")
    return lambda images: torch.from_numpy(network(images.numpy())[0])


def format_cell(times: list[float], batch: int) -> str:
    """Images per second: the median, and the quartiles."""
    low, median, high = batch / np.quantile(times, [0.75, 0.5, 0.25])
    return f"{median:.0f} ({low:.0f} to {high:.0f})"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_input_arguments(parser)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    device = choose_device("cpu")
    images = torch.randn(options.batch, 3, options.height, options.width)
    runs = {name: build_runs(name, images) for name in (*REID_DCS, *TORCHREID)}
    print("measuring", file=sys.stderr, flush=True)
    times: dict[tuple[str, str], list[float]] = {
        (name, backend): [] for name in runs for backend in BACKENDS
    }
    for _ in range(1 + options.rounds):
        for name, backend in times:
            times[name, backend].append(seconds(runs[name][backend], device))
            time.sleep(PAUSE)
    lines = [
        "# Feature extraction on a CPU",
        "",
        f"`python benchmarks/inference.py` at {options.height}x{options.width}, batch "
        f"{options.batch}: images per second, the median of {options.rounds} alternating rounds "
        "with the quartiles in parentheses. Decoding and resizing are not included.",
        "",
        machine("onnxruntime", "openvino"),
        "",
        f"| network | {' | '.join(BACKENDS)} |",
        "|---" * (1 + len(BACKENDS)) + "|",
    ]
    for name in runs:
        library = " (torchreid)" if name in TORCHREID else ""
        cells = [format_cell(times[name, backend][1:], options.batch) for backend in BACKENDS]
        lines.append(f"| `{name}`{library} | {' | '.join(cells)} |")
    write_page(lines, options.output)


if __name__ == "__main__":
    main()
