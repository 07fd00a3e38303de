"""Mixup (Zhang et al., ICLR 2018): blend each image of a batch with another one."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid_dcs.runtime.device import send


class Mixed(NamedTuple):
    """A mixed batch, with the loss ``weight * loss(pids) + (1 - weight) * loss(partners)``.

    Attributes:
        images: (B, 3, H, W).
        partners: (B,) identities of the images blended in.
        weight: weight of the original image in each blend, 0 to 1.
    """

    images: Tensor
    partners: Tensor
    weight: float


def mixup(images: Tensor, pids: Tensor, alpha: float, random: torch.Generator) -> Mixed:
    """Blend a batch with a permutation of itself, with one weight drawn from Beta(alpha, alpha).

    Args:
        images: (B, 3, H, W) float.
        pids: (B,) identities, on the CPU.
        alpha: parameter of the Beta distribution, above 0; 1 is the uniform distribution.
        random: generator on the CPU.
    """
    seed = int(torch.randint(2**62, (), generator=random))  # torch's Beta takes no generator
    weight = float(np.random.default_rng(seed).beta(alpha, alpha))
    order = torch.randperm(len(pids), generator=random)
    others = images[send(order, images.device)]
    return Mixed(torch.lerp(others, images, weight), pids[order], weight)
