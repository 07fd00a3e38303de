"""Augmentation of whole batches, from a store's uint8 pixels, on the device that trains.

A crop reads its rows straight out of the store; flip and crop are done on bytes; one affine map
then normalises, with the colour jitter folded into it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LUMA = (0.299, 0.587, 0.114)  # of PIL's greyscale
_IN_CACHE = 2  # images mapped at once by a core: their floats stay in its cache


def normalise(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in ``channels_last``, by ImageNet statistics."""
    mean, std = _statistics(images.device)
    scale, offset = (v.expand(len(images), 3) for v in (1 / std, -mean / std))
    return _affine(images, scale, offset)


@dataclass(frozen=True)
class Augmentation:
    """What training does to each image, drawn for each on its own.

    Attributes:
        flip: probability of a horizontal flip.
        padding: pixels of black around the image before a crop of its size.
        erasing: probability that one box becomes the mean colour (Zhong et al., 2020): area 2 %
            to 40 % of the image, height to width 0.3 to 1/0.3, as in torchreid.
        brightness, contrast: a factor between 1 - value and 1 + value, as in torchvision's
            ``ColorJitter``; torchreid has 0.2 and 0.15.
    """

    flip: float = 0.5
    padding: int = 5
    erasing: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0

    def __call__(
        self,
        store: Tensor,
        index: Tensor,
        random: torch.Generator,
        device: torch.device | None = None,
    ) -> Tensor:
        """Draw a batch of images of a store.

        Args:
            store: (N, H, W, 3) uint8, contiguous.
            index: (B,) of the images, on the CPU.
            random: on the CPU, so that every device draws the same.
            device: where the batch is made; by default the store's.

        Returns:
            (B, 3, H, W) float32, normalised, ``channels_last``.
        """
        images = self.flip_and_crop(store, index, random, device or store.device)
        boxes = self.boxes(len(index), *images.shape[1:3], random)
        batch = self._jitter(images, random)
        for image, (top, left, height, width) in zip(batch, boxes.tolist(), strict=True):
            if height:
                image[:, top : top + height, left : left + width] = 0  # the mean colour
        return batch

    def flip_and_crop(
        self, store: Tensor, index: Tensor, random: torch.Generator, device: torch.device
    ) -> Tensor:
        """(B, H, W, 3) uint8."""
        batch, (_, height, width, _), p = len(index), store.shape, self.padding
        flip = torch.rand(batch, 1, generator=random) < self.flip
        dy = torch.randint(-p, p + 1, (batch, 1), generator=random)
        dx = torch.randint(-p, p + 1, (batch, 1), generator=random)
        dx = torch.where(flip, -dx, dx)  # the flip comes last
        rows, columns = torch.arange(height) + dy, torch.arange(width) + dx  # (B, H), (B, W)
        first = (index[:, None] * height + rows.clamp(0, height - 1)) * width + dx
        images = _windows(store, first.flatten(), device).view(batch, height, width * 3)
        inside_y, inside_x = _inside(rows, height), _inside(columns, width)
        images *= inside_y[:, :, None].to(device)
        images *= inside_x.repeat_interleave(3, 1)[:, None].to(device)
        images = images.view(batch, height, width, 3)
        for i in flip.flatten().nonzero().flatten().tolist():
            images[i] = images[i].flip(1)
        return images

    def boxes(
        self, batch: int, height: int, width: int, random: torch.Generator, proposals: int = 16
    ) -> Tensor:
        """(B, 4) what is erased: top, left, height, width; height 0 where nothing is."""
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

    def _jitter(self, images: Tensor, random: torch.Generator) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, normalised."""
        if not (self.brightness or self.contrast):
            return normalise(images)
        spread = torch.tensor([[self.brightness], [self.contrast]])
        factors = 1 + spread * (2 * torch.rand(2, len(images), generator=random) - 1)
        brightness, contrast = factors.to(images.device)[..., None]  # (B, 1) each
        _, height, width, _ = images.shape
        columns = images.flatten(2).sum(1, dtype=torch.float32)  # (B, W * 3)
        colours = columns.unflatten(1, (width, 3)).sum(1) / (height * width)  # (B, 3)
        grey = (colours * colours.new_tensor(_LUMA)).sum(1, keepdim=True)
        # brightness, then towards the mean grey: b * (c * x + (1 - c) * grey)
        mean, std = _statistics(images.device)
        scale = brightness * contrast / std  # (B, 3)
        offset = (brightness * (1 - contrast) * grey - mean) / std
        return _affine(images, scale, offset, (-mean / std, (255 - mean) / std))


def _windows(store: Tensor, first: Tensor, device: torch.device) -> Tensor:
    """Rows of pixels wherever they begin: (R,) pixels of the store -> (R, W * 3) uint8."""
    width, row = store.shape[2], store.shape[2] * 3
    last = store.numel() // 3 - width
    windows = store.view(-1).as_strided((last + 1, row), (3, 1))
    start = first.clamp(0, last)
    found = windows.index_select(0, start.to(store.device)).to(device)
    for i in (first - start).nonzero().flatten().tolist():  # before the store's first pixel, or
        found[i] = found[i].roll(3 * int(start[i] - first[i]))  # past its last: the rest is black
    return found


def _inside(index: Tensor, size: int) -> Tensor:
    return ((index >= 0) & (index < size)).to(torch.uint8)


def _affine(
    images: Tensor, scale: Tensor, offset: Tensor, limits: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """(B, H, W, 3) uint8; scale, offset (B, 3) -> (B, 3, H, W) float32, ``channels_last``.

    limits: of each colour, (3,) each.
    """
    batch, height, width, _ = images.shape
    scale, offset = (v.repeat(1, width)[:, None] for v in (scale, offset))  # (B, 1, W * 3)
    result = torch.empty(batch, height, width * 3, device=images.device)
    limits = limits and [v.repeat(width) for v in limits]
    step = _IN_CACHE * torch.get_num_threads() if images.device.type == "cpu" else batch
    parts = (v.split(step) for v in (images.flatten(2), result, scale, offset))
    for pixels, mapped, factor, shift in zip(*parts, strict=True):
        torch.addcmul(shift, mapped.copy_(pixels), factor, out=mapped)
        if limits:
            mapped.clamp_(*limits)
    return result.view(batch, height, width, 3).permute(0, 3, 1, 2)


def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a colour, (3,) each, of 255."""
    return tuple(255 * torch.tensor(v, device=device) for v in (IMAGENET_MEAN, IMAGENET_STD))
