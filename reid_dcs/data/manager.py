"""torchreid's data manager over stores in memory: what an engine draws its batches from."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchreid import data as torchreid_data

from reid_dcs.data.augment import Augmentation, normalise
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.data.store import ImageStore

Batch = dict[str, Any]
"""torchreid's batch: ``img`` (B, 3, H, W), ``pid``, ``camid``, ``dsetid`` (B,), ``impath``."""


class TrainLoader:
    """Augmented P x K batches of a store; ``set_epoch`` chooses the order and the randomness."""

    def __init__(
        self,
        store: ImageStore,
        sampler: IdentitySampler,
        augmentation: Augmentation,
        device: torch.device,
    ) -> None:
        self.store, self.sampler = store, sampler
        self.augmentation, self.device = augmentation, device

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        random = torch.Generator().manual_seed(-1 - self.sampler.epoch_seed)  # not the order's
        for index in self.sampler:
            images = self.store.images[index].to(self.device)
            yield _batch(self.store, index, self.augmentation(images, random))


class TestLoader:
    """The images of a store in order, normalised and not augmented."""

    __test__ = False  # not a test, whatever its name makes pytest think

    def __init__(self, store: ImageStore, batch_size: int, device: torch.device) -> None:
        self.store, self.batch_size, self.device = store, batch_size, device

    def __len__(self) -> int:
        return -(-len(self.store) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for index in torch.arange(len(self.store)).split(self.batch_size):
            images = self.store.images[index[0] : index[-1] + 1].to(self.device)
            yield _batch(self.store, index, normalise(images))


class InMemoryDataManager(torchreid_data.datamanager.DataManager):
    """One data set, decoded once; loaders with torchreid's names and batches.

    Args:
        name: of the data set.
        dataset: any torchreid image data set.
        height, width: of the network's input.
        batch_size, num_instances: of training, P * K and K; see :class:`IdentitySampler`.
        test_batch_size: of evaluation.
        augmentation: of training.
        device: where batches are made.
        seed: of sampling and augmentation.
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
        seed: int = 0,
        train: bool = True,
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the transforms, unused here
            super().__init__(name, height=height, width=width, use_gpu=device.type == "cuda")
        self._num_train_pids, self._num_train_cams = dataset.num_train_pids, dataset.num_train_cams
        self.train_loader = None
        if train:
            store = ImageStore.decode(dataset.train, height, width, "train")
            sampler = IdentitySampler(store.pids, batch_size, num_instances, seed)
            self.train_loader = TrainLoader(store, sampler, augmentation, device)
        self.test_dataset = {name: {"query": dataset.query, "gallery": dataset.gallery}}
        self.test_loader = {
            name: {
                split: TestLoader(
                    ImageStore.decode(items, height, width, split), test_batch_size, device
                )
                for split, items in self.test_dataset[name].items()
            }
        }


def _batch(store: ImageStore, index: Tensor, images: Tensor) -> Batch:
    return {
        "img": images,
        "pid": store.pids[index],
        "camid": store.camids[index],
        "dsetid": store.dsetids[index],
        "impath": [store.paths[i] for i in index.tolist()],
    }
