"""Expected multiply-adds of the subgraphs of a supergraph, differentiable in its logits.

Choices are independent: each filter and expansion choice has logits of its own. A bottleneck from
w to w' channels, with h = e w hidden ones, costs ``P w h + P' h (9 + w')`` for P positions of its
input and P' of its output, so that with p the probabilities of the input's widths and q those of
the expansion rates

    E = P sum_jk p_j q_k w_j h_jk + P' (sum_jk p_j q_k h_jk) (9 + E[w']),

which is exact. An attention block's cost is a function of its width, and has that expectation.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid_dcs.attention.affinity import product_macs
from reid_dcs.attention.block import SharedWindowAttention, WindowedAttention
from reid_dcs.search.supergraph import Supergraph


def expected_macs(
    network: Supergraph, input_size: Sequence[int] = (3, 256, 128), temperature: float = 1.0
) -> Tensor:
    """``E[total_macs]`` over subgraphs drawn by the logits; no noise.

    Where one option of every choice is certain it is the ``total_macs`` that ``complexity`` counts
    of the derived network.

    Args:
        network: a supergraph; only its logits get a gradient, for the channels that windows
            touch are whole numbers.
        input_size: (channels, height, width) of an image.
        temperature: that the logits are divided by. Towards zero the expectation becomes the cost
            of the likeliest subgraph, which may be another one while no option is certain.

    Returns:
        0-D, in float64.
    """
    colours, *size = input_size
    trunk, masks = network.trunk, iter(network.trunk.masks)
    widths, size = trunk.stem_width, strided(size, 2)
    macs = 9 * colours * sum(widths.options) * math.prod(size)
    for stage, attention in zip(trunk.stages, trunk.attentions, strict=True):
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
    """``|E / target - 1|``, which pulls from both sides (TuNAS, Bender et al., 2020).

    Args:
        expected: multiply-adds, of :func:`expected_macs`.
        target_gmacs: in 10^9 multiply-adds.

    Raises:
        ValueError: a target that is not above 0.
    """
    if not target_gmacs > 0:
        raise ValueError(f"target_gmacs must be a number above 0, not {target_gmacs!r}")
    return (expected / (1e9 * target_gmacs) - 1).abs()


def strided(size: Sequence[int], stride: int) -> list[int]:
    """What a padded 3x3 convolution makes of height and width."""
    return [math.ceil(side / stride) for side in size]


@torch.no_grad()
def attention_macs(attention: nn.Module, width: int, positions: int) -> int:
    """Multiply-adds of an attention block if its map had ``width`` channels."""
    if not isinstance(attention, WindowedAttention):
        return 0
    logits = attention.select.out_channels if hasattr(attention, "select") else 0
    product = min(product_macs(positions, channels_read(attention, width), width))
    return positions * width * (logits + 9) + product


def channels_read(attention: WindowedAttention, width: int) -> int:
    """How many of ``width`` channels its affinities read."""
    if not isinstance(attention, SharedWindowAttention):
        return width
    windows = attention.windows(attention.project.weight, reach=width)
    first, last = attention.touched(windows, reach=width)
    return min(last, width) - first
