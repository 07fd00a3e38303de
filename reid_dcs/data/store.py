"""Decode once: every image of a split as uint8 in memory, and every bad file named at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from reid_dcs.errors import InputError


@dataclass(frozen=True)
class ImageStore:
    """The decoded images of a split, with what is known of each.

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
        cls, items: Sequence[tuple[str, int, int, int]], height: int, width: int, name: str
    ) -> "ImageStore":
        """Read every image of a torchreid split at ``height`` x ``width``.

        Resized as torchreid's test transform does: by PIL, bilinear.

        Args:
            items: ``(path, pid, camid, dsetid)``, as in ``ImageDataset.query``.
            name: shown beside the progress bar.

        Raises:
            InputError: unreadable or truncated images, counted and named.
        """
        paths, pids, camids, dsetids = zip(*items, strict=True)
        images = torch.empty(len(paths), height, width, 3, dtype=torch.uint8)

        def read(i: int) -> str | None:
            try:
                images[i] = torch.from_numpy(_read(paths[i], height, width))
            except OSError:  # PIL's errors are OSErrors too
                return paths[i]
            return None

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(read, range(len(paths)))
            bar = tqdm(results, f"decode {name}", len(paths), unit="img", leave=False, disable=None)
            unreadable = [path for path in bar if path is not None]
        if unreadable:
            raise InputError(
                f"{len(unreadable)} unreadable or truncated image(s) in {name}: "
                f"{', '.join(unreadable[:5])}{', ...' if len(unreadable) > 5 else ''}; "
                "replace or remove them"
            )
        return cls(images, *(torch.tensor(v) for v in (pids, camids, dsetids)), paths)


def _read(path: str, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8, RGB."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
        if rgb.size != (width, height):
            rgb = rgb.resize((width, height), Image.Resampling.BILINEAR)
        return np.array(rgb)
