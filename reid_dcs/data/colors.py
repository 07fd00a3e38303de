"""Color jitter and normalization as a single affine map per channel."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reid_dcs.runtime.device import send

_LUMA = (0.299, 0.587, 0.114)  # RGB weights of PIL's grayscale


class Colors(NamedTuple):
    """Affine color map: ``scale * byte + offset``, clamped to ``limits`` if given.

    Attributes:
        scale, offset: (B, 3), or (1, 3) for all images.
        limits: (2, 3), minimum and maximum of the result.
    """

    scale: Tensor
    offset: Tensor
    limits: Tensor | None = None

    def rows(self, width: int) -> "Colors":
        """The map of a row of pixels: (B, 1, W * 3) scales and offsets, (2, W * 3) limits."""
        scale, offset = (v.repeat(1, width)[:, None] for v in (self.scale, self.offset))
        return Colors(scale, offset, None if self.limits is None else self.limits.repeat(1, width))

    def part(self, images: slice) -> "Colors":
        """The map of some images of the batch."""
        if len(self.scale) == 1:
            return self
        return Colors(self.scale[images], self.offset[images], self.limits)

    def apply_(self, values: Tensor) -> Tensor:
        """Map bytes, given as (B, H, W * 3) floats, in place; for a map from :meth:`rows`."""
        torch.addcmul(self.offset, values, self.scale, out=values)
        return values if self.limits is None else values.clamp_(*self.limits)


def normalization(mean: Sequence[float], std: Sequence[float], device: torch.device) -> Colors:
    """The map ``(x / 255 - mean) / std``."""
    means, stds = torch.tensor([*mean, *std], dtype=torch.float32).view(2, 3)
    scale, offset = send(torch.stack([1 / (255 * stds), -means / stds]), device)
    return Colors(scale[None], offset[None])


def jitter(images: Tensor, factors: Tensor, normalized: Colors) -> Colors:
    """Color jitter, as torchvision's ``ColorJitter``, followed by normalization.

    ``brightness * (contrast * x + (1 - contrast) * gray)``, where gray is the image's mean.

    Args:
        images: (B, H, W, 3) uint8.
        factors: (2, B), brightness and contrast of each image, on the CPU.
        normalized: the normalization.
    """
    _, height, width, _ = images.shape
    brightness, contrast = send(factors, images.device)[..., None]  # (B, 1) each
    columns = images.flatten(2).sum(1, dtype=torch.float32)  # (B, W * 3)
    mean = columns.unflatten(1, (width, 3)).sum(1) / (height * width)  # (B, 3)
    luma = send(torch.tensor(_LUMA), images.device)
    gray = (mean * luma).sum(1, keepdim=True)
    scale, offset = normalized.scale, normalized.offset
    return Colors(
        scale * brightness * contrast,
        scale * brightness * (1 - contrast) * gray + offset,
        limits=torch.cat([offset, 255 * scale + offset]),
    )
