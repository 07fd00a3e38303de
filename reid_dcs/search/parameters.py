"""Which parameters of a network Algorithm 1 updates in turn."""

from typing import NamedTuple

from torch import nn
from torch.nn import Parameter

from reid_dcs.attention import WindowedAttention
from reid_dcs.search.masks import Choice


class SearchParameters(NamedTuple):
    """Every parameter of a network, in one of three lists."""

    weights: list[Parameter]
    """Of the network: what the first batches of an epoch update."""
    windows: list[Parameter]
    """What attention blocks find their windows by: the 1x1 convolutions ``select``, or the logits
    of a layer's own window."""
    logits: list[Parameter]
    """Of choices by Gumbel softmax: a supergraph's widths and expansions, ``gsa``'s windows."""


def search_parameters(network: nn.Module) -> SearchParameters:
    """Sort a network's parameters: any with attention of ours, a supergraph or not."""
    windows, logits = [], []
    for module in network.modules():
        if isinstance(module, Choice):
            logits += module.parameters()
        elif isinstance(module, WindowedAttention):
            for name, parameter in module.named_parameters():
                if name == "logits":
                    logits.append(parameter)
                elif not name.startswith(("project.", "norm.")):
                    windows.append(parameter)
    searched = set(windows + logits)
    return SearchParameters([p for p in network.parameters() if p not in searched], windows, logits)
