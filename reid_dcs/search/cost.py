"""Expected multiply-adds of a supergraph's subgraphs, differentiable in its logits.

Each choice of filters or expansion has its own logits, so the choices are independent. A bottleneck
from w to w' channels, with h = e w hidden channels, costs ``P w h + P' h (9 + w')`` for P input and
P' output positions. With p the probabilities of the input widths and q those of the expansion rates

    E = P sum_jk p_j q_k w_j h_jk + P' (sum_jk p_j q_k h_jk) (9 + E[w']),

is exact. An attention block's cost depends on its width, and counts by its expectation over p.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid_dcs.attention.block import AttentionBlock, SharedWindowAttention
from reid_dcs.attention.masked import DCSMask
from reid_dcs.search.supergraph import Supergraph


def expected_macs(
    network: Supergraph, input_size: Sequence[int] = (3, 256, 128), temperature: float = 1.0
) -> Tensor:
    """``E[total_macs]`` over subgraphs sampled by the logits; deterministic.

    If every choice has an option of probability 1, this is ``total_macs`` of the derived network as
    counted by ``complexity``.

    Args:
        network: a supergraph. Only its logits get a gradient: the number of channels that windows
            read is an integer.
        input_size: (channels, height, width) of an image.
        temperature: divides the logits. As it goes to 0, the expectation becomes the cost of the
            most probable subgraph.

    Returns:
        0-D tensor, float64.
    """
    colors, *size = input_size
    trunk, masks = network.trunk, iter(network.trunk.masks)
    widths, size = trunk.stem_width, strided(size, 2)
    macs: Tensor | int = 9 * colors * sum(widths.options) * math.prod(size)
    for stage, attention in zip(network.space.stages, trunk.attentions, strict=True):
        for _ in stage:
            block, before = next(masks), math.prod(size)
            size = strided(size, block.stride)
            p, w = widths.choice.probabilities(temperature), widths.sizes.double()  # (J,)
            hidden = block.hidden.double() @ block.expansion.probabilities(temperature)  # (J,)
            widths = block.filters
            outputs = widths.choice.probabilities(temperature) @ widths.sizes.double()
            macs = macs + before * (p * w) @ hidden + math.prod(size) * p @ hidden * (9 + outputs)
        costs = [attention_macs(attention, width, math.prod(size)) for width in widths.options]
        macs = (
            macs
            + widths.choice.probabilities(temperature) @ widths.sizes.new_tensor(costs).double()
        )
    return macs + math.prod(size) * outputs * network.space.last


def target_penalty(expected: Tensor, target_gmacs: float) -> Tensor:
    """``|E / target - 1|``, the absolute reward of TuNAS (Bender et al., 2020).

    Args:
        expected: multiply-adds, from :func:`expected_macs`.
        target_gmacs: in 10^9 multiply-adds.

    Raises:
        ValueError: the target is not above 0.
    """
    if not target_gmacs > 0:
        raise ValueError(f"target_gmacs must be a number above 0, not {target_gmacs!r}")
    return (expected / (1e9 * target_gmacs) - 1).abs()


def strided(size: Sequence[int], stride: int) -> list[int]:
    """Height and width after a padded 3x3 convolution."""
    return [math.ceil(side / stride) for side in size]


@torch.no_grad()
def attention_macs(attention: nn.Module, width: int, positions: int) -> int:
    """Multiply-adds of an attention block on a map of ``width`` channels."""
    if not isinstance(attention, AttentionBlock):
        return 0
    select = getattr(attention, "select", None)
    logits = 0 if select is None else select.out_channels
    if isinstance(attention, DCSMask):
        logits = width  # a logit for each channel
    product = attention.affinity_macs(positions, channels_read(attention, width), width)
    # a position's 1x1 convolution to logits, and the depthwise 3x3 convolution, 9 per channel
    return positions * width * (logits + 9) + product


def channels_read(attention: AttentionBlock, width: int) -> int:
    """Number of the first ``width`` channels that the affinities read.

    On an accelerator those of a window that all positions share count in full, as they are
    computed there: reading the window would wait for the device in every step.
    """
    if not isinstance(attention, SharedWindowAttention):
        return width
    windows = attention.windows(attention.project.weight, reach=width)
    first, last = attention.touched(windows, reach=width)
    return min(last, width) - first
