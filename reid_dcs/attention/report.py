"""What the attention blocks of a whole network select for a batch of images."""

import torch
from torch import Tensor, nn

from reid_dcs.attention.block import WindowedAttention, WindowReport


@torch.no_grad()
def report_windows(network: nn.Module, images: Tensor) -> dict[str, WindowReport]:
    """Run the network once, in evaluation, and report the windows of its attention blocks.

    Args:
        network: any network; it is left as it was, training mode included.
        images: what the network takes, usually (B, 3, H, W).

    Returns:
        By module name, in the order of the network's modules; empty without attention blocks.
    """
    reports: dict[str, WindowReport] = {}
    modes = {module: module.training for module in network.modules()}
    hooks = [
        block.register_forward_pre_hook(
            lambda block, inputs, name=name: reports.update({name: block.report(*inputs)})
        )
        for name, block in network.named_modules()
        if isinstance(block, WindowedAttention)
    ]
    try:
        network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return reports
