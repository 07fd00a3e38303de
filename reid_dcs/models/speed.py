"""How fast a network runs on the machine at hand."""

import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import nn

from reid_dcs.runtime.hooks import evaluating, weight_of

SECONDS = 2.0  # of measuring, about


def images_a_second(
    model: nn.Module,
    input_size: Sequence[int] = (3, 256, 128),
    batch_size: int = 32,
    dtype: torch.dtype = torch.float32,
) -> float:
    """Time a network in evaluation, where it is: the median of at least three batches.

    Images go in as zeros in ``channels_last`` and features come back to the CPU; a first batch is
    not counted. Decoding is no part of it.

    Args:
        model: any network; it is left as it was.
        input_size: (channels, height, width).
        batch_size: images that go through at a time.
        dtype: that the network computes in; below float32 by autocast.
    """
    weight = weight_of(model)
    images = weight.new_zeros(batch_size, *input_size)
    images = images.to(memory_format=torch.channels_last)
    taken: list[float] = []
    with evaluating(model), torch.autocast(weight.device.type, dtype, dtype != torch.float32):
        model(images).cpu()
        while len(taken) < 3 or sum(taken) < SECONDS:
            begin = time.perf_counter()
            model(images).cpu()
            taken.append(time.perf_counter() - begin)
    return batch_size / median(taken)
