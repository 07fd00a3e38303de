"""Batch norm statistics of a derived network.

Those of a supergraph were accumulated under mixtures of widths, which the derived network does not
compute. Its weights are the supergraph's; only their statistics have to be estimated again.
"""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_dcs.runtime.hooks import evaluating


def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Replace the running statistics of all batch norms by those of some batches.

    Everything but the batch norms runs as in evaluation: a Gumbel softmax keeps its likeliest
    option. Each batch counts the same.

    Args:
        network: any; no parameter is changed.
        batches: images (B, 3, H, W), at least one batch, of at least two images each.

    Returns:
        the network.

    Raises:
        ValueError: no batches; the statistics are then those of a new network.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    count = 0  # of batches
    try:
        with evaluating(network):
            for norm in norms:
                norm.train()
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average
            for images in batches:
                network(images)
                count += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if not count:
        raise ValueError("no images to compute the statistics of batch norms on")
    return network
