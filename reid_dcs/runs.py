"""Whole runs: the rooms of the house put together. What tools/ and users' scripts call."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from reid_dcs import distributed
from reid_dcs.config import Config, Layer, compose, to_layer
from reid_dcs.data.augment import IMAGENET_MEAN, IMAGENET_STD, Augmentation
from reid_dcs.data.datasets import find_dataset, load_dataset
from reid_dcs.data.datasets.listing import ListedDataset
from reid_dcs.data.manager import InMemoryDataManager
from reid_dcs.data.store import store_prefix
from reid_dcs.engine import CHECKPOINT, ReIDEngine, warmup_cosine
from reid_dcs.engine.curves import draw_curves
from reid_dcs.engine.device import choose_device, compiled
from reid_dcs.errors import InputError
from reid_dcs.evaluating import (
    departures,
    draw_evaluation,
    query_and_gallery,
    rank_features,
    said_of,
)
from reid_dcs.evaluation import RankResult
from reid_dcs.files import write_json, written_whole
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.models import build_model
from reid_dcs.trained import load_trained, said_by
from reid_dcs.weights import read_weights


def train(config: Layer) -> dict[str, Any]:
    """Train a network, evaluate it, and leave everything in ``output_dir``.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        what ``metrics.json`` holds.

    Raises:
        InputError: anything the user can mend; found before training, nothing is written.
    """
    config = compose(config)
    resumed = _checkpoint_to_resume(config)
    device = choose_device(config.device)
    find_dataset(config.data.name, config.data.options)
    with torch.device("meta"):  # a wrong name or option shows before data is read or drawn
        build_model(config.model.name, num_classes=1, **config.model.options)
    torch.manual_seed(config.seed)
    dataset = load_dataset(config.data.name, config.data.root, config.data.options)
    model = _network(config, dataset.num_train_pids, device)
    manager = _manager(config, dataset, device)
    engine = _engine(config, manager, model)
    start_epoch = engine.resume(resumed) if resumed else 0
    output = _open_output(config, fresh=resumed is None)
    _write_config(output, config)
    _announce(config, dataset, model, device)

    started = time.perf_counter()
    engine.run(output, config.train.epochs, start_epoch, config.eval.every)
    seconds = time.perf_counter() - started
    result = engine.test()[config.data.name]
    metrics = _metrics(config, dataset, result) | {"train_seconds": round(seconds, 1)}
    engine.history[-1] |= {"mAP": metrics["mAP"], "rank1": metrics["rank1"]}
    engine.description["metrics"] = metrics
    engine.save_model(engine.epoch, metrics["rank1"], output)
    draw_curves(engine.history, f"{config.model.name} on {config.data.name}", output / "curves.png")
    write_json(output / "metrics.json", metrics)
    print(f"{_table(metrics)}\n\nwritten to {output}/")
    return metrics


def evaluate(config: Layer) -> dict[str, Any]:
    """Evaluate ``eval.weights``: a checkpoint of ours, or of torchreid's with ``model.name``.

    A checkpoint of ours says which model, input size and data set it was trained with. Settings
    given here win, but naming another architecture is an error.

    Args:
        config: some or all settings.

    Returns:
        what ``metrics.json`` holds; it is written where ``output_dir`` is given, with ``cmc.png``
        and, if ``eval.ranks`` is set, ``ranks.png``.

    Raises:
        InputError: anything the user can mend.
    """
    given = to_layer(config) if isinstance(config, Config) else config
    source = given.get("eval", {}).get("weights")
    if not source:
        raise InputError("no weights given: pass --weights FILE")
    content = read_weights(source)
    config = compose(said_by(content, given, source), given)
    with distributed.process_group(choose_device(config.device)) as device:
        return _evaluate(config, content, bool(given.get("output_dir")), device)


def _evaluate(
    config: Config, content: dict[str, Any], write: bool, device: torch.device
) -> dict[str, Any]:
    source = config.eval.weights
    if config.eval.ranks and not write:
        raise InputError("eval.ranks draws into the output folder: pass --output-dir DIR")
    with distributed.main_first():
        dataset = load_dataset(config.data.name, config.data.root, config.data.options)
    model = load_trained(config, content, source, device)
    output = _open_output(config, fresh=False) if write else None
    _announce(config, dataset, model, device)

    def loaders():
        manager = _manager(config, dataset, device, train=False)
        return manager.test_loader[config.data.name]

    features = query_and_gallery(config, dataset, model, loaders, output or Path(source).parent)
    ranking, *ranked = rank_features(config, features["query"], features["gallery"], device)
    trained_on = content.get("config", {}).get("data", {}).get("name")
    said = said_of(config, trained_on)
    metrics = _metrics(config, dataset, ranking.summary()) | said
    if output and distributed.is_main():
        if not (output / CHECKPOINT).exists():  # a training's own configuration stays
            _write_config(output, config)
        write_json(output / "metrics.json", metrics)
        draw_evaluation(config, dataset, ranking, *ranked, output)
    print("\n".join([*departures(said, config.data.name), _table(metrics)]))
    return metrics


def _network(config: Config, num_classes: int, device: torch.device) -> nn.Module:
    model = build_model(
        config.model.name,
        num_classes,
        pretrained=config.model.pretrained,
        **config.model.options,
    )
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
        train=train,
    )


def _engine(config: Config, manager: InMemoryDataManager, model: nn.Module) -> ReIDEngine:
    recipe, batches = config.train, len(manager.train_loader)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    return ReIDEngine(
        manager,
        model,
        optimizer,
        warmup_cosine(optimizer, recipe.epochs * batches, round(recipe.warmup_epochs * batches)),
        IdentityTripletLoss(recipe.label_smoothing, recipe.margin, recipe.triplet_weight),
        metric=config.eval.metric,
        step_model=compiled(model) if recipe.compile else model,
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
    path = Path(config.resume)
    if config.resume == "auto":
        path = Path(config.output_dir, CHECKPOINT)
        if not path.is_file():
            return None
    content = read_weights(path)
    if "optimizer" not in content or "model" not in content:
        raise InputError(f"{path} cannot be resumed: it holds weights alone")
    own, asked = content["model"], config.model
    if (own["name"], own["options"]) != (asked.name, asked.options):
        raise InputError(
            f"{path} holds {own['name']} {own['options']}, not {asked.name} {asked.options}"
        )
    return content


def _open_output(config: Config, fresh: bool) -> Path:
    """Make the output folder; before a fresh run, an earlier one's files move aside."""
    output = Path(config.output_dir)
    try:
        output.mkdir(parents=True, exist_ok=True)
        if fresh and (output / CHECKPOINT).exists():
            _move_aside(output)
    except OSError as error:
        raise InputError(f"cannot write to {output}: {error.strerror}") from error
    return output


def _write_config(output: Path, config: Config) -> None:
    with written_whole(output / "config.yaml") as file:
        file.write(OmegaConf.to_yaml(OmegaConf.structured(config)).encode())


def _move_aside(output: Path) -> None:
    files = [path for path in output.iterdir() if path.is_file()]
    number = 1
    while (aside := output / f"earlier-{number}").exists():
        number += 1
    aside.mkdir()
    for path in files:
        path.rename(aside / path.name)


def _metrics(config: Config, dataset: ListedDataset, result: RankResult) -> dict[str, Any]:
    """What ``metrics.json`` holds: fractions, counts and what they were measured on."""
    ranks = {f"rank{k}": float(result.cmc[min(k, len(result.cmc)) - 1]) for k in (1, 5, 10)}
    return {
        "mAP": result.mAP,
        **ranks,
        "mINP": result.mINP,
        "num_query": len(dataset.query),
        "num_gallery": len(dataset.gallery),
        "num_valid": result.num_valid,
        "dataset": config.data.name,
        "official_split": not dataset.unofficial,
        "same_camera_excluded": dataset.cameras_known,
        "model": config.model.name,
        "height": config.data.height,
        "width": config.data.width,
        "metric": config.eval.metric,
    }


def _announce(
    config: Config, dataset: ListedDataset, model: nn.Module, device: torch.device
) -> None:
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


def _table(metrics: dict[str, Any]) -> str:
    names = ("mAP", "rank1", "rank5", "rank10", "mINP")
    head = "  ".join(f"{name:>6}" for name in names)
    row = "  ".join(f"{metrics[name]:6.1%}" for name in names)
    return f"\n{head}\n{row}"
