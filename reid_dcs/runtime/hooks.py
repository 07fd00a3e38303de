"""Forward hooks on all modules of a network, and a temporary evaluation mode."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Callback = Callable[[str, nn.Module, tuple, object], None]
"""Called after each module's forward: ``callback(name, module, inputs, output)``."""


def probe(network: nn.Module, input_size: Sequence[int], callback: Callback) -> None:
    """Run the network once on a zero image and report every module call.

    The pass runs in evaluation mode without gradients; the network is left unchanged.

    Args:
        network: any network that takes a batch of images.
        input_size: (channels, height, width) of the image.
        callback: called after the forward of every module.
    """
    hooks = [
        module.register_forward_hook(lambda *call, name=name: callback(name, *call))
        for name, module in network.named_modules()
    ]
    try:
        with evaluating(network):
            network(weight_of(network).new_zeros(1, *input_size))
    finally:
        for hook in hooks:
            hook.remove()


def weight_of(network: nn.Module) -> Tensor:
    """First parameter of the network, which tells its device and dtype."""
    return next(network.parameters(), torch.empty(0))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; restores the mode of every module afterwards."""
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()
            yield
    finally:
        for module, training in modes.items():
            module.training = training
