"""Augmentation of whole batches, from a store's uint8 pixels, on the training device.

The random numbers are drawn here (``draws.py``) and applied by ``augment_cpu.py`` on a CPU and by
``augment_batched.py`` on an accelerator, with the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_dcs.data.augment_batched import crop_batched, to_floats_batched
from reid_dcs.data.augment_cpu import crop_on_cpu, to_floats_on_cpu
from reid_dcs.data.colors import Colors, jitter, normalization
from reid_dcs.data.draws import Draws, draw_boxes
from reid_dcs.runtime.device import is_accelerator
from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD


def normalize(
    images: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """(x / 255 - mean) / std: (B, H, W, 3) uint8 -> (B, 3, H, W) float32, ``channels_last``."""
    return _to_floats(images, normalization(mean, std, images.device))


@dataclass(frozen=True)
class Augmentation:
    """Random crop, flip, color jitter and erasing, drawn separately for each image.

    Attributes:
        flip: probability of a horizontal flip.
        padding: pixels of black around the image before a crop of its size.
        erasing: probability that a box is set to the mean color; see :func:`draw_boxes`.
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
        device = device or store.device
        _, height, width, _ = store.shape
        draws = self.draw(len(index), height, width, random)
        if is_accelerator(device):
            images = crop_batched(store, index, draws, device)
        else:
            images = crop_on_cpu(store, index, draws)
        colors = normalization(self.mean, self.std, device)
        if draws.factors is not None:
            colors = jitter(images, draws.factors, colors)
        return _to_floats(images, colors, draws.boxes)

    def draw(self, batch: int, height: int, width: int, random: torch.Generator) -> Draws:
        """Draw the random numbers of a batch of images of a size."""
        flip = torch.rand(batch, generator=random) < self.flip
        p = self.padding
        dy, dx = (torch.randint(-p, p + 1, (batch,), generator=random) for _ in range(2))
        boxes = draw_boxes(batch, height, width, self.erasing, random)
        factors = None
        if self.brightness or self.contrast:
            spread = torch.tensor([[self.brightness], [self.contrast]])
            factors = 1 + spread * (2 * torch.rand(2, batch, generator=random) - 1)
        return Draws(flip, dy, dx, boxes, factors)


def _to_floats(images: Tensor, colors: Colors, boxes: Tensor | None = None) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, ``channels_last``, with ``boxes`` erased."""
    to_floats = to_floats_batched if is_accelerator(images.device) else to_floats_on_cpu
    return to_floats(images, colors, boxes).permute(0, 3, 1, 2)
