"""Table 9: hours of the paper's search and training on Market-1501, extrapolated from a few steps.

    python benchmarks/table9.py [--device auto] [--output benchmarks/results/table9.md]

The engines and recipes are those of configs/recipes/, at 256x128 with batches of 64. Batches are
random and stay on the device: loading and augmentation are not included. A step of the weights and
one of the windows are timed in the search, and one step in the training; they alternate, and the
median of each counts. An epoch has the 219 batches that the sampler makes of Market-1501's 12,936
training images with 4 images of an identity in each, of which the search gives 44 to the windows.
The paper's hours are of four V100 GPUs, ours of one device: the ratios, of an epoch of search to
one of training, can be compared, the hours cannot.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from machine import machine
from measuring import seconds, write_page
from torch import Tensor, nn
from training import IDENTITIES, random_batch

from reid_dcs.config import SearchRun, compose, read_config
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.jobs.search import build_searched
from reid_dcs.runs.job import ReIDJob
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.randomness import seeded
from reid_dcs.search import search_parameters

RECIPES = Path(__file__).parent.parent / "configs/recipes"
SEARCH_EPOCHS, EPOCHS, WARMUP = 300, 600, 2
IDENTITIES_BY_IMAGES = """
    0 0 3 12 12 31 24 40 39 36 36 27 36 24 29 38 34 36 25 21 26 19 20 20 10 16 20 14 12 9 5 3 8 9 8
    2 2 3 5 5 3 4 1 1 3 0 2 1 2 2 1 1 2 0 2 1 1 0 0 1 0 0 0 1 0 0 0 1 0 0 1 0 1
"""
"""How many training identities of Market-1501 have 0, 1, 2, ... images."""


@dataclass(frozen=True)
class Row:
    """A row of Table 9."""

    model: str
    recipes: tuple[str, ...]
    search_hours: float  # the paper's
    training_hours: float
    settings: dict[str, Any]
    found: dict[str, Any]  # options of the network that is trained after the search

    @property
    def ratio(self) -> float:
        """Hours of an epoch of search to those of an epoch of training, in the paper."""
        return (self.search_hours / SEARCH_EPOCHS) / (self.training_hours / EPOCHS)


FIXED, LEARNED = ("paper.yaml", "search.yaml"), ("finetune.yaml", "dnas.yaml")
ROWS = (
    Row("mobilenetv2_dcs", FIXED, 3.6, 5.1, {}, {}),
    Row("mobilenetv2_200_dcs", FIXED, 6.2, 8.3, {}, {}),
    Row(
        "fbnetv2_dcs",
        LEARNED,
        9.6,
        10.1,
        {"search": {"target_gmacs": 0.18}, "train": {"frozen_epochs": 0}},
        {"architecture": "synthetic_23m"},
    ),
)


class Seconds(NamedTuple):
    """Measured time of an epoch."""

    search: float
    training: float


def settings(row: Row, height: int = 256, width: int = 128, batch: int = 64) -> SearchRun:
    """The paper's recipe of a row."""
    size = {"data": {"height": height, "width": width, "batch_size": batch}}
    files = [read_config(RECIPES / name) for name in row.recipes]
    return compose(SearchRun, *files, {"model": {"name": row.model}}, row.settings, size)


def market_pids() -> Tensor:
    """(12936,) identities of training images, distributed as those of Market-1501."""
    identities = torch.tensor([int(number) for number in IDENTITIES_BY_IMAGES.split()])
    images = torch.arange(len(identities)).repeat_interleave(identities)  # (751,)
    return torch.arange(len(images)).repeat_interleave(images)


def batches_of_an_epoch(config: SearchRun) -> int:
    """Number of P x K batches that the sampler makes of Market-1501's training images."""
    return len(IdentitySampler(market_pids(), config.data.batch_size, config.data.num_instances))


def measure(row: Row, config: SearchRun, rounds: int) -> Seconds:
    """Seconds of an epoch of search and of training, from ``rounds`` steps of each kind."""
    device, batches = choose_device(config.device), batches_of_an_epoch(config)
    images, pids = random_batch(config.data.batch_size, config.data.height, config.data.width)
    batch = {"img": images.to(device), "pid": pids.to(device)}

    class Loader:
        """Stands for the training images: only the number of batches is read."""

        def __len__(self) -> int:
            return batches

        def epoch_lengths(self, epochs: int) -> list[int]:
            return [batches] * epochs

    manager: Any = SimpleNamespace(
        use_gpu=device.type == "cuda",
        train_loader=Loader(),
        test_loader={},
        num_train_pids=IDENTITIES,
        fingerprints={},
    )
    job = ReIDJob(config, device)
    job.manager = manager
    with seeded(config.seed):
        searched = build_searched(job, job.config, None)
    search = job.build_search_trainer(searched)
    options = {"model": {"options": dict(config.model.options) | row.found}}
    found = compose(SearchRun, config, options)
    with seeded(config.seed):
        network = job.build_network(found)
    freeze_windows(network)
    training = job.build_trainer(found, network)
    search.policy.begin_epoch(0)

    def step(engine: ReIDEngine, index: int) -> float:
        engine.model.train()
        engine.batch_idx, engine.num_batches = index, batches
        return seconds(lambda: engine.forward_backward(batch), device)

    kinds = (search, 0), (search, batches - 1), (training, 0)
    times = [[step(*kind) for kind in kinds] for _ in range(WARMUP + rounds)][WARMUP:]
    of_weights, of_windows, of_training = (median(each) for each in zip(*times, strict=True))
    weight_batches = search.policy.weight_batches
    return Seconds(
        weight_batches * of_weights + (batches - weight_batches) * of_windows,
        batches * of_training,
    )


def freeze_windows(network: nn.Module) -> None:
    """Freeze what the search has found, as the training after it does."""
    _, windows, logits = search_parameters(network)
    for parameter in windows + logits:
        parameter.requires_grad_(False)


def as_line(row: Row, measured: Seconds) -> str:
    """Format a line of the table."""
    search, training = measured
    cells = [
        f"`{row.model}`",
        f"{search:.1f}",
        f"{search * SEARCH_EPOCHS / 3600:.1f}",
        f"{training:.1f}",
        f"{training * EPOCHS / 3600:.1f}",
        f"{search / training:.2f}",
        f"{row.search_hours} + {row.training_hours}",
        f"{row.ratio:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each kind")
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    lines = [
        "# Running time (Table 9)",
        "",
        f"`{' '.join(['python', *sys.argv])}`: {__doc__.splitlines()[0]} "
        f"Median of {options.rounds} steps of each kind on one device, without loading and "
        "augmentation. The paper's hours are of four V100 GPUs.",
        "",
        machine(),
        "",
        f"| network | search: s an epoch | h for {SEARCH_EPOCHS} | training: s an epoch | "
        f"h for {EPOCHS} | ratio of an epoch | the paper's h | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        config = compose(SearchRun, settings(row), {"device": options.device})
        lines.append(as_line(row, measure(row, config, options.rounds)))
        print(lines[-1], file=sys.stderr, flush=True)
    write_page(lines, options.output)


if __name__ == "__main__":
    main()
