"""FBNetV2's channel masks: a choice among widths as one vector over the channels of the widest.

An option of w channels is a prefix mask, w ones and then zeros, so that all options share the
weights of the widest. Under the chances g of a Gumbel softmax the mask is ``sum_k g_k mask_k``
(DMaskingNAS, Wan et al., 2020): whatever the number of options, one feature map is computed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention.windows import countable
from reid_dcs.models.space import Options


class Choice(nn.Module):
    """One of K options: in training a Gumbel softmax mixture, in evaluation the likeliest.

    Args:
        count: K. Where it is 1 there is nothing to learn, and no logits.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.temperature = 1.0
        self.logits = nn.Parameter(torch.zeros(count)) if count > 1 else None
        self.register_buffer("certain", torch.ones(1), persistent=False)

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The logits."""
        return {"logits": list(self.parameters())}

    def forward(self) -> Tensor:
        """The chances of the options, (K,), which sum to 1; one draw a call in training."""
        if self.logits is None:
            return self.certain
        logits = countable(self.logits)
        if self.training:
            return F.gumbel_softmax(logits, self.temperature)
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """How often each option is the likeliest under Gumbel noise: (K,), in float64.

        At a temperature towards zero, all goes to the likeliest without noise.
        """
        if self.logits is None:
            return self.certain.double()
        return (self.logits.double() / temperature).softmax(0)

    def likeliest(self) -> int:
        """The option that evaluation takes."""
        return 0 if self.logits is None else int(self.logits.argmax())


class Width(NamedTuple):
    """What is drawn for the width of a feature map."""

    chances: Tensor
    """Of the options, (K,)."""
    mask: Tensor
    """On the channels of the widest, (C,)."""
    channels: Tensor
    """Their expected number; the number itself where one option is certain."""


class Widths(nn.Module):
    """Options for the width of a feature map, their prefix masks, and the choice among them."""

    def __init__(self, options: Sequence[int]) -> None:
        super().__init__()
        self.options, self.choice = tuple(options), Choice(len(options))
        self.register_buffer("sizes", torch.tensor(options).float(), persistent=False)
        self.register_buffer("masks", prefix_masks(options), persistent=False)

    def forward(self) -> Width:
        """One draw."""
        chances = self.choice()
        return Width(chances, mixed(chances, self.masks), mixed(chances, self.sizes))


class BottleneckMasks(nn.Module):
    """The two choices of a searched bottleneck: its expansion rate and its number of filters.

    Args:
        inputs: options for the width of its input; an expansion rate multiplies the one that is
            taken.
        options: its own.
    """

    def __init__(self, inputs: Sequence[int], options: Options) -> None:
        super().__init__()
        self.stride = options.stride
        self.expansions = options.expansions
        self.expansion, self.filters = Choice(len(options.expansions)), Widths(options.widths)
        hidden = torch.tensor([[round(e * w) for e in options.expansions] for w in inputs])
        self.register_buffer("hidden", hidden, persistent=False)  # (inputs, expansions)
        self.register_buffer("masks", prefix_masks(hidden.flatten().tolist()), persistent=False)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Width]:
        """From the chances of the input's widths: the mask of the hidden channels, and a width."""
        chances = inputs.unsqueeze(-1) * self.expansion()  # (inputs, expansions)
        return mixed(chances.flatten(), self.masks), self.filters()


def mixed(chances: Tensor, options: Tensor) -> Tensor:
    """``sum_k g_k option_k``: (K,) and (K, ...) -> (...). Autocast rounds a matrix product."""
    return (chances.view(-1, *[1] * (options.ndim - 1)) * options).sum(0)


def prefix_masks(widths: Sequence[int]) -> Tensor:
    """(K, C), where C is the largest of the K widths: w ones and then zeros in each row."""
    return (torch.arange(max(widths)) < torch.tensor(widths).unsqueeze(-1)).float()
