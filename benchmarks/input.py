"""Images a second of a training input pipeline: torchreid's ImageDataManager and ours.

    python benchmarks/input.py --root DIR [--output benchmarks/results/input.md]

Market-1501 at 256x128, batches of 64 (16 x 4), flip, crop and erasing. torchreid is measured with
0 workers up to twice the cores, each for --seconds after a warm-up; ours from memory and from the
mapped file, which `tools/prepare_data.py store` writes under ROOT if it is not there. Every row
runs in a process of its own; its memory is that of the process tree, unshared, at its peak, over
what the imports take. A step of training is a batch through mobilenetv2_dcs, forward and backward.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from machine import machine

HEIGHT, WIDTH, BATCH, INSTANCES = 256, 128, 64, 4


def torchreids(root: str, workers: int):
    """Train loader of torchreid's own manager over our list of the files: it downloads none."""
    from torchreid import data

    import reid_dcs  # noqa: F401  registers dcs_market1501

    with contextlib.redirect_stdout(io.StringIO()):
        return data.ImageDataManager(
            root=root,
            sources="dcs_market1501",
            height=HEIGHT,
            width=WIDTH,
            transforms=["random_flip", "random_crop", "random_erase"],
            batch_size_train=BATCH,
            num_instances=INSTANCES,
            train_sampler="RandomIdentitySampler",
            workers=workers,
            use_gpu=False,
        ).train_loader


def ours(root: str, mapped: bool):
    """Train loader of ours; the other splits are left alone, as they feed no training."""
    from reid_dcs.data.augment import Augmentation
    from reid_dcs.data.datasets import load_dataset
    from reid_dcs.data.manager import TrainLoader
    from reid_dcs.data.sampler import IdentitySampler
    from reid_dcs.data.store import ImageStore, store_file, store_prefix
    from reid_dcs.runtime.device import choose_device

    device = choose_device("cpu")
    items = load_dataset("market1501", root).train
    if mapped:
        file = store_file(store_prefix(root, "market1501", {}), "train", HEIGHT, WIDTH)
        store = ImageStore.mapped(items, HEIGHT, WIDTH, file)
    else:
        store = ImageStore.decode(items, HEIGHT, WIDTH, "train")
    sampler = IdentitySampler(store.pids, BATCH, INSTANCES)
    return TrainLoader(store, sampler, Augmentation(0.5, 10, 0.5), device)


def measure(row: str, root: str, seconds: float) -> None:
    """Print images a second and the peak memory in MiB."""
    if row == "step":
        return print(_step_images_a_second(), 0)
    import reid_dcs.runs  # noqa: F401  what every training imports

    before = _memory()
    peak = _Peak()
    started = time.perf_counter()
    loader = torchreids(root, int(row)) if row.isdigit() else ours(root, row == "mapped")
    opened = time.perf_counter() - started
    rate, images, epoch = None, 0, 0
    while rate is None:
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(epoch)
        for number, batch in enumerate(loader):
            assert batch["img"].shape == (BATCH, 3, HEIGHT, WIDTH)
            if epoch == 0 and number == 4:  # warm
                images, started = 0, time.perf_counter()
            images += BATCH
            if (epoch or number > 4) and time.perf_counter() - started > seconds:
                rate = (images - (0 if epoch else BATCH)) / (time.perf_counter() - started)
                break
        epoch += 1
    print(rate, (peak.stop() - before) / 2**20, opened)


def _step_images_a_second(steps: int = 4) -> float:
    from reid_dcs import build_model
    from reid_dcs.losses import IdentityTripletLoss
    from reid_dcs.runtime.device import choose_device

    choose_device("cpu")
    model = build_model("mobilenetv2_dcs", 751).to(memory_format=torch.channels_last).train()
    images = torch.randn(BATCH, 3, HEIGHT, WIDTH).to(memory_format=torch.channels_last)
    pids, times = torch.arange(BATCH // INSTANCES).repeat_interleave(INSTANCES), []
    for _ in range(steps):
        started = time.perf_counter()
        IdentityTripletLoss()(*model(images), pids).total.backward()
        times.append(time.perf_counter() - started)
    return BATCH / min(times)


class _Peak(threading.Thread):
    """The highest memory of this process and its workers, looked at ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest, self.done = 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.done.wait(0.1):
            self.highest = max(self.highest, _memory())

    def stop(self) -> int:
        self.done.set()
        self.join()
        return self.highest


def _memory() -> int:
    """Bytes of this process and its children: private pages and their share of shared ones.

    Pages of a mapped file are left out: the kernel takes them back when it needs them.
    """
    total, children = 0, f"/proc/self/task/{os.getpid()}/children"
    for pid in [str(os.getpid()), *Path(children).read_text().split()]:
        with contextlib.suppress(OSError):
            fields = dict(
                line.split(":")[:2]
                for line in Path(f"/proc/{pid}/smaps_rollup").open()
                if "kB" in line
            )
            total += sum(1024 * int(fields[k].split()[0]) for k in ("Pss_Anon", "Pss_Shmem"))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="folder that holds Market-1501")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        return measure(options.row, options.root, options.seconds)

    def run(row: str) -> tuple[float, ...]:
        command = [sys.executable, __file__, "--root", options.root, "--row", row]
        command += ["--seconds", str(options.seconds)]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        values = tuple(map(float, result.stdout.splitlines()[-1].split()))
        print(row, *values, file=sys.stderr, flush=True)
        return values

    cores = os.cpu_count()
    theirs = {workers: run(str(workers)) for workers in sorted({0, 1, cores, 2 * cores})}
    best = max(theirs, key=lambda workers: theirs[workers][0])
    rows = {f"torchreid, {workers} workers": values for workers, values in theirs.items()}
    rows |= {"ours, from memory": run("memory"), "ours, from the mapped file": run("mapped")}
    step = run("step")[0]
    store = 12_936 * HEIGHT * WIDTH * 3 / 2**20
    lines = [
        "# The cost of feeding",
        "",
        f"`python benchmarks/input.py --root DIR --seconds {options.seconds:g}`: Market-1501 at "
        f"{HEIGHT}x{WIDTH}, batches of {BATCH} ({BATCH // INSTANCES} x {INSTANCES}), flip, crop, "
        "erasing.",
        "",
        machine("Pillow"),
        "",
        "| | images a second | over torchreid's best | of a training step | opened in, s "
        "| memory, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, (rate, memory, opened) in rows.items():
        lines.append(
            f"| {name} | {rate:,.0f} | {rate / theirs[best][0]:.1f}x | {step / rate:.2%} "
            f"| {opened:.1f} | {memory:,.0f} |"
        )
    lines += [
        "",
        f"A training step of `mobilenetv2_dcs` runs at {step:.1f} images a second there. The store "
        f"is {store:,.0f} MiB, two batches are {2 * BATCH * HEIGHT * WIDTH * 12 / 2**20:,.0f} MiB; "
        "memory is the peak of the process and its workers above what the imports take, without "
        "the pages of a mapped file, which the kernel takes back when it needs them.",
    ]
    print("\n".join(lines))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
