"""A look at what every module of a network takes and gives for one image."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

See = Callable[[str, nn.Module, tuple, object], None]
"""Is told, after each call of a module, its name, itself, its inputs and its output."""


def probe(network: nn.Module, input_size: Sequence[int], see: See) -> None:
    """Run the network once, in evaluation, on an image of zeros; leave it as it was.

    Args:
        network: any network that takes a batch of images.
        input_size: (channels, height, width) of the image.
        see: called after every module.
    """
    hooks = [
        module.register_forward_hook(lambda *call, name=name: see(name, *call))
        for name, module in network.named_modules()
    ]
    try:
        with evaluating(network):
            network(weight_of(network).new_zeros(1, *input_size))
    finally:
        for hook in hooks:
            hook.remove()


def weight_of(network: nn.Module) -> Tensor:
    """Any of its parameters, for the device and the type that it computes in."""
    return next(network.parameters(), torch.empty(0))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()
            yield
    finally:
        for module, training in modes.items():
            module.training = training
