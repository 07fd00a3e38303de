"""Parameters and multiply-adds of a network, counted as papers count them."""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from reid_dcs.runtime.hooks import probe, weight_of

HEAD = ("pool", "neck", "classifier")
"""Modules that are not counted: Table 1 counts the backbone and its attention alone."""

# Operations per input element. ReLU6 is left out: with it MobileNetV2 would have 0.385 G, and
# Table 1 has 0.380.
OPERATIONS = {
    _BatchNorm: 4,
    nn.ReLU: 1,
    nn.MaxPool2d: 1,
    nn.AvgPool2d: 1,
    nn.AdaptiveAvgPool2d: 1,
}


class Complexity(NamedTuple):
    """Cost of one image's feature. A multiply-add counts as one."""

    params: int
    """Parameters, including frozen ones."""
    conv_macs: int
    """Multiply-adds of convolutions."""
    total_macs: int
    """Multiply-adds of convolutions, linear layers and affinity products."""
    paper_flops: int
    """The count of the paper's Table 1: ``conv_macs`` plus, per element, 4 operations for a BN and
    1 for a ReLU or pooling module; functions, such as affinity products, are not counted."""


def complexity(model: nn.Module, input_size: Sequence[int] = (3, 256, 128)) -> Complexity:
    """Count the cost of one image in evaluation.

    The head is not counted: the network's modules ``pool``, ``neck`` and ``classifier``.

    Args:
        model: any network; its mode and statistics do not change. A copy on the CPU is counted,
            where affinities read only the channels of windows that all positions share.
        input_size: (channels, height, width).
    """
    if weight_of(model).device.type not in ("cpu", "meta"):
        model = copy.deepcopy(model).cpu()
    operations = 0

    def count_operations(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal operations
        if _is_counted(name):
            cost = sum(cost for kind, cost in OPERATIONS.items() if isinstance(module, kind))
            operations += cost and cost * inputs[0].numel()

    with FlopCounterMode(display=False) as counter:
        probe(model, input_size, count_operations)
    flops = Counter(counter.get_flop_counts()["Global"])
    for name in HEAD:
        flops.subtract(counter.get_flop_counts().get(f"{type(model).__name__}.{name}", {}))
    conv_macs = flops[torch.ops.aten.convolution] // 2
    return Complexity(
        params=sum(p.numel() for name, p in model.named_parameters() if _is_counted(name)),
        conv_macs=conv_macs,
        total_macs=flops.total() // 2,
        paper_flops=conv_macs + operations,
    )


def _is_counted(name: str) -> bool:
    return name.split(".")[0] not in HEAD
