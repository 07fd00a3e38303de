"""Augmentation of whole batches on the device that trains: one gather, then one erased box."""

from dataclasses import dataclass

import torch
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in ``channels_last``, by ImageNet statistics."""
    mean = 255 * torch.tensor(IMAGENET_MEAN, device=images.device)
    std = 255 * torch.tensor(IMAGENET_STD, device=images.device)
    return ((images - mean) / std).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Augmentation:
    """Random horizontal flip, pad-and-crop and random erasing, drawn for each image.

    Attributes:
        flip: probability of a flip.
        padding: pixels of black around the image before a crop of its size.
        erasing: probability that one box becomes the mean colour (Zhong et al., 2020): area 2 %
            to 40 % of the image, height to width 0.3 to 1/0.3, as in torchreid.
    """

    flip: float = 0.5
    padding: int = 5
    erasing: float = 0.5

    def __call__(self, images: Tensor, random: torch.Generator) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, normalised, ``channels_last``."""
        images = normalise(self._flip_and_crop(images, random))
        return images.masked_fill(self._boxes(images, random), 0)  # zero is the mean colour

    def _flip_and_crop(self, images: Tensor, random: torch.Generator) -> Tensor:
        batch, height, width, _ = images.shape
        device, p = images.device, self.padding
        flip = torch.rand(batch, 1, generator=random).to(device) < self.flip
        dy = torch.randint(-p, p + 1, (batch, 1), generator=random).to(device)
        dx = torch.randint(-p, p + 1, (batch, 1), generator=random).to(device)
        rows = torch.arange(height, device=device) + dy  # (B, H)
        columns = torch.arange(width, device=device) + dx  # (B, W)
        black = _outside(rows, height)[:, :, None] | _outside(columns, width)[:, None, :]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        columns = torch.where(flip, width - 1 - columns, columns)
        index = torch.arange(batch, device=device)[:, None, None]
        cropped = images[index, rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)
        return cropped.masked_fill_(black[..., None], 0)

    def _boxes(self, images: Tensor, random: torch.Generator, proposals: int = 16) -> Tensor:
        """(B, 1, H, W) bool: what is erased; nothing where no proposed box fits."""
        batch, _, height, width = images.shape
        area, ratio, y, x = torch.rand(4, batch, proposals, generator=random)
        area = height * width * (0.02 + 0.38 * area)
        ratio = 0.3 + (1 / 0.3 - 0.3) * ratio
        h, w = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (h < height) & (w < width)
        first = fits.int().argmax(1, keepdim=True)  # the first proposal that fits
        h, w, y, x, fits = (v.gather(1, first) for v in (h, w, y, x, fits))  # (B, 1)
        top, left = (y * (height - h + 1)).floor(), (x * (width - w + 1)).floor()
        chosen = fits & (torch.rand(batch, 1, generator=random) < self.erasing)
        rows, columns = torch.arange(height), torch.arange(width)
        inside_y = (rows >= top) & (rows < top + h) & chosen  # (B, H)
        inside_x = (columns >= left) & (columns < left + w)  # (B, W)
        return (inside_y[:, None, :, None] & inside_x[:, None, None, :]).to(images.device)


def _outside(index: Tensor, size: int) -> Tensor:
    return (index < 0) | (index >= size)
