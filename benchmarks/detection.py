"""Images per second and memory of detectors: torchvision's Mask R-CNN and ours on the same images.

    python benchmarks/detection.py [--output benchmarks/results/detection.md]

A training step (forward, backward and a step of SGD) and inference, on random images with random
objects. Attention is computed, but is the identity as in every new network, so that all networks
of a backbone propose the same boxes. Untrained networks detect nothing or a hundred objects, by
chance. So all scores are below the threshold in inference: mask heads do not run. All networks
alternate in one process; a cell is the median over rounds, with the quartiles in parentheses. The
share that DCS adds is that of a network with attention over the same one without (`base`), from
the medians.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import machine
from measuring import peak_mib, seconds, write_page
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

from reid_dcs.runtime.device import choose_device
from reid_dcs.tasks.detection import build_detector

TORCHVISION = "maskrcnn_resnet50_fpn_v2"
NETWORKS = (
    TORCHVISION,
    "resnet50_base",
    "resnet50_dcs",
    "convnext_tiny_base",
    "convnext_tiny_sa",
    "convnext_tiny_dcs",
)
CLASSES = 80
Targets = list[dict[str, Tensor]]


def build(name: str, size: int, samples: int, channels: int) -> nn.Module:
    """A detector for images whose shorter side is ``size``.

    Args:
        samples: boxes of an image that a box head is trained on.
        channels: of the pyramid and heads of this package's networks.
    """
    torch.manual_seed(0)
    limits = {"min_size": size, "max_size": 2 * size}
    if name == TORCHVISION:
        return maskrcnn_resnet50_fpn_v2(
            weights=None,
            weights_backbone=None,
            num_classes=1 + CLASSES,
            box_batch_size_per_image=samples,
            box_score_thresh=1.0,
            **limits,
        )
    detector = build_detector(name, CLASSES, samples=samples, channels=channels, **limits)
    detector.roi_heads.score_threshold = 1.0
    return detector


def make_batch(
    count: int, height: int, width: int, device: torch.device
) -> tuple[list[Tensor], Targets]:
    """Random images, each with seven rectangles."""
    generator = torch.Generator().manual_seed(0)
    images, targets = [], []
    for _ in range(count):
        images.append(torch.rand(3, height, width, generator=generator).to(device))
        corner = torch.rand(7, 2, generator=generator) * torch.tensor([width, height]) / 2
        side = (0.1 + 0.4 * torch.rand(7, 2, generator=generator)) * torch.tensor([width, height])
        boxes = torch.cat([corner, corner + side], dim=1)
        masks = torch.zeros(7, height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        labels = torch.randint(1, CLASSES + 1, (7,), generator=generator)
        target = {"boxes": boxes, "labels": labels, "masks": masks}
        targets.append({key: value.to(device) for key, value in target.items()})
    return images, targets


def step_of(detector: nn.Module, images: list[Tensor], targets: Targets) -> Callable[[], None]:
    """A training step."""
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-5, momentum=0.9)

    def step() -> None:
        detector.train()
        sum(detector(images, targets).values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def inference_of(detector: nn.Module, images: list[Tensor]) -> Callable[[], None]:
    """Detection in the images."""

    @torch.inference_mode()
    def infer() -> None:
        detector.eval()
        detector(images)

    return infer


def peak_of(run: Callable[[], None], device: torch.device) -> float:
    """Peak of the memory in MiB that a call allocates beyond weights and input."""
    run()  # the first step allocates the optimizer's memory
    if device.type != "cuda":
        return peak_mib(run)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def format_cell(times: list[float], count: int) -> str:
    """Images per second: the median, and the quartiles."""
    low, median, high = count / np.quantile(times, [0.75, 0.5, 0.25])
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def share(times: dict[tuple[str, str], list[float]], name: str, what: str) -> str:
    """Time that the attention adds to the same network without it."""
    base = (f"{name.rpartition('_')[0]}_base", what)
    if name == TORCHVISION or base == (name, what) or base not in times:
        return "-"
    return f"{np.median(times[name, what]) / np.median(times[base]) - 1:+.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--height", type=int, default=400)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--samples", type=int, default=512, help="boxes that a head is trained on")
    parser.add_argument("--channels", type=int, default=256, help="of our pyramids and heads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    device = choose_device(options.device)
    images, targets = make_batch(options.batch, options.height, options.width, device)
    runs: dict[tuple[str, str], Callable[[], None]] = {}
    memory = {}
    for name in options.networks:
        detector = build(name, options.height, options.samples, options.channels).to(device)
        runs[name, "training"] = step_of(detector, images, targets)
        runs[name, "inference"] = inference_of(detector, images)
        memory[name] = peak_of(runs[name, "training"], device)
        print(f"{name} is ready", file=sys.stderr, flush=True)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(1 + options.rounds):
        for key, run in runs.items():
            times[key].append(seconds(run, device))
    times = {key: values[1:] for key, values in times.items()}  # the first round warms up
    lines = [
        "# Detection: images per second",
        "",
        f"`python benchmarks/detection.py` at {options.width}x{options.height}, batch "
        f"{options.batch}, {options.samples} boxes of an image trained on, {options.rounds} "
        "alternating rounds. Memory: the peak that a training step allocates beyond the weights.",
        "",
        machine("torchvision"),
        "",
        "| network | training | attention adds | inference | attention adds | memory, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name in options.networks:
        cells = []
        for what in ("training", "inference"):
            cells += [format_cell(times[name, what], options.batch), share(times, name, what)]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {memory[name]:.0f} |")
    write_page(lines, options.output)


if __name__ == "__main__":
    main()
