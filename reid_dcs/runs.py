"""Whole runs: the rooms of the house put together. What tools/ and users' scripts call."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_dcs import distributed
from reid_dcs.config import Config, Layer, compose, to_layer
from reid_dcs.data.augment import IMAGENET_MEAN, IMAGENET_STD, Augmentation
from reid_dcs.data.datasets import find_dataset, load_dataset
from reid_dcs.data.datasets.listing import ListedDataset
from reid_dcs.data.manager import InMemoryDataManager
from reid_dcs.data.store import store_prefix
from reid_dcs.engine import (
    CHECKPOINT,
    ReIDEngine,
    build_optimizer,
    build_schedule,
    check_same_run,
    read_checkpoint,
    read_last_checkpoint,
)
from reid_dcs.engine.curves import draw_curves
from reid_dcs.engine.device import choose_device, compiled, synchronised
from reid_dcs.engine.precision import Precision
from reid_dcs.errors import InputError
from reid_dcs.files import write_json
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.models import build_model
from reid_dcs.output import metrics_of, open_output, table, write_setting
from reid_dcs.weights import load_exactly, read_weights


def train(config: Layer) -> dict[str, Any]:
    """Train a network, evaluate it, and leave everything in ``output_dir``.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        what ``metrics.json`` holds.

    Raises:
        InputError: anything the user can mend; found before training, nothing is written.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` goes on.
    """
    config = compose(config)
    with distributed.process_group(choose_device(config.device)) as device:
        return _train(config, device)


def _train(config: Config, device: torch.device) -> dict[str, Any]:
    resumed = _checkpoint_to_resume(config)
    find_dataset(config.data.name, config.data.options)
    with torch.device("meta"):  # a wrong name or option shows before data is read or drawn
        build_model(config.model.name, num_classes=1, **config.model.options)
    with distributed.main_first():
        dataset = load_dataset(config.data.name, config.data.root, config.data.options)
    torch.manual_seed(config.seed)
    model = _network(config, dataset.num_train_pids, device)
    if distributed.rank():  # what is drawn in training differs from rank to rank
        torch.manual_seed(config.seed + distributed.rank())
    # a mapped store is written by one
    with distributed.main_first() if config.data.mapped else nullcontext():
        manager = _manager(config, dataset, device)
    engine = _engine(config, manager, model)
    start_epoch = engine.resume(resumed) if resumed else 0
    output = open_output(config, fresh=resumed is None)
    if distributed.is_main():
        write_setting(output, config, device)
    _announce(config, dataset, model, device)

    result = engine.run(output, config.train.epochs, start_epoch, config.eval.every)
    seconds = sum(entry["seconds"] for entry in engine.history)
    metrics = metrics_of(config, dataset, result) | {"train_seconds": round(seconds, 1)}
    engine.description["metrics"] = metrics
    engine.save_model(config.train.epochs, metrics["rank1"], output)
    if distributed.is_main():
        title = f"{config.model.name} on {config.data.name}"
        draw_curves(engine.history, title, output / "curves.png")
        write_json(output / "metrics.json", metrics)
    print(f"{table(metrics)}\n\nwritten to {output}/")
    return metrics


def evaluate(config: Layer) -> dict[str, Any]:
    """Evaluate ``eval.weights``: a checkpoint of ours, or of torchreid's with ``model.name``.

    A checkpoint of ours says which model, input size and data set it was trained with. Settings
    given here win, but naming another architecture is an error.

    Args:
        config: some or all settings.

    Returns:
        what ``metrics.json`` holds; it is written where ``output_dir`` is given.

    Raises:
        InputError: anything the user can mend.
    """
    given = to_layer(config) if isinstance(config, Config) else config
    source = given.get("eval", {}).get("weights")
    if not source:
        raise InputError("no weights given: pass --weights FILE")
    content = read_weights(source)
    config = compose(_said_by(content, given, source), given)
    with distributed.process_group(choose_device(config.device)) as device:
        return _evaluate(config, content, bool(given.get("output_dir")), device)


def _evaluate(
    config: Config, content: dict[str, Any], write: bool, device: torch.device
) -> dict[str, Any]:
    source = config.eval.weights
    with distributed.main_first():
        dataset = load_dataset(config.data.name, config.data.root, config.data.options)
    model = _network(config, content.get("model", {}).get("num_classes", 1), device)
    # evaluation does not run the classifier
    load_exactly(model, content["state_dict"], source, but="classifier")
    manager = _manager(config, dataset, device, train=False)
    output = open_output(config, fresh=False) if write else None
    _announce(config, dataset, model, device)

    result = ReIDEngine(manager, model, metric=config.eval.metric).test()[config.data.name]
    metrics = metrics_of(config, dataset, result) | {"weights": str(source)}
    if output and distributed.is_main():
        if not (output / CHECKPOINT).exists():  # a training's own configuration stays
            write_setting(output, config, device)
        write_json(output / "metrics.json", metrics)
    print(table(metrics))
    return metrics


def _network(config: Config, num_classes: int, device: torch.device) -> nn.Module:
    model = build_model(
        config.model.name,
        num_classes,
        pretrained=config.model.pretrained,
        **config.model.options,
    )
    model = synchronised(model, device) if config.train.sync_bn else model
    return model.to(device, memory_format=torch.channels_last)


def _manager(
    config: Config, dataset: ListedDataset, device: torch.device, train: bool = True
) -> InMemoryDataManager:
    data = config.data
    return InMemoryDataManager(
        data.name,
        dataset,
        height=data.height,
        width=data.width,
        batch_size=data.batch_size,
        num_instances=data.num_instances,
        test_batch_size=config.eval.batch_size,
        augmentation=Augmentation(
            data.flip, data.padding, data.erasing, data.brightness, data.contrast
        ),
        device=device,
        mixup=data.mixup,
        mapped=store_prefix(data.root, data.name, data.options) if data.mapped else None,
        seed=config.seed,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        train=train,
    )


def _engine(config: Config, manager: InMemoryDataManager, model: nn.Module) -> ReIDEngine:
    recipe = config.train
    optimizer = build_optimizer(model.parameters(), recipe)
    steps = -(-len(manager.train_loader) // recipe.accumulate)  # an epoch's last may be smaller
    margin = None if recipe.soft_margin else recipe.margin
    return ReIDEngine(
        manager,
        model,
        optimizer,
        build_schedule(optimizer, recipe, recipe.epochs, steps),
        IdentityTripletLoss(recipe.label_smoothing, margin, recipe.triplet_weight),
        metric=config.eval.metric,
        compiled=compiled(model, recipe.compile),
        precision=Precision(recipe.precision, next(model.parameters()).device),
        accumulate=recipe.accumulate,
        clip_norm=recipe.clip_norm,
        ema=recipe.ema,
        frozen_epochs=recipe.frozen_epochs,
        description={
            "model": {
                "name": config.model.name,
                "options": dict(config.model.options),
                "num_classes": manager.num_train_pids,
            },
            "preprocessing": {
                "height": config.data.height,
                "width": config.data.width,
                "mean": list(IMAGENET_MEAN),
                "std": list(IMAGENET_STD),
            },
            "config": to_layer(config),
        },
    )


def _checkpoint_to_resume(config: Config) -> dict[str, Any] | None:
    if config.resume == "none":
        return None
    if config.resume == "auto":
        source = Path(config.output_dir)
        content = read_last_checkpoint(source)
    else:
        source = Path(config.resume)
        content = read_checkpoint(source)
    if content:
        check_same_run(content, to_layer(config), distributed.world_size(), source)
    return content


def _said_by(content: dict[str, Any], given: Layer, source: str) -> Layer:
    """The settings that a checkpoint brings along for its evaluation."""
    named = given.get("model", {}).get("name")
    if "model" not in content:
        if not named:
            raise InputError(f"{source} does not say which model it is: pass --model NAME")
        return {"data": {"height": 256, "width": 128}}  # torchreid's default
    own = content["model"]
    if named and named != own["name"]:
        raise InputError(f"{source} holds {own['name']}, not {named}: leave --model out")
    trained = content["config"]["data"]
    data = {key: content["preprocessing"][key] for key in ("height", "width")}
    if given.get("data", {}).get("name", trained["name"]) == trained["name"]:
        data |= {"name": trained["name"], "options": trained.get("options", {})}
    return {"model": {"name": own["name"], "options": own["options"]}, "data": data}


def _announce(
    config: Config, dataset: ListedDataset, model: nn.Module, device: torch.device
) -> None:
    if not distributed.is_main():
        return
    name = config.data.name
    if dataset.unofficial:
        print(f"warning: not the official split of {name}: {dataset.unofficial}", file=sys.stderr)
    if not dataset.cameras_known:
        print(
            f"warning: {name} names no cameras: same-camera exclusion is off, a query may find "
            "its person under the camera that took it",
            file=sys.stderr,
        )
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{config.model.name}, {parameters:.2f} M parameters, on {device}\n"
        f"{name} at {config.data.height}x{config.data.width}: {len(dataset.train):,} training "
        f"images of {dataset.num_train_pids} identities, {len(dataset.query):,} queries, "
        f"{len(dataset.gallery):,} gallery images",
        flush=True,
    )
