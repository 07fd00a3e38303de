"""Throughput of a network on this machine."""

import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import nn

from reid_dcs.runtime.hooks import evaluating, weight_of

SECONDS = 2.0  # approximate duration of a measurement


def images_per_second(
    model: nn.Module,
    input_size: Sequence[int] = (3, 256, 128),
    batch_size: int = 32,
    dtype: torch.dtype = torch.float32,
) -> float:
    """Measure the throughput in evaluation, on the network's device: the median over batches.

    Batches of zeros in ``channels_last``; features are copied to the CPU. The first batch is not
    counted, then at least three are. Decoding of images is not included.

    Args:
        model: any network; its mode and statistics do not change.
        input_size: (channels, height, width).
        batch_size: images in a batch.
        dtype: data type of the computation; lower than float32 by autocast.
    """
    weight = weight_of(model)
    images = weight.new_zeros(batch_size, *input_size)
    images = images.to(memory_format=torch.channels_last)
    durations: list[float] = []
    with evaluating(model), torch.autocast(weight.device.type, dtype, dtype != torch.float32):
        model(images).cpu()
        while len(durations) < 3 or sum(durations) < SECONDS:
            begin = time.perf_counter()
            model(images).cpu()
            durations.append(time.perf_counter() - begin)
    return batch_size / median(durations)
