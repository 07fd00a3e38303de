"""Parameters and multiply-adds, in the ways that papers count them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from reid_dcs.runtime.hooks import probe

HEAD = ("pool", "neck", "classifier")
"""Modules of a whole network that Table 1 leaves out: it has the trunk and its attention."""

# Operations an element of the input. ReLU6 is not there: with it MobileNetV2 would have 0.385 G
# where Table 1 has 0.380.
OPERATIONS = {
    _BatchNorm: 4,
    nn.ReLU: 1,
    nn.MaxPool2d: 1,
    nn.AvgPool2d: 1,
    nn.AdaptiveAvgPool2d: 1,
}


class Complexity(NamedTuple):
    """The cost of one image's feature. A multiply-add counts as one."""

    params: int
    """Parameters, frozen ones included."""
    conv_macs: int
    """Multiply-adds of convolutions."""
    total_macs: int
    """Multiply-adds of convolutions, linear layers and affinity products."""
    paper_flops: int
    """As the paper's Table 1 counts: ``conv_macs``, and an element 4 operations for a BN, 1 for a
    ReLU or a pooling that is a module; nothing for functions, such as affinity products."""


def complexity(model: nn.Module, input_size: Sequence[int] = (3, 256, 128)) -> Complexity:
    """Count what a network costs for one image in evaluation.

    The classifier is not counted, nor the pooling and the BN neck before it: modules that the
    network names ``pool``, ``neck`` and ``classifier``.

    Args:
        model: any network; it is left as it was.
        input_size: (channels, height, width).
    """
    operations = 0

    def see(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal operations
        if _counts(name):
            cost = sum(cost for kind, cost in OPERATIONS.items() if isinstance(module, kind))
            operations += cost and cost * inputs[0].numel()

    with FlopCounterMode(display=False) as counter:
        probe(model, input_size, see)
    flops = Counter(counter.get_flop_counts()["Global"])
    for name in HEAD:
        flops.subtract(counter.get_flop_counts().get(f"{type(model).__name__}.{name}", {}))
    conv_macs = flops[torch.ops.aten.convolution] // 2
    return Complexity(
        params=sum(p.numel() for name, p in model.named_parameters() if _counts(name)),
        conv_macs=conv_macs,
        total_macs=flops.total() // 2,
        paper_flops=conv_macs + operations,
    )


def _counts(name: str) -> bool:
    return name.split(".")[0] not in HEAD
