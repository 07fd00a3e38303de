"""Mixup (Zhang et al., ICLR 2018): each image blended with another of its batch."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Mixed(NamedTuple):
    """A blended batch: ``weight * loss(pids) + (1 - weight) * loss(partners)`` is its loss.

    Attributes:
        images: (B, 3, H, W).
        partners: (B,) identities of the images blended in.
        weight: of an image's own share.
    """

    images: Tensor
    partners: Tensor
    weight: float


def mixup(images: Tensor, pids: Tensor, alpha: float, random: torch.Generator) -> Mixed:
    """Blend a batch with a shuffling of itself, by one weight drawn from Beta(alpha, alpha).

    Args:
        images: (B, 3, H, W) float.
        pids: (B,) identities, on the CPU.
        alpha: above 0; 1 draws the weight uniformly.
        random: on the CPU.
    """
    seed = torch.randint(2**62, (), generator=random).item()  # torch's Beta takes no generator
    weight = float(np.random.default_rng(seed).beta(alpha, alpha))
    order = torch.randperm(len(pids), generator=random)
    others = images[order.to(images.device)]
    return Mixed(torch.lerp(others, images, weight), pids[order], weight)
