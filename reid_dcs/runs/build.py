"""From a configuration to the parts of a run: data set, network, batches, engine."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from reid_dcs.attention.options import options_to_write
from reid_dcs.config import Config, to_layer
from reid_dcs.data.augment import IMAGENET_MEAN, IMAGENET_STD, Augmentation
from reid_dcs.data.datasets import find_dataset, load_dataset
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.manager import InMemoryDataManager
from reid_dcs.data.store import store_prefix
from reid_dcs.engine import (
    ReIDEngine,
    build_optimizer,
    build_schedule,
    check_same_run,
    read_checkpoint,
    read_last_checkpoint,
)
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.models import build_model
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import compiled, synchronised
from reid_dcs.runtime.precision import Precision

Build = Callable[[Config, int, torch.device], nn.Module]
"""A network from ``config.model``, for so many identities, on a device."""


class Parts(NamedTuple):
    """What a training run is made of."""

    dataset: ListedDataset
    model: nn.Module
    manager: InMemoryDataManager


def build_network(config: Config, num_classes: int, device: torch.device) -> nn.Module:
    """The network of ``config.model``, on the device, ``channels_last``."""
    model = build_model(
        config.model.name,
        num_classes,
        pretrained=config.model.pretrained,
        **config.model.options,
    )
    return place(config, model, device)


def place(config: Config, model: nn.Module, device: torch.device) -> nn.Module:
    """On the device, ``channels_last``, its batch norms synchronised if that is asked for."""
    model = synchronised(model, device) if config.train.sync_bn else model
    return model.to(device, memory_format=torch.channels_last)


def assemble(config: Config, device: torch.device, build: Build = build_network) -> Parts:
    """Data set, network and batches; seeded, so that the same configuration gives the same.

    Raises:
        InputError: anything the user can mend.
    """
    find_dataset(config.data.name, config.data.options)
    with torch.device("meta"):  # a wrong name or option shows before data is read or drawn
        build_model(config.model.name, num_classes=1, **config.model.options)
    with distributed.main_first():
        dataset = load_dataset(config.data.name, config.data.root, config.data.options)
    torch.manual_seed(config.seed)
    model = build(config, dataset.num_train_pids, device)
    if distributed.rank():  # what is drawn in training differs from rank to rank
        torch.manual_seed(config.seed + distributed.rank())
    # a mapped store is written by one
    with distributed.main_first() if config.data.mapped else nullcontext():
        manager = build_manager(config, dataset, device)
    return Parts(dataset, model, manager)


def build_manager(
    config: Config, dataset: ListedDataset, device: torch.device, train: bool = True
) -> InMemoryDataManager:
    """The batches of ``config.data``, this process's share of them."""
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


def build_engine(config: Config, parts: Parts) -> ReIDEngine:
    """Training by ``config.train``."""
    recipe = config.train
    free = [parameter for parameter in parts.model.parameters() if parameter.requires_grad]
    optimizer = build_optimizer(free, recipe)
    steps = -(-len(parts.manager.train_loader) // recipe.accumulate)  # the last may be smaller
    return ReIDEngine(
        parts.manager,
        parts.model,
        optimizer,
        build_schedule(optimizer, recipe, recipe.epochs, steps),
        build_criterion(config),
        **engine_options(config, parts),
        accumulate=recipe.accumulate,
        ema=recipe.ema,
        frozen_epochs=recipe.frozen_epochs,
    )


def build_criterion(config: Config) -> IdentityTripletLoss:
    """The losses of ``config.train``."""
    recipe = config.train
    margin = None if recipe.soft_margin else recipe.margin
    return IdentityTripletLoss(recipe.label_smoothing, margin, recipe.triplet_weight)


def engine_options(config: Config, parts: Parts) -> dict[str, Any]:
    """Keywords that training and search have in common."""
    recipe = config.train
    return {
        "metric": config.eval.metric,
        "compiled": compiled(parts.model, recipe.compile),
        "precision": Precision(recipe.precision, next(parts.model.parameters()).device),
        "clip_norm": recipe.clip_norm,
        "description": {
            "model": {
                "name": config.model.name,
                "options": options_to_write(config.model.name, config.model.options),
                "num_classes": parts.manager.num_train_pids,
            },
            "preprocessing": {
                "height": config.data.height,
                "width": config.data.width,
                "mean": list(IMAGENET_MEAN),
                "std": list(IMAGENET_STD),
            },
            "config": to_layer(config),
        },
    }


def checkpoint_to_resume(config: Config, folder: Path) -> dict[str, Any] | None:
    """What ``config.resume`` says to go on from; None begins anew.

    Raises:
        InputError: it is damaged, or another run's.
    """
    if config.resume == "none":
        return None
    if config.resume == "auto":
        source = folder
        content = read_last_checkpoint(source)
    else:
        source = Path(config.resume)
        content = read_checkpoint(source)
    if content:
        check_same_run(content, to_layer(config), distributed.world_size(), source)
    return content


def announce(
    config: Config, dataset: ListedDataset, model: nn.Module, device: torch.device
) -> None:
    """Say what is about to happen, and what is unusual about it."""
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
