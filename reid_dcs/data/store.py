"""Image stores: a split decoded once to uint8, in memory or in a memory-mapped file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid_dcs.data.decode import read_images
from reid_dcs.data.mapped import mapped_images
from reid_dcs.files import create_folder
from reid_dcs.weights.card import Interpolation


@dataclass(frozen=True)
class ImageStore:
    """Decoded images of a split and their labels.

    Attributes:
        images: (N, H, W, 3) uint8, RGB.
        pids, camids, dsetids: (N,) int64; see torchreid's data sets.
        paths: N file names.
    """

    images: Tensor
    pids: Tensor
    camids: Tensor
    dsetids: Tensor
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def decode(
        cls,
        items: Sequence[tuple[str, int, int, int]],
        height: int,
        width: int,
        name: str,
        interpolation: Interpolation = "bilinear",
        crop: float = 0.0,
    ) -> "ImageStore":
        """Decode a split into memory at ``height`` x ``width``.

        Args:
            items: ``(path, pid, camid, dsetid)``, as in ``ImageDataset.query``.
            name: shown in the progress bar and in the error.
            interpolation: resampling filter of the resize.
            crop: see :func:`reid_dcs.data.decode.resize`.

        Raises:
            InputError: unreadable or truncated images.
        """
        paths, pids, camids, dsetids = zip(*items, strict=True) if items else ((), (), (), ())
        images = torch.empty(len(paths), height, width, 3, dtype=torch.uint8)
        for i, pixels in enumerate(read_images(paths, height, width, name, interpolation, crop)):
            images.numpy()[i] = pixels
        return cls(images, _numbers(pids), _numbers(camids), _numbers(dsetids), paths)

    @classmethod
    def mapped(
        cls,
        items: Sequence[tuple[str, int, int, int]],
        height: int,
        width: int,
        file: Path,
        interpolation: Interpolation = "bilinear",
        crop: float = 0.0,
    ) -> "ImageStore":
        """Map ``file``, which is written first if it is missing, damaged or out of date.

        Pages are read from disk when they are accessed, so the split may be larger than memory.

        Raises:
            InputError: unreadable images, or ``file`` cannot be written.
        """
        paths, pids, camids, dsetids = zip(*items, strict=True)
        create_folder(file.parent)
        images = torch.from_numpy(mapped_images(file, paths, height, width, interpolation, crop))
        return cls(images, _numbers(pids), _numbers(camids), _numbers(dsetids), paths)

    def part(self, rows: slice) -> "ImageStore":
        """A slice of the images, without copying them."""
        labels = (self.pids[rows], self.camids[rows], self.dsetids[rows])
        return ImageStore(self.images[rows], *labels, self.paths[rows])

    def on(self, device: torch.device) -> "ImageStore":
        """Move the images to an accelerator if they take at most half of its free memory."""
        if device.type != "cuda" or 2 * self.images.nbytes > torch.cuda.mem_get_info(device)[0]:
            return self
        return replace(self, images=self.images.to(device))


def _numbers(labels: Sequence[int]) -> Tensor:
    return torch.tensor(labels, dtype=torch.int64)


def store_prefix(root: str, name: str, options: Mapping[str, Any]) -> Path:
    """Path prefix of a data set's stores: ``<root>/stores/<name>`` and its options."""
    suffix = "".join(f"-{key}={options[key]}" for key in sorted(options))
    if "/" in suffix or len(suffix) > 100:  # no part of a file's name
        suffix = f"-{hashlib.blake2b(suffix.encode(), digest_size=8).hexdigest()}"
    return Path(root, "stores", name + suffix)


def store_file(
    prefix: Path, split: str, height: int, width: int, interpolation: Interpolation = "bilinear"
) -> Path:
    """Path of the store of a split at a size."""
    suffix = "" if interpolation == "bilinear" else f"-{interpolation}"
    return prefix.with_name(f"{prefix.name}-{split}-{height}x{width}{suffix}.npy")
