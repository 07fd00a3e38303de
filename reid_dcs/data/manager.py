"""torchreid data manager over decoded image stores: training and test loaders of an engine."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torchreid import data as torchreid_data

from reid_dcs.config.settings import PhaseConfig
from reid_dcs.data.augment import Augmentation, normalize
from reid_dcs.data.fingerprint import DataFingerprint
from reid_dcs.data.mixup import mixup
from reid_dcs.data.phases import Phase, PhasedLoader
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.data.store import ImageStore, store_file
from reid_dcs.runtime.device import send
from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD, Interpolation

Batch = dict[str, Any]
"""Batch as in torchreid: ``img`` (B, 3, H, W); ``pid``, ``camid``, ``dsetid`` (B,); ``impath``."""


class TrainLoader:
    """Augmented P x K batches of a store; ``set_epoch`` sets their order and random seeds.

    The generator of each batch is seeded separately, so an epoch can be resumed at any batch.

    Args:
        store: training images.
        sampler: P x K batches of image indices.
        augmentation: augmentation of each image.
        device: device of the batches.
        mixup: alpha of mixup; 0 disables it. Otherwise batches also contain ``partner`` and
            ``weight``; see :class:`reid_dcs.data.mixup.Mixed`.
    """

    def __init__(
        self,
        store: ImageStore,
        sampler: IdentitySampler,
        augmentation: Augmentation,
        device: torch.device,
        mixup: float = 0.0,
    ) -> None:
        self.store, self.sampler = store, sampler
        self.augmentation, self.device, self.mixup = augmentation, device, mixup
        self.first_batch = 0

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Set the epoch, and the batch of it, at which the next iteration starts."""
        self.sampler.set_epoch(epoch)
        self.first_batch = first_batch

    def __len__(self) -> int:
        return len(self.sampler)

    def epoch_lengths(self, epochs: int) -> list[int]:
        """Number of batches of each of the first ``epochs`` epochs."""
        return [len(self)] * epochs

    def __iter__(self) -> Iterator[Batch]:
        world_size, rank = self.sampler.world_size, self.sampler.rank
        first_seed = (self.sampler.epoch_seed * world_size + rank) * len(self)
        for number, index in enumerate(self.sampler):
            if number < self.first_batch:
                continue
            seed = -1 - first_seed - number  # negative: not the sampler's
            random = torch.Generator().manual_seed(seed % 2**64)
            images = self.augmentation(self.store.images, index, random, self.device)
            batch = _batch(self.store, index, images)
            if self.mixup:
                mixed = mixup(images, batch["pid"], self.mixup, random)
                batch |= {"img": mixed.images, "partner": mixed.partners, "weight": mixed.weight}
            yield batch


class TestLoader:
    """Images of a store, in order, normalized by ``mean`` and ``std``, without augmentation.

    Args:
        store: test images.
        batch_size: number of images in a batch.
        device: device of the batches.
        sharded: the store holds this rank's part of the images; parts are in rank order.
    """

    __test__ = False  # keeps pytest from collecting the class

    def __init__(
        self,
        store: ImageStore,
        batch_size: int,
        device: torch.device,
        sharded: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        self.store, self.batch_size, self.device = store, batch_size, device
        self.sharded, self.mean, self.std = sharded, mean, std

    def __len__(self) -> int:
        return -(-len(self.store) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.store), self.batch_size):
            index = torch.arange(start, min(start + self.batch_size, len(self.store)))
            images = send(self.store.images[index[0] : index[-1] + 1], self.device)
            yield _batch(self.store, index, normalize(images, self.mean, self.std))


class InMemoryDataManager(torchreid_data.datamanager.DataManager):
    """Data manager of one data set that is decoded once; loaders as in torchreid.

    Args:
        name: name of the data set.
        dataset: any torchreid image data set, or a joint one, whose parts are tested each alone.
        height, width: input size of the network, in pixels.
        batch_size, num_instances: P * K and K of training batches; see :class:`IdentitySampler`.
        test_batch_size: number of images in a test batch.
        augmentation: training augmentation; test images are normalized by its mean and std.
        device: device of the batches; a store that fits into its memory is moved there.
        mixup: alpha of mixup; 0 disables it.
        mapped: path prefix of memory-mapped stores, such as ``<mapped>-train-256x128.npy``,
            which are written if missing or out of date; None decodes into memory.
        seed: random seed of sampling and augmentation.
        rank, world_size: rank of this process and number of processes. Each rank gets its own
            training batches and a contiguous part of the query and gallery images.
        interpolation: resampling filter of the resize.
        phases: first epochs of the training at other sizes; those that follow have ``height`` x
            ``width``. Each phase decodes the training images anew, at its size, when it begins.

    Raises:
        InputError: unreadable images, or too few images for one batch.
    """

    data_type = "image"
    train_loader: TrainLoader | PhasedLoader
    fingerprints: Mapping[str, DataFingerprint] = MappingProxyType({})
    """Fingerprints of the data sets, which checkpoints store."""

    def __init__(
        self,
        name: str,
        dataset: torchreid_data.ImageDataset,
        *,
        height: int,
        width: int,
        batch_size: int,
        num_instances: int,
        test_batch_size: int,
        augmentation: Augmentation,
        device: torch.device,
        mixup: float = 0.0,
        mapped: Path | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        interpolation: Interpolation = "bilinear",
        phases: Sequence[PhaseConfig] = (),
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # torchreid prints its transforms
            super().__init__(name, height=height, width=width, use_gpu=device.type == "cuda")
        self._num_train_pids, self._num_train_cams = dataset.num_train_pids, dataset.num_train_cams
        pids = torch.tensor([item[1] for item in dataset.train])

        def phase(part: PhaseConfig) -> Phase:
            batch = part.batch_size or batch_size
            sampler = IdentitySampler(pids, batch, num_instances, seed, rank, world_size)
            padding = augmentation.padding if part.padding is None else part.padding

            def store() -> ImageStore:
                size = (part.height, part.width, interpolation)
                return _store(dataset.train, *size, "train", mapped)

            def loader() -> TrainLoader:
                augment = replace(augmentation, padding=padding)
                return TrainLoader(store().on(device), sampler, augment, device, mixup)

            if mapped and phases:  # written now, while the other processes wait
                store()
            return Phase(part.epochs, len(sampler), loader)

        *first, last = (phase(part) for part in (*phases, PhaseConfig(1, height, width)))
        self.train_loader = PhasedLoader(first, last) if first else last.open()
        parts: Mapping[str, torchreid_data.ImageDataset] = getattr(
            dataset, "parts", {name: dataset}
        )
        self.test_dataset = {
            part: {"query": tested.query, "gallery": tested.gallery}
            for part, tested in parts.items()
        }
        self.test_loader = {
            part: build_test_loaders(
                tested,
                height=height,
                width=width,
                batch_size=test_batch_size,
                device=device,
                mapped=mapped.with_name(f"{mapped.name}-{part}")
                if mapped and part != name
                else mapped,
                rank=rank,
                world_size=world_size,
                mean=augmentation.mean,
                std=augmentation.std,
                interpolation=interpolation,
            )
            for part, tested in parts.items()
        }


def build_test_loaders(
    dataset: torchreid_data.ImageDataset,
    *,
    height: int,
    width: int,
    batch_size: int,
    device: torch.device,
    mapped: Path | None = None,
    rank: int = 0,
    world_size: int = 1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    interpolation: Interpolation = "bilinear",
    crop: float = 0.0,
) -> dict[str, TestLoader]:
    """Loaders of ``"query"`` and ``"gallery"``, decoded once.

    Args:
        dataset: any torchreid image data set.
        batch_size: number of images in a batch.
        mean, std: channel statistics of the normalization.
        crop: see :func:`reid_dcs.data.decode.resize`.

    The other arguments are those of :class:`InMemoryDataManager`.

    Raises:
        InputError: unreadable images.
    """
    loaders = {}
    for split, items in {"query": dataset.query, "gallery": dataset.gallery}.items():
        part = slice(*(len(items) * i // world_size for i in (rank, rank + 1)))
        size = (height, width, interpolation, split, mapped, part, crop)
        store = _store(items, *size).on(device)
        loaders[split] = TestLoader(store, batch_size, device, world_size > 1, mean, std)
    return loaders


def _store(
    items: Sequence[tuple[str, int, int, int]],
    height: int,
    width: int,
    interpolation: Interpolation,
    split: str,
    mapped: Path | None,
    part: slice = slice(None),
    crop: float = 0.0,
) -> ImageStore:
    if mapped is None:
        return ImageStore.decode(items[part], height, width, split, interpolation, crop)
    file = store_file(mapped, split, height, width, interpolation)
    return ImageStore.mapped(items, height, width, file, interpolation, crop).part(part)


def _batch(store: ImageStore, index: Tensor, images: Tensor) -> Batch:
    return {
        "img": images,
        "pid": store.pids[index],
        "camid": store.camids[index],
        "dsetid": store.dsetids[index],
        "impath": [store.paths[i] for i in index.tolist()],
    }
