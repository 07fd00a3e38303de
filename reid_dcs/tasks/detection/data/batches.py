"""Training batches: images decoded ahead, flipped and cropped, with their boxes and masks."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid_dcs.data.decode import read_pixels
from reid_dcs.data.image_files import ImageRefused
from reid_dcs.errors import InputError
from reid_dcs.tasks.detection.data.annotations import AnnotatedImage, Annotations
from reid_dcs.tasks.detection.data.masks import decode

AHEAD = 2  # batches decoded in advance
CROP_SCALES, CROP_RANGE = (400, 500, 600), (384, 600)
"""ConvNeXt's recipe: the shorter side is resized to one of these, then a crop has sides in this
range; both policies end with the random resize of the network."""


class Batch(NamedTuple):
    """Images of a batch, (3, H, W) uint8 each, their targets and their names."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]
    names: list[str]


class DetectionLoader:
    """Batches of an epoch, shuffled by the seed and the epoch; the same whenever it is resumed.

    Args:
        annotations: of the training split.
        batch_size: images of a batch in this process.
        flip, crop: probabilities of a horizontal flip and of a crop.
        seed: of order and augmentation.
        rank, world_size: of this process; all get batches of the same number.
        workers: threads that decode.
    """

    def __init__(
        self,
        annotations: Annotations,
        batch_size: int,
        *,
        flip: float = 0.5,
        crop: float = 0.0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 2,
    ) -> None:
        self.images, self.batch_size = annotations.images, batch_size
        self.flip, self.crop, self.seed = flip, crop, seed
        self.rank, self.world_size, self.workers = rank, world_size, workers
        self.epoch, self.first_batch = 0, 0

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch, and the batch of it to begin with."""
        self.epoch, self.first_batch = epoch, first_batch

    def __len__(self) -> int:
        """Number of batches of an epoch; the last one is filled up with the first images."""
        return -(-len(self.images) // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[Batch]:
        indices = self.indices()
        with ThreadPoolExecutor(self.workers) as pool:
            batches = (
                [pool.submit(self.load, int(index)) for index in batch]
                for batch in indices[self.first_batch :]
            )
            waiting = deque(islice(batches, AHEAD))
            while waiting:
                loaded = [future.result() for future in waiting.popleft()]
                waiting.extend(islice(batches, 1))
                yield Batch(*map(list, zip(*loaded, strict=True)))

    def indices(self) -> np.ndarray:
        """Indices of the images of this process's batches, (batches, batch_size)."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.images))
        order = np.resize(order, (len(self), self.world_size, self.batch_size))
        return order[:, self.rank]

    def load(self, index: int) -> tuple[Tensor, dict[str, Tensor], str]:
        """Image (3, H, W) uint8, target and name, augmented as in this epoch."""
        rng = np.random.default_rng([self.seed, self.epoch, index])
        annotated = self.images[index]
        image, target = load_image(annotated), load_target(annotated)
        if rng.random() < self.flip:
            image, target = flipped(image, target)
        if rng.random() < self.crop:
            image, target = cropped(image, target, *crop_of(image.shape[1:], rng))
        return image, target, str(annotated.path)


def load_image(annotated: AnnotatedImage) -> Tensor:
    """Decode an image, (3, H, W) uint8 RGB.

    Raises:
        InputError: unreadable, or of another size than the annotations say.
    """
    try:
        pixels = read_pixels(annotated.path)
    except ImageRefused as error:
        raise InputError(f"{annotated.path}: {error}; replace it") from error
    except OSError as error:
        raise InputError(f"{annotated.path} is unreadable or truncated; replace it") from error
    if pixels.shape[:2] != (annotated.height, annotated.width):
        raise InputError(
            f"{annotated.path} has {pixels.shape[0]}x{pixels.shape[1]} pixels, and "
            f"{annotated.height}x{annotated.width} in its annotations: correct them"
        )
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


def load_target(annotated: AnnotatedImage) -> dict[str, Tensor]:
    """``boxes`` (n, 4), ``labels`` (n,) and ``masks`` (n, H, W) of an image, without its crowds.

    The mask of an object of which only the box is known is empty.
    """
    things = [thing for thing in annotated.things if not thing.crowd]
    size = annotated.height, annotated.width
    masks = np.zeros((len(things), *size), np.uint8)
    for mask, thing in zip(masks, things, strict=True):
        if thing.segmentation is not None:
            mask[:] = decode(thing.segmentation, *size)
    return {
        "boxes": torch.tensor([thing.box for thing in things]).float().reshape(-1, 4),
        "labels": torch.tensor([thing.label for thing in things], dtype=torch.int64),
        "masks": torch.from_numpy(masks),
    }


def flipped(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mirror an image (3, H, W) and its target."""
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    width = image.shape[2]
    boxes = torch.stack([width - x2, y1, width - x1, y2], dim=1)
    return image.flip(2), target | {"boxes": boxes, "masks": target["masks"].flip(2)}


def crop_of(size: Sequence[int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A random crop as in ConvNeXt's recipe: top, left, height and width in pixels."""
    scale = min(size) / rng.choice(CROP_SCALES)
    height, width = (
        min(side, max(1, round(scale * rng.integers(CROP_RANGE[0], CROP_RANGE[1] + 1))))
        for side in size
    )
    top, left = rng.integers(0, size[0] - height + 1), rng.integers(0, size[1] - width + 1)
    return int(top), int(left), height, width


def cropped(
    image: Tensor, target: dict[str, Tensor], top: int, left: int, height: int, width: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cut out a part of an image and its target; objects outside are dropped.

    A crop that would leave no object of an image that has some is not made.
    """
    boxes = target["boxes"] - torch.tensor([left, top, left, top])
    boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    inside = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
    if len(boxes) and not inside.any():
        return image, target
    rows, columns = slice(top, top + height), slice(left, left + width)
    return image[:, rows, columns], {
        "boxes": boxes[inside],
        "labels": target["labels"][inside],
        "masks": target["masks"][inside][:, rows, columns],
    }
