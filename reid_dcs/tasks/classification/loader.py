"""Batches of labelled images: shuffled and augmented for training, in order for evaluation.

What a training batch holds depends on the seed, the epoch and the index of the batch alone, not on
the number of workers, so that an epoch can be resumed within.
"""

import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid_dcs.data.image_files import max_pixels
from reid_dcs.errors import InputError
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import available_cores
from reid_dcs.tasks.classification.sources import LabelledImages
from reid_dcs.tasks.classification.transforms import Transform

MOST_WORKERS = 8  # by default


class Draw(NamedTuple):
    """An image, and the seed of its augmentation."""

    image: int
    """Its index."""
    seed: int


class Sample(NamedTuple):
    """An image of a batch. An unreadable one has no ``pixels`` but an ``error``, the reason."""

    pixels: Tensor | None  # (H, W, 3) uint8
    label: int
    name: str
    error: str = ""


Batch = dict[str, Any]
"""``images`` (B, H, W, 3) uint8, ``labels`` (B,) int64, and B ``names``.

``errors`` names the unreadable images of the batch, with the reason of each.
"""


class Samples(Dataset):
    """Decodes and transforms images, in the workers of a loader."""

    def __init__(self, images: LabelledImages, transform: Transform) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, draw: Draw) -> Sample:
        label, name = int(self.images.labels[draw.image]), self.images.names[draw.image]
        try:
            image = self.images.read(draw.image)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(draw.seed)
                return Sample(self.transform(image), label, name)
        except OSError as error:  # an exception would lose its name on the way out of a worker
            return Sample(None, label, name, str(error))


class TrainLoader:
    """Shuffled batches of one process, of the same number in every process.

    Args:
        images: the training images.
        transform: see :func:`reid_dcs.tasks.classification.transforms.training_transform`.
        batch_size: images of a batch of this process; the last, smaller batch is left out.
        seed: of the order and the augmentation.
        workers: processes that decode; 0: this one does; None: one a core, 8 at most.

    Raises:
        InputError: the images do not fill one batch.
    """

    def __init__(
        self,
        images: LabelledImages,
        transform: Transform,
        batch_size: int,
        seed: int,
        workers: int | None = None,
    ) -> None:
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.batches = len(images.names) // (batch_size * distributed.world_size())
        if not self.batches:
            raise InputError(
                f"data.batch_size={batch_size}: {len(images.names)} training images do not fill a "
                "batch: lower it"
            )
        self.set_epoch(0)
        self.loader = _loader(Samples(images, transform), _Draws(self), workers)

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch, and the batch that the next iteration begins with."""
        self.epoch, self.first_batch = epoch, first_batch

    def __len__(self) -> int:
        """Number of batches of a whole epoch."""
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


class _Draws:
    """Batches of draws of the epoch that a loader is set to."""

    def __init__(self, loader: TrainLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return self.loader.batches - self.loader.first_batch

    def __iter__(self) -> Iterator[list[Draw]]:
        loader = self.loader
        random = torch.Generator().manual_seed(2 * (loader.seed * 1_000_003 + loader.epoch))
        count = len(loader.images.names)
        order = torch.randperm(count, generator=random)
        seeds = torch.randint(2**62, (count,), generator=random)
        world, size = distributed.world_size(), loader.batch_size
        for batch in range(loader.first_batch, loader.batches):
            start = (batch * world + distributed.rank()) * size
            chosen = order[start : start + size]
            yield [
                Draw(i, seed)
                for i, seed in zip(chosen.tolist(), seeds[chosen].tolist(), strict=True)
            ]


def evaluation_loader(
    images: LabelledImages, transform: Transform, batch_size: int, workers: int | None = None
) -> DataLoader:
    """Batches of this process's part of the images, in order."""
    own = range(len(images.names))[distributed.rank_slice()]
    draws = [Draw(index, 0) for index in own]
    batches = [draws[i : i + batch_size] for i in range(0, len(draws), batch_size)]
    return _loader(Samples(images, transform), batches, workers)


def _loader(samples: Samples, batches: Any, workers: int | None) -> DataLoader:
    max_pixels()  # a wrong limit is refused here, and not in a worker, where the line is lost
    if workers is None:
        workers = min(MOST_WORKERS, available_cores())
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # each iteration draws from it, not from the run's
    )


def _start_worker(number: int) -> None:
    """Leave signals to the main process, which saves the run and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _collate(samples: Sequence[Sample]) -> Batch:
    batch: Batch = {
        "images": torch.stack([s.pixels for s in samples if s.pixels is not None])
        if any(s.pixels is not None for s in samples)
        else torch.empty(0),
        "labels": torch.tensor([s.label for s in samples]),
        "names": [s.name for s in samples],
        "errors": [f"{s.name} ({s.error})" for s in samples if s.pixels is None],
    }
    return batch


def check_readable(batch: Mapping[str, Any]) -> None:
    """Check that every image of a batch was read.

    Raises:
        InputError: some were not; it names them.
    """
    if errors := batch["errors"]:
        raise InputError(
            f"{len(errors)} unreadable or truncated image(s) in a batch: {', '.join(errors[:5])}"
            f"{', ...' if len(errors) > 5 else ''}; replace or remove them"
        )
