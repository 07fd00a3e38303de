"""Augmentation of whole batches, from a store's uint8 pixels, on the training device.

A crop copies its rows from the store as bytes. Normalization and color jitter are a single affine
map per channel. On a CPU it is applied to a few images at a time, while they are in the cache; on
an accelerator to the whole batch at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD

_LUMA = (0.299, 0.587, 0.114)  # RGB weights of PIL's grayscale
_IN_CACHE = 2  # images per core that are normalized at once


def normalize(
    images: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """(x / 255 - mean) / std: (B, H, W, 3) uint8 -> (B, 3, H, W) float32, ``channels_last``."""
    return _to_floats(images, _Colors.normalization(mean, std, images.device))


@dataclass(frozen=True)
class Augmentation:
    """Random crop, flip, color jitter and erasing, drawn separately for each image.

    Attributes:
        flip: probability of a horizontal flip.
        padding: pixels of black around the image before a crop of its size.
        erasing: probability that a box is set to the mean color (Zhong et al., 2020): area 2 % to
            40 % of the image, height / width between 0.3 and 1/0.3, as in torchreid.
        brightness, contrast: the factor lies between 1 - value and 1 + value, as in torchvision's
            ``ColorJitter``; torchreid uses 0.2 and 0.15.
        mean, std: channel statistics of the normalization, for pixels in [0, 1].
    """

    flip: float = 0.5
    padding: int = 5
    erasing: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def __call__(
        self,
        store: Tensor,
        index: Tensor,
        random: torch.Generator,
        device: torch.device | None = None,
    ) -> Tensor:
        """Augment a batch of images of a store.

        Args:
            store: (N, H, W, 3) uint8, contiguous.
            index: (B,) indices of the images, on the CPU.
            random: generator on the CPU, so that all devices draw the same numbers.
            device: device of the batch; by default the store's.

        Returns:
            (B, 3, H, W) float32, normalized, ``channels_last``.
        """
        flip = torch.rand(len(index), 1, generator=random) < self.flip
        images = self._crop(store, index, flip, random, device or store.device)
        for i in flip.flatten().nonzero().flatten().tolist():
            images[i] = images[i].flip(1)
        batch, height, width, _ = images.shape
        boxes = self.boxes(batch, height, width, random)
        colors = self._colors(images, random)
        return _to_floats(images, colors, boxes.tolist())

    def _crop(
        self,
        store: Tensor,
        index: Tensor,
        flip: Tensor,
        random: torch.Generator,
        device: torch.device,
    ) -> Tensor:
        """Random crops (B, H, W, 3) uint8, padded with black.

        Images with ``flip``, (B, 1) bool, are flipped afterwards: their shift is mirrored here.
        """
        batch, (_, height, width, _), p = len(index), store.shape, self.padding
        dy = torch.randint(-p, p + 1, (batch, 1), generator=random)
        dx = torch.randint(-p, p + 1, (batch, 1), generator=random)
        dx = torch.where(flip, -dx, dx)
        rows, columns = torch.arange(height) + dy, torch.arange(width) + dx  # (B, H), (B, W)
        first = (index[:, None] * height + rows.clamp(0, height - 1)) * width + dx
        images = _read_rows(store, first.flatten(), device).view(batch, height, width * 3)
        images *= _inside(rows, height)[:, :, None].to(device)
        images *= _inside(columns, width).repeat_interleave(3, 1)[:, None].to(device)
        return images.view(batch, height, width, 3)

    def boxes(
        self, batch: int, height: int, width: int, random: torch.Generator, proposals: int = 16
    ) -> Tensor:
        """Erased boxes (B, 4): top, left, height, width; all 0 if an image has none."""
        area, ratio, y, x = torch.rand(4, batch, proposals, generator=random)
        area = height * width * (0.02 + 0.38 * area)
        ratio = 0.3 + (1 / 0.3 - 0.3) * ratio
        h, w = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (h < height) & (w < width)
        first = fits.int().argmax(1, keepdim=True)  # the first proposal that fits
        h, w, y, x, fits = (v.gather(1, first) for v in (h, w, y, x, fits))  # (B, 1)
        top, left = (y * (height - h + 1)).floor(), (x * (width - w + 1)).floor()
        chosen = fits & (torch.rand(batch, 1, generator=random) < self.erasing)
        return torch.cat([top, left, h, w], 1).where(chosen, 0).long()

    def _colors(self, images: Tensor, random: torch.Generator) -> "_Colors":
        """The color map of a batch (B, H, W, 3) uint8: color jitter, if any, then normalization."""
        plain = _Colors.normalization(self.mean, self.std, images.device)
        if not (self.brightness or self.contrast):
            return plain
        spread = torch.tensor([[self.brightness], [self.contrast]])
        factors = 1 + spread * (2 * torch.rand(2, len(images), generator=random) - 1)
        brightness, contrast = factors.to(images.device)[..., None]  # (B, 1) each
        _, height, width, _ = images.shape
        columns = images.flatten(2).sum(1, dtype=torch.float32)  # (B, W * 3)
        mean = columns.unflatten(1, (width, 3)).sum(1) / (height * width)  # (B, 3)
        gray = (mean * mean.new_tensor(_LUMA)).sum(1, keepdim=True)
        # jitter: brightness * (contrast * x + (1 - contrast) * gray)
        return _Colors(
            plain.scale * brightness * contrast,
            plain.scale * brightness * (1 - contrast) * gray + plain.offset,
            limits=(plain.offset[0], 255 * plain.scale[0] + plain.offset[0]),
        )


@dataclass(frozen=True)
class _Colors:
    """Affine color map: ``scale * byte + offset``, clamped to ``limits`` if given.

    Attributes:
        scale, offset: (B, 3), or (1, 3) for all images.
        limits: minimum and maximum of the result, (3,) each.
    """

    scale: Tensor
    offset: Tensor
    limits: tuple[Tensor, Tensor] | None = None

    @classmethod
    def normalization(
        cls, mean: Sequence[float], std: Sequence[float], device: torch.device
    ) -> "_Colors":
        means, stds = (torch.tensor(v, dtype=torch.float32, device=device) for v in (mean, std))
        return cls((1 / (255 * stds))[None], (-means / stds)[None])


def _read_rows(store: Tensor, first: Tensor, device: torch.device) -> Tensor:
    """Read W pixels from each start: (R,) pixel indices into the store -> (R, W * 3) uint8.

    Pixels before the beginning or after the end of the store are arbitrary.
    """
    width, row = store.shape[2], store.shape[2] * 3
    last = store.numel() // 3 - width
    rows = store.view(-1).as_strided((last + 1, row), (3, 1))
    start = first.clamp(0, last)
    found = rows.index_select(0, start.to(store.device)).to(device)
    for i in (first - start).nonzero().flatten().tolist():  # the store's first or last row
        found[i] = found[i].roll(3 * int(start[i] - first[i]))
    return found


def _inside(index: Tensor, size: int) -> Tensor:
    return ((index >= 0) & (index < size)).to(torch.uint8)


def _to_floats(
    images: Tensor,
    colors: _Colors,
    boxes: list[list[int]] | None = None,
) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, ``channels_last``, with ``boxes`` erased."""
    batch, height, width, _ = images.shape
    device = images.device
    result = torch.empty(batch, height, width, 3, device=device)
    scale, offset = (v.repeat(1, width)[:, None] for v in (colors.scale, colors.offset))
    limits = colors.limits and [v.repeat(width) for v in colors.limits]  # (W * 3,) each
    step = _IN_CACHE * torch.get_num_threads() if device.type == "cpu" else batch
    for first in range(0, batch, step):
        part = slice(first, first + step)
        pixels, floats = images[part], result[part].flatten(2)  # (b, H, W * 3)
        floats.copy_(pixels.flatten(2))
        torch.addcmul(_rows(offset, part), floats, _rows(scale, part), out=floats)
        if limits:
            floats.clamp_(*limits)
        for image, (top, left, h, w) in zip(floats, boxes[part] if boxes else (), strict=False):
            if h:
                image[top : top + h, 3 * left : 3 * (left + w)] = 0  # the mean color
    return result.permute(0, 3, 1, 2)


def _rows(colors: Tensor, part: slice) -> Tensor:
    """The rows of a part of the batch, or the single row that all images share."""
    return colors if len(colors) == 1 else colors[part]
