"""Items spread evenly over a set."""

import torch
from torch import Tensor


def evenly_spaced(total: int, most: int) -> Tensor:
    """Indices from 0 to ``total - 1``, evenly spaced: (n,) int64, n at most ``most``."""
    return torch.linspace(0, total - 1, min(most, total)).round().long()
