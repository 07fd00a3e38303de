"""Items spread evenly over a set."""

import torch
from torch import Tensor


def evenly_spaced(total: int, most: int) -> Tensor:
    """Indices from 0 to ``total - 1``, evenly spaced: (n,) int64, n at most ``most``."""
    return torch.linspace(0, total - 1, min(most, total)).round().long()


def spaced_batches(total: int, most: int, size: int) -> tuple[Tensor, ...]:
    """:func:`evenly_spaced` indices in batches of about equal size, up to ``size``.

    A batch has at least two, for the statistics of a batch norm, unless there is only one in all.
    """
    index = evenly_spaced(total, most)
    batches = -(-len(index) // size)  # rounded up
    return index.tensor_split(max(1, min(batches, len(index) // 2)))
