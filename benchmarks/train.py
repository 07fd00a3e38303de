"""Images per second of training epochs, input included: torchreid and reid_dcs.

    python benchmarks/train.py --root DIR [--output benchmarks/results/train.md]

Both libraries train the same network on the same identities with the same batches (16 x 4) and
recipe: Adam, label smoothing, triplet loss with margin 0.3, flip, crop, erasing. torchreid's
ImageTripletEngine reads from its ImageDataManager with each number of --workers; the fastest is the
baseline. Each engine runs in a separate process and is warmed up by three steps. The processes
alternate, one epoch each per round, and the fastest round of each counts, because other work on the
machine can only slow a round down. Without --root, the generated data set is used.
"""

import argparse
import contextlib
import dataclasses
import io
import subprocess
import sys
import tempfile
import warnings
from itertools import islice
from pathlib import Path

import torch
from machine import machine
from measuring import seconds, write_page
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine
from torchreid import optim as torchreid_optim
from training import INSTANCES

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

BATCH_IDENTITIES, WARMUP = 16, 3
BATCH = BATCH_IDENTITIES * INSTANCES
LEARNING_RATE, WEIGHT_DECAY = 3e-4, 5e-4


def subset(options: argparse.Namespace) -> type[torchreid_data.ImageDataset]:
    """Data set class with the first training identities, one query and one gallery image."""
    complete = DATASETS["market1501" if options.root else "synthetic"]

    class Subset(complete):
        @classmethod
        def list_files(cls, root: Path, **kwargs):
            listing = complete.list_files(root, **kwargs)
            kept = sorted({pid for _, pid, _ in listing.train})[: options.identities]
            return dataclasses.replace(
                listing,
                train=[item for item in listing.train if item[1] in kept],
                query=listing.query[:1],
                gallery=listing.gallery[:1],
            )

    return Subset


def torchreid_training(options: argparse.Namespace) -> torchreid_engine.Engine:
    """torchreid's engine, with an attribute ``loaders``: a train loader per number of workers."""
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
    first = managers[options.workers[0]]
    model = build_model(options.model, first.num_train_pids)
    model = model.cuda() if torch.cuda.is_available() else model
    optimizer = torchreid_optim.build_optimizer(
        model, optim="adam", lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    engine = torchreid_engine.ImageTripletEngine(first, model, optimizer, margin=0.3)
    engine.loaders = {str(workers): manager.train_loader for workers, manager in managers.items()}
    engine.max_epoch = 1
    return engine


def reid_dcs_training(options: argparse.Namespace, optimizations: list[str]) -> ReIDEngine:
    """The engine of reid_dcs; ``optimizations`` may hold ``bf16`` and ``compiled``."""
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
        compiled=compiled(model, "compiled" in optimizations),
        precision=Precision("bfloat16" if "bf16" in optimizations else "float32", device),
    )
    engine.epoch, engine.max_epoch = 0, 1
    engine.batch_idx, engine.num_batches = 0, 1  # read by the warm-up steps
    return engine


def serve(options: argparse.Namespace, name: str) -> None:
    """Warm up an engine; then train an epoch for each line of stdin and print images per second."""
    torch.manual_seed(0)
    stdout = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()):  # engines print their steps
        library, *optimizations = name.split()
        if library == "torchreid":
            engine = torchreid_training(options)
        else:
            engine = reid_dcs_training(options, optimizations)
        engine.set_model_mode("train")
        for batch in islice(engine.train_loader, WARMUP):
            engine.forward_backward(batch)
        print("ready", file=stdout, flush=True)
        for line in sys.stdin:
            engine.forward_backward(batch)  # its memory may have been swapped out while idle
            if workers := line.strip():
                engine.train_loader = engine.loaders[workers]
            print(train_epoch(engine), file=stdout, flush=True)


def train_epoch(engine: torchreid_engine.Engine) -> float:
    """Train one epoch; images per second."""
    images, forward_backward = 0, type(engine).forward_backward

    def counted(batch):
        nonlocal images
        images += len(batch["pid"])
        return forward_backward(engine, batch)

    engine.forward_backward = counted
    epoch_time = seconds(engine.train, next(engine.model.parameters()).device)
    return images / epoch_time


class EngineProcess:
    """Process that runs :func:`serve` and trains an epoch on request.

    Args:
        options: command-line options.
        name: ``torchreid``, or ``reid_dcs`` followed by its optimizations.
    """

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        command = [sys.executable, __file__, *sys.argv[1:]]
        command += ["--data", options.data, "--engine", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n", f"{name} failed to start"

    def train_epoch(self, workers: str = "") -> float:
        """Images per second of one epoch."""
        print(workers, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """Images per second of each row, round by round."""
    rows = {f"torchreid, {n} workers": ("torchreid", str(n)) for n in options.workers}
    rows |= {"reid_dcs": ("reid_dcs", ""), "reid_dcs, compiled": ("reid_dcs compiled", "")}
    if torch.cuda.is_available():
        rows |= {"reid_dcs, bf16": ("reid_dcs bf16", "")}
        rows |= {"reid_dcs, bf16, compiled": ("reid_dcs bf16 compiled", "")}
    names = dict.fromkeys(name for name, _ in rows.values())
    processes = {name: EngineProcess(options, name) for name in names}
    rates: dict[str, list[float]] = {row: [] for row in rows}
    for _ in range(options.rounds):
        for row, (name, workers) in rows.items():
            rates[row].append(processes[name].train_epoch(workers))
            print(f"{row}: {rates[row][-1]:.1f}", file=sys.stderr, flush=True)
    for process in processes.values():
        process.close()
    return rates


def page(options: argparse.Namespace) -> list[str]:
    """Measure all rows; the lines of the result page."""
    rates = measure(options)
    best = {row: max(values) for row, values in rates.items()}
    baseline = max(rate for row, rate in best.items() if row.startswith("torchreid"))
    source = "Market-1501" if options.root else "the generated data set"
    command = " ".join(["python", *sys.argv]).replace(str(options.root), "DIR")
    lines = [
        "# Training, input included",
        "",
        f"`{command}`: `{options.model}` at {options.height}x{options.width}, batches of "
        f"{BATCH} ({BATCH_IDENTITIES} x {INSTANCES}), the first {options.identities} identities of "
        f"{source}; flip, crop, erasing. Images per second of an epoch, the fastest of each row.",
        "",
        machine("torchreid", "Pillow"),
        "",
        "| | images per second | relative to torchreid's fastest | each round |",
        "|---|---|---|---|",
    ]
    for row, values in rates.items():
        rounds = ", ".join(f"{rate:.1f}" for rate in values)
        lines.append(f"| {row} | {best[row]:.1f} | {best[row] / baseline:.2f}x | {rounds} |")
    return lines


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
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        warnings.filterwarnings("ignore")
        return serve(options, options.engine)
    with tempfile.TemporaryDirectory() as generated:
        options.data = options.root or generated
        write_page(page(options), options.output)


if __name__ == "__main__":
    main()
