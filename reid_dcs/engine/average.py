"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """``average <- decay * average + (1 - decay) * weights``, after every step.

    Buffers are averaged as parameters are; whole numbers, such as a batch norm's count of batches,
    are copied. Torch's ``AveragedModel`` keeps its count on the device and reads it back in every
    update, which makes the CPU wait for an accelerator; this takes two operations.

    Args:
        model: the network; its weights of the first update are the first average.
        decay: in [0, 1).

    Attributes:
        module: network with the averaged weights.
        updates: number of updates.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module, self.decay, self.updates = copy.deepcopy(model), decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights of a step."""
        for averages, values in zip(_tensors(self.module), _tensors(model), strict=True):
            if averages and averages[0].is_floating_point() and self.updates:
                torch._foreach_lerp_(averages, values, 1 - self.decay)
            elif averages:
                torch._foreach_copy_(averages, values)
        self.updates += 1


def _tensors(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers: those of real numbers, and the others."""
    tensors = [*model.parameters(), *model.buffers()]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    return floats, [tensor for tensor in tensors if not tensor.is_floating_point()]
