"""Do windows of a network select, or do they saturate into all or nothing?

    python benchmarks/studies/saturation.py [--bounds clamp] [--optimizer adam --rate 0.03] ...

Algorithm 1 on the generated people at 64x32 with `mobilenetv2_dcs`, for a few epochs, each of
whose last fifth of batches moves the windows. For each block, in per cent: the share of the
positions whose windows cover less than 5 % or more than 95 % of the channels (saturated); mean and
deviation of the share covered; and how far starts and lengths have moved since the beginning on
the same images, the median over positions. Prints rows of a table in Markdown;
benchmarks/studies/results/saturation.md has the commands that were run.
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn

from reid_dcs.attention import report_windows
from reid_dcs.attention.bounds import BOUNDS, DEFAULT_BOUNDS
from reid_dcs.attention.query import DEFAULT_MODE, MODES
from reid_dcs.config import TrainRun, compose
from reid_dcs.data.augment import normalize
from reid_dcs.runs.engine import build_criterion
from reid_dcs.runs.job import ReIDJob
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.randomness import seeded
from reid_dcs.search.parameters import search_parameters
from reid_dcs.search.share import ShareMeter, selected_share
from reid_dcs.search.softness import soften

WINDOW_SHARE = 0.2  # p of Algorithm 1


def selections(network: nn.Module, images: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """By block, start and length (B, N, M) as shares of C, and the share covered (B, N)."""
    found = {}
    for name, report in report_windows(network, images).items():
        channels = network.get_submodule(name).channels
        covered = selected_share(report.start, report.length, channels)
        found[name] = report.start / channels, report.length / channels, covered
    return found


def search(
    model: nn.Module, loader: Any, criterion: nn.Module, options: argparse.Namespace
) -> None:
    """Algorithm 1: the first batches of an epoch move the weights, the others the windows."""
    weights, windows, _ = search_parameters(model)
    stepper = torch.optim.SGD(weights, lr=0.035, momentum=0.9, weight_decay=5e-4)
    if options.optimizer == "sgd":
        selector = torch.optim.SGD(windows, lr=options.rate, momentum=0.9)
    else:
        selector = torch.optim.Adam(windows, lr=options.rate)
    meter = ShareMeter(model)
    first = round((1 - WINDOW_SHARE) * len(loader))
    for epoch in range(options.epochs):
        loader.set_epoch(epoch, 0)
        total = 0.0
        for i, data in enumerate(loader):
            soften(model.train(), (epoch + i / len(loader)) / options.epochs, options.softness)
            logits, features = model(data["img"])
            loss = next(iter(criterion(logits, features, data["pid"])))
            total += loss.item() / len(loader)
            if i >= first and options.target_share:
                loss = loss + meter.penalty(options.target_share)
            model.zero_grad()
            loss.backward()
            (stepper if i < first else selector).step()
        print(f"epoch {epoch + 1}, loss {total:.3f}", flush=True)
    soften(model, 1.0)
    meter.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=list(MODES), default=DEFAULT_MODE)
    parser.add_argument("--bounds", choices=list(BOUNDS), default=DEFAULT_BOUNDS)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
    parser.add_argument("--rate", type=float, default=0.03)
    parser.add_argument("--softness", type=float, default=0.0, help="share of C at the beginning")
    parser.add_argument("--target-share", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--root", default="datasets")
    options = parser.parse_args()
    config = compose(
        TrainRun,
        {
            "seed": options.seed,
            "model": {
                "name": "mobilenetv2_dcs",
                "options": {"mode": options.mode, "bounds": options.bounds},
            },
            "data": {"root": options.root, "batch_size": 64, "num_instances": 4},
        },
    )
    job = ReIDJob(config, choose_device("cpu"))
    job.load_data(None, None)
    with seeded(config.seed):
        model = job.build_network(config)
    loader = job.manager.train_loader
    images = normalize(loader.store.images[::16])
    before = selections(model, images)
    print("| | block | saturated | covered | deviation | start moved | length moved |")
    print("|---|---|---|---|---|---|---|")
    if options.epochs == 0:  # the windows of a fresh network
        show("before", before, before)
        return
    search(model, loader, build_criterion(config), options)
    after = selections(model, images)
    title = f"{options.mode}, {options.bounds}, {options.optimizer} {options.rate:g}"
    if options.softness:
        title += f", soft from {options.softness:g} C"
    if options.target_share:
        title += f", target {options.target_share:g}"
    show(title, before, after)


def show(title: str, before: dict[str, tuple], after: dict[str, tuple]) -> None:
    """A row for each block."""
    for block, (name, (start, length, covered)) in enumerate(after.items(), 1):
        saturated = ((covered < 0.05) | (covered > 0.95)).float().mean()
        moves = (
            (now - then).abs().median()
            for now, then in zip((start, length), before[name][:2], strict=True)
        )
        figures = [saturated, covered.mean(), covered.std(), *moves]
        print(f"| {title} | {block} | {' | '.join(f'{100 * v:.1f}' for v in figures)} |")


if __name__ == "__main__":
    main()
