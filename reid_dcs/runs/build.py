"""Build the parts of a run from its configuration: data, network, engine."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from reid_dcs.attention.options import options_of_file, options_to_write
from reid_dcs.config import Run, TrainRun, to_layer
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.datasets import find_dataset, load_dataset
from reid_dcs.data.datasets.joint import (
    JointDataset,
    load_joint,
    options_of_parts,
    part_names,
)
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.fingerprint import check_same_data, fingerprint_data
from reid_dcs.data.manager import InMemoryDataManager, TestLoader, build_test_loaders
from reid_dcs.data.store import store_prefix
from reid_dcs.engine import (
    build_optimizer,
    build_schedule,
    check_parts,
    check_same_run,
    read_checkpoint,
    read_last_checkpoint,
)
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.errors import InputError
from reid_dcs.losses import IdentityTripletLoss, InformationBottleneckLoss
from reid_dcs.models import build_model
from reid_dcs.models.architecture import read_architecture
from reid_dcs.models.initial import InitialWeights, load_initial, read_initial
from reid_dcs.runs.output import check_outside_data, is_in
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import compiled, synchronized
from reid_dcs.runtime.environment import command_line
from reid_dcs.runtime.precision import Precision
from reid_dcs.weights import ModelCard, Preprocessing
from reid_dcs.zoo import find_weights

Dataset = ListedDataset | JointDataset


class LoadedData(NamedTuple):
    """A data set and the data manager of its decoded images."""

    dataset: Dataset
    manager: InMemoryDataManager


def initial_weights(config: TrainRun) -> InitialWeights | None:
    """Read the weights of ``train.init``; None if it is empty.

    Raises:
        InputError: missing or damaged weights.
    """
    if not config.train.init:
        return None
    weights, pixels = read_initial(config.train.init), training_preprocessing(config)
    trained = weights.card.preprocessing if weights.card else pixels
    if (trained.mean, trained.std) != (pixels.mean, pixels.std):
        print(
            f"warning: {weights.source} was trained with mean {trained.mean} and std "
            f"{trained.std}; this run normalizes by {pixels.mean} and {pixels.std}",
            file=sys.stderr,
        )
    return weights


def load_data(
    config: TrainRun,
    device: torch.device,
    initial: InitialWeights | None = None,
    resumed: Mapping[str, Any] | None = None,
) -> LoadedData:
    """Load and decode the data set of ``config.data``, once for all phases of a run.

    Args:
        initial: weights that the run starts from, to be checked.
        resumed: checkpoint that the run continues from; its data must be the same.

    Raises:
        InputError: invalid data set, images, or model, other data than the checkpoint's, or an
            output folder inside the data set; the model's name, options and file of weights are
            checked before any image is read.
    """
    for name, (_, options) in _parts(config).items():
        find_dataset(name, options)
    check_phases(config)
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=1, **config.model.options)
    if initial:
        load_initial(model, initial, config.model.name, config.model.options)
    if isinstance(config.model.pretrained, str) and not config.train.init:
        find_weights(config.model.pretrained)
    with distributed.main_first():
        if len(_parts(config)) > 1:
            data = config.data
            dataset: Dataset = load_joint(data.name, data.root, data.options, load_dataset)
        else:
            dataset = load_dataset(config.data.name, config.data.root, config.data.options)
    check_outside_data(config.output_dir, config.data, dataset)
    parts = dataset.parts if isinstance(dataset, JointDataset) else {config.data.name: dataset}
    fingerprints = {name: fingerprint_data(part) for name, part in parts.items()}
    if resumed:
        check_same_data(resumed.get("data", {}), fingerprints, f"resume={config.resume}")
    # rank 0 writes a mapped store, the other processes read it
    with distributed.main_first() if config.data.mapped else nullcontext():
        manager = build_manager(config, dataset, device)
    manager.fingerprints = fingerprints
    return LoadedData(dataset, manager)


def load_test_data(config: Run) -> ListedDataset:
    """Load the data set of an evaluation, which needs no training images.

    Raises:
        InputError: invalid data set, or several.
    """
    data = config.data
    names = part_names(data.name)
    if len(names) > 1:
        raise InputError(
            f"data.name={data.name}: an evaluation has one data set: pass --dataset "
            f"{' or '.join(names)}"
        )
    with distributed.main_first():
        return load_dataset(data.name, data.root, data.options, ("query", "gallery"))


def _parts(config: Run) -> dict[str, tuple[str, dict[str, Any]]]:
    """Root and options of each data set of a run."""
    data = config.data
    if len(part_names(data.name)) == 1:
        return {data.name: (data.root, data.options)}
    return options_of_parts(data.name, data.root, data.options)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context with the same random numbers in all processes, and different ones afterwards."""
    torch.manual_seed(seed)
    yield
    if distributed.rank():
        torch.manual_seed(seed + distributed.rank())


def check_phases(config: TrainRun) -> None:
    """Check that the phases of ``data.phases`` leave some epochs for the size of the evaluation.

    Raises:
        InputError: they do not.
    """
    data, first = config.data, sum(phase.epochs for phase in config.data.phases)
    if data.phases and first >= config.train.epochs:
        raise InputError(
            f"data.phases takes {first} epochs, which leaves none of train.epochs="
            f"{config.train.epochs} at {data.height}x{data.width}: raise train.epochs"
        )


def build_network(
    config: TrainRun,
    num_classes: int,
    device: torch.device,
    initial: InitialWeights | None = None,
) -> nn.Module:
    """Build the network of ``config.model`` on a device, ``channels_last``.

    Args:
        initial: weights to load and to print a line about. With ``train.init``, ImageNet weights
            are not loaded, whether ``initial`` is given or the run is resumed.
    """
    name, options = config.model.name, config.model.options
    pretrained = False if config.train.init else config.model.pretrained
    model = build_model(name, num_classes, pretrained=pretrained, **options)
    if initial:
        print(load_initial(model, initial, name, options), flush=True)
    return to_device(config, model, device)


def to_device(config: TrainRun, model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to a device, ``channels_last``; apply ``train.sync_bn``."""
    model = synchronized(model, device) if config.train.sync_bn else model
    return model.to(device).to(memory_format=torch.channels_last)


def build_manager(config: TrainRun, dataset: Dataset, device: torch.device) -> InMemoryDataManager:
    """Build the data manager of a training; its loaders yield this process's part of the data."""
    data, preprocessing = config.data, training_preprocessing(config)
    return InMemoryDataManager(
        data.name,
        dataset,
        height=preprocessing.height,
        width=preprocessing.width,
        batch_size=data.batch_size,
        num_instances=data.num_instances,
        test_batch_size=config.eval.batch_size,
        augmentation=Augmentation(
            data.flip,
            data.padding,
            data.erasing,
            data.brightness,
            data.contrast,
            preprocessing.mean,
            preprocessing.std,
        ),
        device=device,
        mixup=data.mixup,
        mapped=_stores(config),
        seed=config.seed,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        interpolation=preprocessing.interpolation,
        phases=data.phases,
    )


def build_evaluation_loaders(
    config: Run, dataset: ListedDataset, device: torch.device, preprocessing: Preprocessing
) -> dict[str, TestLoader]:
    """Build the query and gallery loaders of an evaluation, with this process's part of each."""
    return build_test_loaders(
        dataset,
        height=preprocessing.height,
        width=preprocessing.width,
        batch_size=config.eval.batch_size,
        device=device,
        mapped=_stores(config),
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
    )


def _stores(config: Run) -> Path | None:
    """Path prefix of the memory-mapped stores; None if images are decoded into memory."""
    data = config.data
    return store_prefix(data.root, data.name, data.options) if data.mapped else None


def training_preprocessing(config: TrainRun) -> Preprocessing:
    """Preprocessing in training: ImageNet's mean and std, bilinear interpolation."""
    return Preprocessing(config.data.height, config.data.width)


def build_card(config: TrainRun, num_classes: int) -> ModelCard:
    """Describe the network that ``config`` trains."""
    return ModelCard(
        model=config.model.name,
        options=_options_to_write(config),
        num_classes=num_classes,
        preprocessing=training_preprocessing(config),
        trained_on=config.data.name,
        trained_on_options=config.data.options,
        command=command_line(),
    )


def _options_to_write(config: TrainRun) -> dict[str, Any]:
    """The model's options, with the content of an architecture's file: weights name no files."""
    options = options_to_write(config.model.name, config.model.options)
    if isinstance(options.get("architecture"), str):
        options["architecture"] = read_architecture(options["architecture"])
    return options


def build_engine(config: TrainRun, model: nn.Module, manager: InMemoryDataManager) -> ReIDEngine:
    """Build the engine of ``config.train``, with its optimizer and schedule."""
    recipe = config.train
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = build_optimizer(trained, recipe)
    batches = manager.train_loader.epoch_lengths(recipe.epochs)
    steps = [-(-number // recipe.accumulate) for number in batches]  # rounded up
    return ReIDEngine(
        manager,
        model,
        optimizer,
        build_schedule(optimizer, recipe, recipe.epochs, steps),
        build_criterion(config),
        **engine_options(config, model, manager),
        accumulate=recipe.accumulate,
        ema=recipe.ema,
        frozen_epochs=recipe.frozen_epochs,
    )


def build_criterion(config: TrainRun) -> nn.Module:
    """Build the training criterion of ``config.train``.

    Raises:
        InputError: the information bottleneck term with mixup.
    """
    recipe = config.train
    margin = None if recipe.soft_margin else recipe.margin
    criterion = IdentityTripletLoss(recipe.label_smoothing, margin, recipe.triplet_weight)
    if not recipe.ib_weight:
        return criterion
    if config.data.mixup:
        raise InputError(
            "train.ib_weight: its centers are means over images of one identity, which mixup "
            "blends; set data.mixup=0"
        )
    return InformationBottleneckLoss(criterion, recipe.ib_weight)


def engine_options(
    config: TrainRun, model: nn.Module, manager: InMemoryDataManager
) -> dict[str, Any]:
    """Keyword arguments that the engines of training and search share."""
    recipe = config.train
    return {
        "metric": config.eval.metric,
        "compiled": compiled(model, recipe.compile),
        "precision": Precision(recipe.precision, next(model.parameters()).device),
        "clip_norm": recipe.clip_norm,
        "description": {
            **build_card(config, manager.num_train_pids).to_dict(),
            "config": to_layer(config),
            "data": dict(manager.fingerprints),
        },
    }


def checkpoint_to_resume(config: TrainRun, folder: Path) -> dict[str, Any] | None:
    """Read the checkpoint of ``config.resume``; None if the run starts from scratch.

    Raises:
        InputError: the checkpoint is damaged or belongs to another run.
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
        check_parts(content, source)
        with _readable(source):
            check_resumable(content, config, source)
    return content


def restore(engine: ReIDEngine, content: dict[str, Any], source: object) -> None:
    """Let an engine continue from a checkpoint.

    Raises:
        InputError: a part of the checkpoint does not fit the network or its optimizers.
    """
    with _readable(source):
        engine.load_state_dict(content)


@contextmanager
def _readable(source: object) -> Iterator[None]:
    """Turn whatever goes wrong with a part of a checkpoint into an InputError."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # parts of other types and shapes raise many types of errors
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"{source} cannot be resumed: a part of the checkpoint is missing or does not fit "
            f"({reason}); use another checkpoint, or start over with resume=none"
        ) from error


def continues_in(config: TrainRun, folder: Path, resumed: object) -> bool:
    """Whether a run continues from a checkpoint in its output folder, not from one elsewhere."""
    return bool(resumed) and (config.resume == "auto" or is_in(config.resume, folder))


def check_resumable(content: dict[str, Any], config: TrainRun, source: Path) -> None:
    """Check that a checkpoint belongs to a run, and that the run would continue the same network.

    The options of the attention are compared with their defaults spelled out, so that a default
    that has changed since the checkpoint was written does not change the network.

    Raises:
        InputError: the checkpoint belongs to another run.
    """
    stored, now = content["config"], to_layer(config)
    if "model" in content:
        model = content["model"]
        options = options_of_file(model["name"], model["options"])
        stored = stored | {"model": stored["model"] | {"options": options}}
    written = _options_to_write(config)
    if isinstance(stored["model"]["options"].get("architecture"), str):  # written before
        written["architecture"] = config.model.options.get("architecture")
    now = now | {"model": now["model"] | {"options": written}}
    check_same_run(content | {"config": stored}, now, distributed.world_size(), source)


def announce_phases(config: TrainRun) -> None:
    """Print the input sizes of a training, if they change."""
    data = config.data
    sizes = [f"{phase.height}x{phase.width} for {phase.epochs} epochs" for phase in data.phases]
    if sizes:
        print(f"training at {', '.join(sizes)}, then {data.height}x{data.width}", flush=True)


def announce(config: Run, dataset: Dataset, model: nn.Module, device: torch.device) -> None:
    """Print model and data set of a run; warn about an unusual evaluation protocol."""
    if not distributed.is_main():
        return
    name = config.data.name
    for warning in dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if dataset.unofficial:
        print(f"warning: not the official split of {name}: {dataset.unofficial}", file=sys.stderr)
    if not dataset.cameras_known:
        print(
            f"warning: {name} has no camera labels: gallery images of the query's camera are not "
            "excluded",
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
