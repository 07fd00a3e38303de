"""Images per second of the training input pipeline: torchreid's ImageDataManager and reid_dcs.

    python benchmarks/input.py --root DIR [--output benchmarks/results/input.md]

Market-1501 at 256x128 in batches of 64 (16 identities x 4 images), with flip, crop and erasing.
torchreid is measured with 0 workers up to twice the number of cores; reid_dcs from memory and from
the mapped file, which `tools/prepare_data.py store` writes under ROOT in advance. Each row runs for
--seconds after a warm-up, in a separate process. Memory is the peak of the process and its workers
(shared pages counted once) minus that after the imports. The cost is also given as a share of a
training step, a forward and backward pass of mobilenetv2_dcs.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from machine import machine
from measuring import PeakMemory, best_seconds, write_page
from training import IDENTITIES, INSTANCES, random_batch

HEIGHT, WIDTH, BATCH = 256, 128, 64
NUM_TRAIN = 12_936  # training images of Market-1501
WARMUP = 5  # batches


def torchreid_loader(root: str, workers: int):
    """Train loader of torchreid's data manager over reid_dcs's file list, without a download."""
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


def reid_dcs_loader(root: str, mapped: bool):
    """Train loader of reid_dcs; only the training images are decoded."""
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


def measure(row: str, root: str, duration: float) -> None:
    """Print images per second, peak memory in MiB and seconds to open the loader.

    Args:
        row: number of torchreid's workers; or ``memory`` or ``mapped`` for reid_dcs.
        root: folder that holds Market-1501.
        duration: seconds to measure.
    """
    import reid_dcs.runs  # noqa: F401  imported by every training run

    before = process_tree_bytes()
    peak = PeakMemory(process_tree_bytes, interval=0.1)
    start = time.perf_counter()
    loader = (
        torchreid_loader(root, int(row))
        if row.isdigit()
        else reid_dcs_loader(root, row == "mapped")
    )
    opened = time.perf_counter() - start
    rate = images_per_second(loader, duration)
    print(rate, (peak.stop() - before) / 2**20, opened)


def images_per_second(loader, duration: float) -> float:
    """Iterate over epochs until ``duration`` seconds have passed since the warm-up."""
    number, epoch = 0, 0
    while True:
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(epoch)
        for batch in loader:
            assert batch["img"].shape == (BATCH, 3, HEIGHT, WIDTH)
            number += 1
            if number == WARMUP:
                start = time.perf_counter()
            elif number > WARMUP and (elapsed := time.perf_counter() - start) > duration:
                return (number - WARMUP) * BATCH / elapsed
        epoch += 1


def print_step_rate() -> None:
    """Print images per second of a forward and backward pass."""
    from reid_dcs import build_model
    from reid_dcs.losses import IdentityTripletLoss
    from reid_dcs.runtime.device import choose_device

    device = choose_device("cpu")
    model = build_model("mobilenetv2_dcs", IDENTITIES)
    model = model.to(memory_format=torch.channels_last).train()
    images, pids = random_batch(BATCH, HEIGHT, WIDTH)
    criterion = IdentityTripletLoss()
    step_time = best_seconds(
        lambda: criterion(*model(images), pids).total.backward(), device, rounds=3
    )
    print(BATCH / step_time)


def process_tree_bytes() -> int:
    """Memory of this process and its children: private pages and their share of shared ones.

    Pages of a mapped file are excluded: the kernel reclaims them when it needs memory.
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
    if options.row == "step":
        return print_step_rate()
    if options.row:
        return measure(options.row, options.root, options.seconds)

    def run(row: str) -> list[float]:
        """Measure a row in a separate process."""
        command = [sys.executable, __file__, "--root", options.root, "--row", row]
        command += ["--seconds", str(options.seconds)]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        values = [float(value) for value in result.stdout.splitlines()[-1].split()]
        print(row, *values, file=sys.stderr, flush=True)
        return values

    cores = os.cpu_count()
    rows = {f"torchreid, {n} workers": run(str(n)) for n in sorted({0, 1, cores, 2 * cores})}
    torchreid_best = max(rate for rate, _, _ in rows.values())
    rows["reid_dcs, from memory"] = run("memory")
    rows["reid_dcs, from the mapped file"] = run("mapped")
    (step_rate,) = run("step")
    store = NUM_TRAIN * HEIGHT * WIDTH * 3 / 2**20
    two_batches = 2 * BATCH * HEIGHT * WIDTH * 3 * 4 / 2**20
    lines = [
        "# Cost of the input pipeline",
        "",
        f"`python benchmarks/input.py --root DIR --seconds {options.seconds:g}`: Market-1501 at "
        f"{HEIGHT}x{WIDTH}, batches of {BATCH} ({BATCH // INSTANCES} x {INSTANCES}), flip, crop, "
        "erasing.",
        "",
        machine("Pillow"),
        "",
        "| | images per second | relative to torchreid's best | share of a training step "
        "| opened in, s | memory, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, (rate, memory, opened) in rows.items():
        lines.append(
            f"| {name} | {rate:,.0f} | {rate / torchreid_best:.1f}x | {step_rate / rate:.2%} "
            f"| {opened:.1f} | {memory:,.0f} |"
        )
    lines += [
        "",
        f"A training step of `mobilenetv2_dcs` processes {step_rate:.1f} images per second on this "
        f"machine. The decoded images take {store:,.0f} MiB, two batches {two_batches:,.0f} MiB. "
        "Memory is the peak of the process and its workers minus that after the imports, without "
        "the pages of the mapped file, which the kernel reclaims when it needs memory.",
    ]
    write_page(lines, options.output)


if __name__ == "__main__":
    main()
