"""Check an accelerator, measure it, and train the rows of Table 1 on it, in one command.

    python benchmarks/accelerator.py --minutes M --output DIR [--root DIR]

(a) one training step, search step and evaluation of every model in every precision that the device
    supports, compared with the CPU: checks.md, checks.json
(b) images per second of feeding, training (captured in CUDA graphs, compiled, or neither) and
    evaluation, with the share of each: speed.md, speed.json
(c) the rows of configs/ablation/table1.yaml in turn: table.md, table.json, and weights/

The command stops before M minutes have passed, or on SIGTERM. With the same --output it goes on
where it stopped, also on another machine: no file there is larger than 16 MiB (pieces.py). Without
an accelerator it runs on the CPU; --rehearse is a rehearsal within a minute or so, with few models,
tiny sizes and a tiny generated data set. Without --root, the generated data set is used.
"""

import argparse
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import torch
from device_checks import TOLERANCES, check
from device_speed import Speed, shares
from machine import machine
from measuring import write_page
from pieces import pack, unpack

from reid_dcs import list_models
from reid_dcs.config import SearchRun, compose, merge_layers, read_config
from reid_dcs.data.datasets.synthetic import Synthesis, draw_dataset
from reid_dcs.files import write_json
from reid_dcs.models.registry import KINDS
from reid_dcs.models.space import SPACES
from reid_dcs.runs.ablation import ablate
from reid_dcs.runs.search import check_search, search_or_train
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.signals import Interrupted
from reid_dcs.weights import ModelCard, read_weights
from reid_dcs.weights.safetensors import save_safetensors

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPE = [CONFIGS / "recipes/fast.yaml"]
THREADS = 4  # of a process that compares models
PACKED, MARGIN = "table1", 30  # seconds kept to save a checkpoint and to pack it
NOT_PACKED = ("previous.pt", "best.pt", "events.out.*")
REHEARSAL = {  # settings of (c)
    "data": {"height": 64, "width": 32, "batch_size": 8, "padding": 2},
    "train": {"epochs": 2, "warmup_epochs": 0},
    "search": {"epochs": 1, "window_share": 0.5},
}


def run_checks(device: torch.device, output: Path, rehearse: bool) -> None:
    """(a) Compare with the CPU; rows are written as soon as a model is done."""
    names = [*list_models(), *(f"supergraph:{s}_{kind}" for s in SPACES for kind in KINDS)]
    if rehearse:
        names = ["mobilenetv2_base", "mobilenetv2_dcs"]
    file = output / "checks.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    done = {row["model"] for row in rows}
    for found in checked([name for name in names if name not in done], device):
        rows += found
        write_json(file, {"machine": machine(), "tolerances": TOLERANCES, "rows": rows})
    rows.sort(key=lambda row: names.index(row["model"]))
    failed = sum(not row["ok"] for row in rows)
    lines = [
        f"# {device} compared with the CPU",
        "",
        f"{machine()} {len(rows)} comparisons, {failed} beyond their tolerance. Relative errors "
        "against the CPU in float32; tolerances of loss, update of the parameters and features: "
        + "; ".join(f"{k} {', '.join(map(str, v.values()))}" for k, v in TOLERANCES.items())
        + ".",
        "",
        "| model | step | precision | loss | update | features | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        errors = " | ".join(f"{row[key]:.1e}" for key in ("loss", "update", "features"))
        verdict = "" if row["ok"] else "**beyond**"
        lines.append(
            f"| `{row['model']}` | {row['step']} | {row['precision']} | {errors} | {verdict} |"
        )
    write_page(lines, output / "checks.md")


def checked(names: list[str], device: torch.device) -> Iterator[list[dict]]:
    """The comparisons of models, in the order in which they are finished.

    Most of the time is the CPU's, which has several processes of a few threads each.
    """
    processes = max(1, (os.cpu_count() or 1) // THREADS)
    threads = min(THREADS, torch.get_num_threads())
    context = get_context("spawn")  # CUDA does not outlive a fork
    pool = ProcessPoolExecutor(processes, context, torch.set_num_threads, (threads,))
    try:
        futures = {pool.submit(check, name, device): name for name in names}
        for future in as_completed(futures):
            error = future.exception()
            yield [failure(futures[future], error)] if error else future.result()
    finally:  # on an interruption, models that have not begun are left out
        pool.shutdown(cancel_futures=True)


def failure(name: str, error: BaseException) -> dict:
    """The row of a model that cannot be run."""
    errors = dict.fromkeys(("loss", "update", "features"), float("inf"))
    reason = str(error).partition("\n")[0]
    return {"model": name, "step": reason, "precision": "-", **errors, "ok": False}


def run_speed(device: torch.device, output: Path, rehearse: bool) -> None:
    """(b) Measure feeding, training and evaluation."""
    file = output / "speed.json"
    if file.exists():
        return
    size = {"height": 64, "width": 32, "batch_size": 16, "steps": 2} if rehearse else {}
    lines = ["# Images per second", "", machine()]
    content = {}
    for name in ("mobilenetv2_base", "mobilenetv2_dcs"):
        rates = dict(Speed(device, name, **size).rates())
        parts = shares(rates)
        content[name] = {"images_per_second": rates, "shares": parts}
        lines += [
            "",
            f"`{name}`",
            "",
            "| | images per second | share of the time |",
            "|---|---|---|",
        ]
        for part, rate in rates.items():
            value = rate if isinstance(rate, str) else f"{rate:,.0f}"
            lines.append(f"| {part} | {value} | {f'{parts[part]:.0%}' if part in parts else ''} |")
    write_page(lines, output / "speed.md")
    write_json(file, {"machine": machine(), "models": content})


def run_table(options: argparse.Namespace, work: Path) -> None:
    """(c) Train the rows of Table 1 and pack what they wrote, after each row and at the end."""
    output, packed, folder = options.output, options.output / PACKED, work / PACKED
    unpack(packed, folder)
    config = table_config(options, work)

    def run(row):
        metrics = search_or_train(row)
        save_weights(Path(row.output_dir), output / "weights" / Path(row.output_dir).parent.name)
        pack_runs(folder, packed)
        return metrics

    try:
        ablate(config, run, check_search)
    finally:
        if folder.exists():
            pack_runs(folder, packed)
        for name in ("table.md", "table.json"):
            if (folder / name).exists():
                (output / name).write_bytes((folder / name).read_bytes())


def table_config(options: argparse.Namespace, work: Path) -> SearchRun:
    """Settings of Table 1 on the data set of the command line."""
    files = [CONFIGS / "ablation/table1.yaml", *(options.config_file or RECIPE)]
    settings = merge_layers(*map(read_config, files), REHEARSAL if options.rehearse else {})
    data = {"root": options.root} if options.root else {"name": "synthetic", "root": str(work)}
    if options.rehearse:
        draw_dataset(
            work / "synthetic", Synthesis(train_identities=8, test_identities=6, pictures=2)
        )
        rows = settings["ablation"]["rows"]
        settings["ablation"]["rows"] = {row: rows[row] for row in list(rows)[:2]}
    place = {"output_dir": str(work / PACKED), "data": data}
    return compose(SearchRun, settings, place)


def save_weights(run: Path, target: Path) -> None:
    """Write the weights of a finished run in float16, with their card."""
    content = read_weights(run / "checkpoint.pt")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_safetensors(target.with_suffix(".safetensors"), content, ModelCard.from_dict(content, run))


def pack_runs(folder: Path, packed: Path) -> None:
    """Pack the runs; of a finished one everything but its checkpoints."""
    finished = [path.parent.relative_to(folder) for path in folder.rglob("metrics.json")]
    checkpoints = [f"{run}/{name}" for run in finished for name in ("*.pt", "search/*.pt")]
    pack(folder, packed, skip=(*NOT_PACKED, *checkpoints))


@contextmanager
def deadline(minutes: float) -> Iterator[None]:
    """Raise :class:`Interrupted` on SIGTERM, which is sent a little before ``minutes`` are over.

    A training in progress finishes its step and saves a checkpoint first.
    """

    def stop(number, frame):
        raise Interrupted(number)

    wait = max(60 * minutes - MARGIN, 54 * minutes)
    timer = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon, previous = True, signal.signal(signal.SIGTERM, stop)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, previous)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--root", help="folder that holds Market-1501")
    parser.add_argument(
        "--config-file",
        type=Path,
        action="append",
        help="recipe of (c); default: recipes/fast.yaml",
    )
    parser.add_argument("--rehearse", action="store_true", help="tiny settings, generated data")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as work:
        try:
            with deadline(options.minutes):
                run_checks(device, options.output, options.rehearse)
                run_speed(device, options.output, options.rehearse)
                run_table(options, Path(work))
        except Interrupted as stop:
            print(f"{stop}\nstopped; the same command goes on in {options.output}")


if __name__ == "__main__":
    main()
