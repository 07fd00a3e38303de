"""The random numbers of an augmented batch, drawn on the CPU so that all devices get the same."""

from typing import NamedTuple

import torch
from torch import Tensor

PROPOSALS = 16
"""Boxes drawn for random erasing, of which the first that fits is taken."""


class Draws(NamedTuple):
    """Random numbers of the B images of a batch.

    Attributes:
        flip: (B,) bool, whether the image is flipped.
        dy, dx: (B,) shift of the crop in pixels.
        boxes: (B, 4) erased boxes: top, left, height, width; all 0 if an image has none.
        factors: (2, B) brightness and contrast; None without color jitter.
    """

    flip: Tensor
    dy: Tensor
    dx: Tensor
    boxes: Tensor
    factors: Tensor | None


def draw_boxes(
    batch: int,
    height: int,
    width: int,
    probability: float,
    random: torch.Generator,
) -> Tensor:
    """Boxes of random erasing (Zhong et al., 2020), (B, 4), as :class:`Draws` has them.

    Area 2 % to 40 % of the image, height / width between 0.3 and 1 / 0.3, as in torchreid.
    """
    area, ratio, y, x = torch.rand(4, batch, PROPOSALS, generator=random)
    area = height * width * (0.02 + 0.38 * area)
    ratio = 0.3 + (1 / 0.3 - 0.3) * ratio
    h, w = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (h < height) & (w < width)
    first = fits.int().argmax(1, keepdim=True)  # the first proposal that fits
    h, w, y, x, fits = (v.gather(1, first) for v in (h, w, y, x, fits))  # (B, 1)
    top, left = (y * (height - h + 1)).floor(), (x * (width - w + 1)).floor()
    chosen = fits & (torch.rand(batch, 1, generator=random) < probability)
    return torch.cat([top, left, h, w], 1).where(chosen, 0).long()
