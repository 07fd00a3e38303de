"""Inputs and windows of all attention blocks of a network."""

import torch
from torch import Tensor, nn

from reid_dcs.attention.block import AttentionBlock, WindowReport, named_blocks


@torch.no_grad()
def attention_inputs(
    network: nn.Module, images: Tensor
) -> dict[str, tuple[AttentionBlock, Tensor]]:
    """Run the network once, in evaluation, and note what its attention blocks are given.

    Args:
        network: any network; it is left as it was, training mode included.
        images: what the network takes, usually (B, 3, H, W).

    Returns:
        By module name, in the order of the network's modules, each block and its input
        (B, C, h, w); empty without attention blocks.
    """
    found: dict[str, tuple[AttentionBlock, Tensor]] = {}
    modes = {module: module.training for module in network.modules()}
    hooks = [
        block.register_forward_pre_hook(
            lambda block, inputs, name=name: found.update({name: (block, inputs[0])})
        )
        for name, block in named_blocks(network).items()
    ]
    try:
        network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return found


def report_windows(network: nn.Module, images: Tensor) -> dict[str, WindowReport]:
    """The windows of a network's attention blocks, in evaluation; see :func:`attention_inputs`."""
    return {name: block.report(x) for name, (block, x) in attention_inputs(network, images).items()}
