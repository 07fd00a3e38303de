"""torchreid's data manager over decoded stores: what an engine draws its batches from."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchreid import data as torchreid_data

from reid_dcs.data.augment import Augmentation, normalize
from reid_dcs.data.mixup import mixup
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.data.store import ImageStore, store_file
from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD, Interpolation

Batch = dict[str, Any]
"""torchreid's batch: ``img`` (B, 3, H, W), ``pid``, ``camid``, ``dsetid`` (B,), ``impath``."""


class TrainLoader:
    """Augmented P x K batches of a store; ``set_epoch`` chooses the order and the randomness.

    Each batch draws from a generator of its own, so that an epoch can be taken up at any batch.
    With ``mixup`` above 0, its alpha, a batch also has ``partner`` and ``weight``: see
    :class:`reid_dcs.data.mixup.Mixed`.
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
        """Choose the epoch, and the batch of it, where the next iteration begins."""
        self.sampler.set_epoch(epoch)
        self.first_batch = first_batch

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        ranks, rank = self.sampler.world_size, self.sampler.rank
        first = (self.sampler.epoch_seed * ranks + rank) * len(self)
        for number, index in enumerate(self.sampler):
            if number < self.first_batch:
                continue
            random = torch.Generator().manual_seed(-1 - first - number)  # not the order's
            images = self.augmentation(self.store.images, index, random, self.device)
            batch = _batch(self.store, index, images)
            if self.mixup:
                mixed = mixup(images, batch["pid"], self.mixup, random)
                batch |= {"img": mixed.images, "partner": mixed.partners, "weight": mixed.weight}
            yield batch


class TestLoader:
    """The images of a store in order, normalized by ``mean`` and ``std`` and not augmented.

    ``sharded`` says that the store holds one process's part of them, in the order of ranks.
    """

    __test__ = False  # not a test, whatever its name makes pytest think

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
        for index in torch.arange(len(self.store)).split(self.batch_size):
            images = self.store.images[index[0] : index[-1] + 1].to(self.device)
            yield _batch(self.store, index, normalize(images, self.mean, self.std))


class InMemoryDataManager(torchreid_data.datamanager.DataManager):
    """One data set, decoded once; loaders with torchreid's names and batches.

    Args:
        name: of the data set.
        dataset: any torchreid image data set.
        height, width: of the network's input.
        mean, std: of the three channels, for the normalization of test images; training images
            have those of ``augmentation``.
        interpolation: of the resizing.
        batch_size, num_instances: of training, P * K and K; see :class:`IdentitySampler`.
        test_batch_size: of evaluation.
        augmentation: of training.
        device: where batches are made, and where a store lies that fits there.
        mixup: alpha of the blending of training images; 0 blends none.
        mapped: feed from files beginning like this, ``<mapped>-train-256x128.npy``, written where
            they are not there or not up to date; None decodes into memory.
        seed: of sampling and augmentation.
        rank, world_size: which of how many processes that work together this is; each has its
            batches of the training split, and a part of the others.
        train: False leaves the training split undecoded and ``train_loader`` None.

    Raises:
        InputError: unreadable images, or too few of them for a batch.
    """

    data_type = "image"

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
        train: bool = True,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        size = (height, width, interpolation)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the transforms, unused here
            super().__init__(name, height=height, width=width, use_gpu=device.type == "cuda")
        self._num_train_pids, self._num_train_cams = dataset.num_train_pids, dataset.num_train_cams
        self.train_loader = None
        if train:
            store = _store(dataset.train, *size, "train", mapped).on(device)
            sampler = IdentitySampler(store.pids, batch_size, num_instances, seed, rank, world_size)
            self.train_loader = TrainLoader(store, sampler, augmentation, device, mixup)
        self.test_dataset = {name: {"query": dataset.query, "gallery": dataset.gallery}}
        self.test_loader = {name: {}}
        for split, items in self.test_dataset[name].items():
            part = slice(*(len(items) * i // world_size for i in (rank, rank + 1)))
            store = _store(items, *size, split, mapped, part).on(device)
            loader = TestLoader(store, test_batch_size, device, world_size > 1, mean, std)
            self.test_loader[name][split] = loader


def _store(
    items: Sequence[tuple[str, int, int, int]],
    height: int,
    width: int,
    interpolation: Interpolation,
    split: str,
    mapped: Path | None,
    part: slice = slice(None),
) -> ImageStore:
    if mapped is None:
        return ImageStore.decode(items[part], height, width, split, interpolation)
    file = store_file(mapped, split, height, width, interpolation)
    return ImageStore.mapped(items, height, width, file, interpolation).part(part)


def _batch(store: ImageStore, index: Tensor, images: Tensor) -> Batch:
    return {
        "img": images,
        "pid": store.pids[index],
        "camid": store.camids[index],
        "dsetid": store.dsetids[index],
        "impath": [store.paths[i] for i in index.tolist()],
    }
