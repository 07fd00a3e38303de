"""The data of a Re-ID run: data sets, fingerprints, data managers and loaders."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from reid_dcs.config import Run, TrainRun
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
from reid_dcs.data.sampler import check_batch_size
from reid_dcs.data.store import store_prefix
from reid_dcs.errors import InputError
from reid_dcs.jobs.networks import check_network
from reid_dcs.models import build_model
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runs.network import check_triplet_feature, training_preprocessing
from reid_dcs.runs.outside import check_outside_data
from reid_dcs.runtime import distributed
from reid_dcs.runtime.capture import check_capture
from reid_dcs.runtime.device import check_synchronized
from reid_dcs.weights import Preprocessing

Dataset = ListedDataset | JointDataset


class LoadedData(NamedTuple):
    """A data set and the data manager of its decoded images."""

    dataset: Dataset
    manager: InMemoryDataManager


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
    check_without_data(config, device, initial, is_resumed=bool(resumed))
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


def check_without_data(
    config: TrainRun,
    device: torch.device,
    initial: InitialWeights | None,
    *,
    is_resumed: bool = False,
) -> None:
    """Check the settings of a training as far as they can be before an image is read.

    Args:
        initial: weights that the run starts from.
        is_resumed: a checkpoint has the weights.

    Raises:
        InputError: a setting that does not fit the network, the device or another setting.
    """
    for name, (_, options) in _parts(config).items():
        find_dataset(name, options)
    check_phases(config)
    data = config.data
    for batch_size in (data.batch_size, *(phase.batch_size for phase in data.phases)):
        check_batch_size(batch_size or data.batch_size, data.num_instances)
    check_network(build_model, config, initial, is_resumed)
    check_triplet_feature(config)
    check_capture(config.train, device)
    if config.train.sync_bn:
        check_synchronized(device)


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
        crop=preprocessing.center_crop,
    )


def _stores(config: Run) -> Path | None:
    """Path prefix of the memory-mapped stores; None if images are decoded into memory."""
    data = config.data
    return store_prefix(data.root, data.name, data.options) if data.mapped else None
