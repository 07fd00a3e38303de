"""Accuracy by training time: torchreid's engine and ours, from the same ImageNet weights.

    python benchmarks/time_to_accuracy.py --minutes M --output DIR --root DIR --weights FILE

Each trains for M minutes, one after the other, in a separate process. The clock starts before the
data set is opened, so that decoding counts, and stops during evaluations, which are the same for
both: single query, with the library's default distance. Both are set up to finish their schedule
within the time. Writes torchreid.json and reid_dcs.json, and time_to_accuracy.png with both; a
library whose result is there is not measured again. Ours goes on from its last checkpoint in DIR,
with the clock of that moment, if it was interrupted.

torchreid: mobilenetv2_x1_0, ImageTripletEngine and ImageDataManager with the recipe of the engine's
documentation: batches of 32 with 4 images an identity, Adam 3e-4, a tenth of it after a third of
the epochs and again after two thirds, margin 0.3, weight 0.7 of the triplet loss, random flips.
Its network has stride 2 in the last but one stage, ours has stride 1.
reid_dcs: the model and recipe of --config-file.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from machine import machine
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from measuring import best_seconds
from torch import Tensor, nn
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine
from torchreid import models as torchreid_models
from torchreid import optim as torchreid_optim
from training_clock import Clock, TimeUp

from reid_dcs.config import TrainRun, compose, merge_layers, read_config
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.manager import TestLoader, build_test_loaders
from reid_dcs.engine import Trainer, read_last_checkpoint
from reid_dcs.evaluation import RankResult, extract_features, rank_features
from reid_dcs.files import write_json, written_whole
from reid_dcs.models import build_backbone
from reid_dcs.runs.data import load_data
from reid_dcs.runs.engine import build_engine
from reid_dcs.runs.network import build_network
from reid_dcs.runtime.device import choose_device

LIBRARIES = ("torchreid", "reid_dcs")
CONFIGS = Path(__file__).parents[1] / "configs"
RECIPE = [CONFIGS / "market1501/mobilenetv2_dcs.yaml", CONFIGS / "recipes/fast.yaml"]


def epochs_within(minutes: float, model: nn.Module, batches: int, images: Tensor) -> int:
    """Number of epochs of which forward and backward passes fit into the minutes."""
    model = copy.deepcopy(model).train()
    step = best_seconds(lambda: model(images)[0].sum().backward(), images.device, rounds=3)
    return max(1, int(60 * minutes / (batches * step)))


def torchreid_training(options: argparse.Namespace, clock: Clock):
    """torchreid's engine, its network, the distance of its evaluation, and the epochs to train."""
    config = read_settings(options)
    height, width = config.data.height, config.data.width
    manager = torchreid_data.ImageDataManager(
        root=options.root,
        sources=f"dcs_{config.data.name}",
        height=height,
        width=width,
        batch_size_train=options.torchreid_batch,
        num_instances=4,
        train_sampler="RandomIdentitySampler",
        workers=options.workers,
        use_gpu=clock.device.type == "cuda",
    )
    model = torchreid_models.build_model(
        "mobilenetv2_x1_0", manager.num_train_pids, loss="triplet", pretrained=False
    )
    if options.weights:
        load_imagenet(model, options.weights)
    model = model.to(clock.device)
    optimizer = torchreid_optim.build_optimizer(model, optim="adam", lr=0.0003)
    batches = len(manager.train_loader)
    images = torch.randn(options.torchreid_batch, 3, height, width, device=clock.device)
    left = clock.limit - clock.minutes
    epochs = options.torchreid_epochs or epochs_within(left, model, batches, images)
    schedule = torchreid_optim.build_lr_scheduler(
        optimizer, lr_scheduler="single_step", stepsize=max(1, round(epochs / 3))
    )
    engine = torchreid_engine.ImageTripletEngine(
        manager,
        model,
        optimizer,
        margin=0.3,
        weight_t=0.7,
        weight_x=1,
        scheduler=schedule,
        use_gpu=clock.device.type == "cuda",
    )
    return engine, lambda: model, "euclidean", epochs


def reid_dcs_training(options: argparse.Namespace, clock: Clock):
    """The same of our engine; a recipe with phases needs ``--epochs``, or keeps its own number."""
    config = read_settings(options)
    _, manager = load_data(config, clock.device)
    torch.manual_seed(config.seed)
    model = build_network(config, manager.num_train_pids, clock.device)
    saved = read_last_checkpoint(options.output / "checkpoints")
    epochs = saved["epochs"] if saved else options.epochs  # the schedule is for as many
    if not epochs and getattr(config.data, "phases", None):
        epochs = config.train.epochs
    if not epochs:
        size = (config.data.batch_size, 3, config.data.height, config.data.width)
        images = torch.randn(size, device=clock.device).to(memory_format=torch.channels_last)
        left = clock.limit - clock.minutes
        epochs = epochs_within(left, model, len(manager.train_loader), images)
    config.train.epochs = epochs
    engine = build_engine(config, model, manager)
    return engine, lambda: engine.evaluated_model, config.eval.metric, epochs


def read_settings(options: argparse.Namespace) -> TrainRun:
    """Settings of our training; its data set and input size are also those of torchreid's."""
    settings = merge_layers(*map(read_config, options.config_file or RECIPE))
    model = {"pretrained": str(options.weights) if options.weights else False}
    config = compose(TrainRun, settings, {"data": {"root": options.root}, "model": model})
    if options.epochs:  # the phases keep their shares of them
        for phase in config.data.phases:
            phase.epochs = round(phase.epochs * options.epochs / config.train.epochs)
    return config


def load_imagenet(model: nn.Module, file: Path) -> None:
    """Load torchvision's ImageNet weights into torchreid's mobilenetv2_x1_0.

    It has the layers of our backbone, in the same order under other names, with the expansion of
    the first bottleneck that torchvision's network lacks.
    """
    given = build_backbone("mobilenetv2", "base")
    given.load_pretrained(str(file))
    state = model.state_dict()
    names = [name for name in state if not name.startswith("classifier.")]
    values = given.state_dict().values()
    for name, value in zip(names, values, strict=True):
        assert state[name].shape == value.shape, name
        state[name] = value
    model.load_state_dict(state)


def evaluated(model: nn.Module, loaders: dict[str, TestLoader], metric: str) -> RankResult:
    """Evaluate a network; its modules keep their modes."""
    training = {module: module.training for module in model.modules()}
    query, gallery = (extract_features(model, loaders[part], part) for part in ("query", "gallery"))
    for module, mode in training.items():
        module.training = mode
    device = next(model.parameters()).device
    return rank_features(query, gallery, metric, device=device).ranking.summary()


def measure(library: str, options: argparse.Namespace) -> None:
    """Train with one library; its file is written after each evaluation."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if library == "reid_dcs":
        device = choose_device("auto")  # also tunes the allocator, which is part of the library
    config = read_settings(options)
    dataset = load_dataset(config.data.name, options.root, config.data.options)
    loaders = build_test_loaders(
        dataset,
        height=config.data.height,
        width=config.data.width,
        batch_size=config.eval.batch_size,
        device=device,
    )
    torch.manual_seed(0)
    clock = Clock(options.minutes, options.every, device)
    build = torchreid_training if library == "torchreid" else reid_dcs_training
    engine, network, metric, epochs = build(options, clock)
    points: list[dict[str, float]] = []

    def evaluate(minutes: float) -> None:
        result = evaluated(network(), loaders, metric)
        points.append({"minutes": minutes, "mAP": result.mAP, "rank1": float(result.cmc[0])})
        print(f"{library}, {minutes:.1f} minutes: mAP {result.mAP:.1%}", flush=True)
        write_json(options.output / f"{library}.json", content())

    def content(finished: bool = False) -> dict:
        return {
            "machine": machine("torchreid"),
            "threads": torch.get_num_threads(),
            "minutes": options.minutes,
            "epochs": epochs,
            "points": points,
            "finished": finished,
        }

    ours = isinstance(engine, Trainer)
    if ours:
        points = go_on(engine, clock, options.output / "checkpoints", epochs)
    evaluate_now = clock.watch(engine, evaluate)
    engine.max_epoch = epochs
    try:
        for epoch in range(engine.finished if ours else 0, epochs):
            engine.epoch = epoch
            engine.train()
            if ours:
                engine.finished = epoch + 1
                engine.save()
        evaluate_now()
    except TimeUp:
        pass
    write_json(options.output / f"{library}.json", content(finished=True))


def go_on(engine: Trainer, clock: Clock, folder: Path, epochs: int) -> list[dict[str, float]]:
    """Continue from the last checkpoint in a folder if there is one, and save to it from now on.

    Returns:
        the evaluations so far, which are saved with the checkpoints, as are the clock and the
        number of epochs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    points: list[dict[str, float]] = []
    if content := read_last_checkpoint(folder):
        engine.load_state_dict(content)
        points = content["points"]
        clock.set(content["minutes"], len(points))
    write = engine.write_checkpoint

    def write_with_clock(is_best: bool) -> None:
        engine.description |= {"minutes": clock.minutes, "points": points, "epochs": epochs}
        write(is_best)

    engine.save_dir, engine.write_checkpoint = folder, write_with_clock
    return points


def draw(results: dict[str, dict], path: Path) -> None:
    """mAP by minutes of training."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for library, result in results.items():
        points = result["points"]
        scores = [100 * point["mAP"] for point in points]
        axes.plot([point["minutes"] for point in points], scores, marker="o", label=library)
    highest = max(100 * point["mAP"] for result in results.values() for point in result["points"])
    axes.set(xlabel="minutes of training", ylabel="mAP, %", xlim=(0, None), ylim=(0, 1.1 * highest))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    with written_whole(path) as file:
        figure.savefig(file, format="png", dpi=150)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, required=True, help="of each library")
    parser.add_argument("--every", type=float, help="minutes between evaluations; default: a tenth")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument("--weights", type=Path, help="ImageNet weights; without, from scratch")
    parser.add_argument(
        "--config-file", type=Path, action="append", help="our settings; default: recipes/fast.yaml"
    )
    parser.add_argument("--epochs", type=int, help="of reid_dcs; default: as many as fit")
    parser.add_argument("--torchreid-epochs", type=int, help="default: as many as fit")
    parser.add_argument("--torchreid-batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of torchreid's loader")
    parser.add_argument("--only", choices=LIBRARIES, help=argparse.SUPPRESS)
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    options.every = options.every or options.minutes / 10
    if options.only:
        return measure(options.only, options)
    options.output.mkdir(parents=True, exist_ok=True)
    results = {}
    for library in LIBRARIES:
        file = options.output / f"{library}.json"
        if not (file.exists() and json.loads(file.read_text())["finished"]):
            command = [sys.executable, __file__, *arguments, "--only", library]
            subprocess.run(command, check=True)
        results[library] = json.loads(file.read_text())
    draw(results, options.output / "time_to_accuracy.png")


if __name__ == "__main__":
    main()
