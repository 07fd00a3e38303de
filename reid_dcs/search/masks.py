"""FBNetV2's channel masks: a choice of width as one mask on the channels of the widest option.

An option of w channels is a prefix mask, w ones followed by zeros, so that all options share the
weights of the widest. With the weights g of a Gumbel softmax, the mask is ``sum_k g_k mask_k``
(DMaskingNAS, Wan et al., 2020): one feature map is computed, whatever the number of options.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention.windows import countable
from reid_dcs.models.space import Options


class Choice(nn.Module):
    """A choice of one of K options: a Gumbel softmax in training, the argmax in evaluation.

    Args:
        count: K. With one option there is nothing to learn, and there are no logits.
    """

    certain: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.temperature = 1.0
        self.logits = nn.Parameter(torch.zeros(count)) if count > 1 else None
        self.register_buffer("certain", torch.ones(1), persistent=False)

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The logits."""
        return {"logits": list(self.parameters())}

    def forward(self) -> Tensor:
        """Weights of the options, (K,), which sum to 1; each call in training draws a sample."""
        if self.logits is None:
            return self.certain
        logits = countable(self.logits)
        if self.training:
            return F.gumbel_softmax(logits, self.temperature)
        return F.one_hot(logits.argmax(), len(logits)).to(logits.dtype)

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Probability that an option has the largest logit under Gumbel noise: (K,), float64.

        As the temperature goes to 0, the option with the largest logit gets probability 1.
        """
        if self.logits is None:
            return self.certain.double()
        return (self.logits.double() / temperature).softmax(0)

    def likeliest(self) -> int:
        """Index of the option with the largest logit, which evaluation uses."""
        return 0 if self.logits is None else int(self.logits.argmax())


class Width(NamedTuple):
    """A sample of the width of a feature map."""

    chances: Tensor
    """Weights of the options, (K,)."""
    mask: Tensor
    """Mask on the channels of the widest option, (C,)."""
    channels: Tensor
    """Weighted mean number of channels, 0-D."""


class Widths(nn.Module):
    """Options for the width of a feature map, with their prefix masks and the choice of one."""

    sizes: Tensor
    masks: Tensor

    def __init__(self, options: Sequence[int]) -> None:
        super().__init__()
        self.options, self.choice = tuple(options), Choice(len(options))
        self.register_buffer("sizes", torch.tensor(options).float(), persistent=False)
        self.register_buffer("masks", prefix_masks(options), persistent=False)

    def forward(self) -> Width:
        """Sample a width."""
        chances = self.choice()
        return Width(chances, mixed(chances, self.masks), mixed(chances, self.sizes))


class BottleneckMasks(nn.Module):
    """The two choices of a searched bottleneck: expansion rate and number of filters.

    Args:
        inputs: options for the width of the input, which the expansion rate multiplies.
        options: expansion rates and widths of this bottleneck.
    """

    hidden: Tensor
    masks: Tensor

    def __init__(self, inputs: Sequence[int], options: Options) -> None:
        super().__init__()
        self.stride = options.stride
        self.expansions = options.expansions
        self.expansion, self.filters = Choice(len(options.expansions)), Widths(options.widths)
        hidden = torch.tensor([[round(e * w) for e in options.expansions] for w in inputs])
        self.register_buffer("hidden", hidden, persistent=False)  # (inputs, expansions)
        self.register_buffer("masks", prefix_masks(hidden.flatten().tolist()), persistent=False)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Width]:
        """Weights of the input widths -> mask of the hidden channels, and the output's width."""
        chances = inputs.unsqueeze(-1) * self.expansion()  # (inputs, expansions)
        return mixed(chances.flatten(), self.masks), self.filters()


def mixed(chances: Tensor, options: Tensor) -> Tensor:
    """``sum_k g_k option_k``: (K,) and (K, ...) -> (...). Autocast would round a matrix product."""
    return (chances.view(-1, *[1] * (options.ndim - 1)) * options).sum(0)


def prefix_masks(widths: Sequence[int]) -> Tensor:
    """(K, C) masks, C the largest of the K widths: row k has ``widths[k]`` ones, then zeros."""
    return (torch.arange(max(widths)) < torch.tensor(widths).unsqueeze(-1)).float()
