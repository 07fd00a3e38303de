"""Epochs of training, data included, with torchreid's engine and loader and with ours.

    python benchmarks/train.py --root DIR [--output benchmarks/results/train.md]

The same network, identities, batches (16 x 4) and recipe (Adam, label smoothing, triplet loss of
margin 0.3, flip, crop, erasing). torchreid's ImageTripletEngine draws from its ImageDataManager
with 0 up to 4 workers; the fastest is the rival. Each side is a process, warm after three steps;
they take turns, an epoch each, and the fastest of all rounds counts: what else runs on the
machine only slows. Without --root, the generated set.
"""

import argparse
import contextlib
import dataclasses
import io
import subprocess
import sys
import tempfile
import time
import warnings
from itertools import islice
from pathlib import Path

import torch
from bounds import synchronise
from machine import machine
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine
from torchreid import optim as torchreid_optim

from reid_dcs import build_model
from reid_dcs.config import TrainConfig
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.datasets import DATASETS
from reid_dcs.data.manager import InMemoryDataManager
from reid_dcs.engine import build_optimizer, build_schedule
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.runtime.device import choose_device, compiled
from reid_dcs.runtime.precision import Precision

IDENTITIES, INSTANCES, WARMUP = 16, 4, 3
BATCH = IDENTITIES * INSTANCES
LEARNING_RATE, WEIGHT_DECAY = 3e-4, 5e-4


def subset(options: argparse.Namespace) -> type[torchreid_data.ImageDataset]:
    """The data set with its first training identities alone, and next to nothing to test on."""
    whole = DATASETS["market1501" if options.root else "synthetic"]

    class Subset(whole):
        @classmethod
        def list_files(cls, root: Path, **others):
            listing = whole.list_files(root, **others)
            kept = sorted({pid for _, pid, _ in listing.train})[: options.identities]
            return dataclasses.replace(
                listing,
                train=[item for item in listing.train if item[1] in kept],
                query=listing.query[:1],
                gallery=listing.gallery[:1],
            )

    return Subset


def torchreids(options: argparse.Namespace) -> torchreid_engine.Engine:
    """An engine that also has ``loaders``, by their number of workers."""
    torchreid_data.register_image_dataset("subset", subset(options))

    def manager(workers: int) -> torchreid_data.ImageDataManager:
        return torchreid_data.ImageDataManager(
            root=options.data,
            sources="subset",
            height=options.height,
            width=options.width,
            transforms=["random_flip", "random_crop", "random_erase"],
            batch_size_train=BATCH,
            num_instances=INSTANCES,
            train_sampler="RandomIdentitySampler",
            workers=workers,
        )

    managers = {workers: manager(workers) for workers in options.workers}
    one = managers[options.workers[0]]
    model = build_model(options.model, one.num_train_pids)
    model = model.cuda() if torch.cuda.is_available() else model
    optimizer = torchreid_optim.build_optimizer(
        model, optim="adam", lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    engine = torchreid_engine.ImageTripletEngine(one, model, optimizer, margin=0.3)
    engine.loaders = {str(workers): own.train_loader for workers, own in managers.items()}
    engine.max_epoch = 1
    return engine


def ours(options: argparse.Namespace, traits: list[str]) -> ReIDEngine:
    device = choose_device("auto")
    manager = InMemoryDataManager(
        "subset",
        subset(options)(root=options.data, verbose=False),
        height=options.height,
        width=options.width,
        batch_size=BATCH,
        num_instances=INSTANCES,
        test_batch_size=BATCH,
        augmentation=Augmentation(flip=0.5, padding=10, erasing=0.5),
        device=device,
    )
    model = build_model(options.model, manager.num_train_pids)
    model = model.to(device, memory_format=torch.channels_last)
    recipe = TrainConfig(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, warmup_epochs=0)
    optimizer = build_optimizer(model.parameters(), recipe)
    engine = ReIDEngine(
        manager,
        model,
        optimizer,
        build_schedule(optimizer, recipe, epochs=10**6, steps=1),
        IdentityTripletLoss(),
        compiled=compiled(model, "compiled" in traits),
        precision=Precision("bfloat16" if "bf16" in traits else "float32", device),
    )
    engine.epoch, engine.max_epoch = 0, 1
    engine.batch_idx, engine.num_batches = 0, 1  # of the steps before the first epoch
    return engine


def serve(options: argparse.Namespace, side: str) -> None:
    """Make an engine ready; then an epoch for each line that comes, answered by images a second."""
    torch.manual_seed(0)
    answers = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()):  # engines report their steps
        who, *traits = side.split()
        engine = ours(options, traits) if who == "ours" else torchreids(options)
        engine.set_model_mode("train")
        for batch in islice(engine.train_loader, WARMUP):
            engine.forward_backward(batch)
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            engine.forward_backward(batch)  # its memory may have been swapped out in its rest
            if workers := line.strip():
                engine.train_loader = engine.loaders[workers]
            print(epoch(engine), file=answers, flush=True)


def epoch(engine: torchreid_engine.Engine) -> float:
    """Images a second of one epoch."""
    device = next(engine.model.parameters()).device
    images, step = 0, type(engine).forward_backward

    def counted(batch):
        nonlocal images
        images += len(batch["pid"])
        return step(engine, batch)

    engine.forward_backward = counted
    synchronise(device)
    began = time.perf_counter()
    engine.train()
    synchronise(device)
    return images / (time.perf_counter() - began)


class Side:
    """A process that trains an epoch whenever it is asked to."""

    def __init__(self, options: argparse.Namespace, side: str) -> None:
        self.process = subprocess.Popen(
            own_command(options, side), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n", f"{side} does not start"

    def epoch(self, workers: str = "") -> float:
        print(workers, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def own_command(options: argparse.Namespace, side: str) -> list[str]:
    return [sys.executable, __file__, *sys.argv[1:], "--data", options.data, "--side", side]


def measured(options: argparse.Namespace) -> dict[str, list[float]]:
    """Images a second of each row, round by round."""
    rows = {f"torchreid, {n} workers": ("torchreid", str(n)) for n in options.workers}
    rows |= {"ours": ("ours", ""), "ours, compiled": ("ours compiled", "")}
    if torch.cuda.is_available():
        rows |= {"ours, bf16": ("ours bf16", "")}
        rows |= {"ours, bf16, compiled": ("ours bf16 compiled", "")}
    sides = {side: Side(options, side) for side in dict.fromkeys(side for side, _ in rows.values())}
    rates: dict[str, list[float]] = {row: [] for row in rows}
    for _ in range(options.rounds):
        for row, (side, workers) in rows.items():
            rates[row].append(sides[side].epoch(workers))
            print(f"{row}: {rates[row][-1]:.1f}", file=sys.stderr, flush=True)
    for side in sides.values():
        side.close()
    return rates


def page(options: argparse.Namespace) -> str:
    rates = measured(options)
    best = {row: max(values) for row, values in rates.items()}
    rival = max(best[row] for row in best if row.startswith("torchreid"))
    lines = []
    for row, values in rates.items():
        each = ", ".join(f"{rate:.1f}" for rate in values)
        lines.append(f"| {row} | {best[row]:.1f} | {best[row] / rival:.2f}x | {each} |")
    source = "Market-1501" if options.root else "the generated set"
    command = " ".join(["python", *sys.argv]).replace(str(options.root), "DIR")
    return "\n".join(
        [
            "# Training, data included",
            "",
            f"`{command}`: `{options.model}` at {options.height}x{options.width}, batches of "
            f"{BATCH} ({IDENTITIES} x {INSTANCES}), the first {options.identities} identities of "
            f"{source}; flip, crop, erasing. Images a second of an epoch, the fastest of each row.",
            "",
            machine("torchreid", "Pillow"),
            "",
            "| | images a second | of torchreid's fastest | each round |",
            "|---|---|---|---|",
            *lines,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="folder that holds Market-1501")
    parser.add_argument("--model", default="mobilenetv2_dcs")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--identities", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="Markdown file for the page")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        warnings.filterwarnings("ignore")
        return serve(options, options.side)
    with tempfile.TemporaryDirectory() as generated:
        options.data = options.root or generated
        text = page(options)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
