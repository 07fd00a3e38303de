"""CUDA graphs of a network's training passes: thousands of kernel launches become two."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reid_dcs.config import RecipeConfig
from reid_dcs.errors import InputError
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import compiled
from reid_dcs.runtime.hooks import weight_of


class Captured:
    """A network whose forward and backward passes in training are CUDA graphs.

    A graph is captured when a shape of the input, or a set of frozen parts, is first met; its
    results are those of the network, of which parameters, buffers and random numbers stay as they
    were. In evaluation mode and without gradients, the network itself is called.

    The gradients of one backward pass are overwritten by the next: clear them in between.

    Args:
        model: network on a CUDA device, without hooks, whose work depends on no value read back.

    Raises:
        InputError: at the first call, if the network cannot be captured.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.graphs: dict[Any, Any] = {}

    def __call__(self, images: Tensor) -> Any:
        """The outputs of the network; they are valid until the next call."""
        if not (self.model.training and torch.is_grad_enabled()):
            return self.model(images)
        trained = tuple(parameter.requires_grad for parameter in self.model.parameters())
        modes = tuple(module.training for module in self.model.modules())
        key = images.shape, images.dtype, trained, modes
        if key not in self.graphs:
            self.graphs[key] = self._capture(images.clone())
        return self.graphs[key](images)

    def _capture(self, images: Tensor) -> Any:
        kind = images.device.type
        precision = torch.autocast(
            kind,
            torch.get_autocast_dtype(kind),
            torch.is_autocast_enabled(kind),
            cache_enabled=False,  # a cache of another precision's weights would outlive the step
        )
        with _unchanged(self.model, images.device), precision:
            try:
                torch.cuda.make_graphed_callables(self.model, (images,), allow_unused_input=True)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                raise InputError(f"train.capture: {reason}; use train.capture=false") from error
        graph = self.model.forward
        del self.model.forward  # PyTorch put it over the method of the class
        return graph


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore the buffers and the random state, which the passes before a capture change."""
    buffers = [buffer.clone() for buffer in model.buffers()]
    random = torch.cuda.get_rng_state(device)
    yield
    torch.cuda.set_rng_state(random, device)
    for buffer, value in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(value)


def training_network(model: nn.Module, recipe: RecipeConfig) -> Callable[[Tensor], Any]:
    """The network as ``train.capture`` and ``train.compile`` want its training passes.

    Raises:
        InputError: there is nothing to capture with or no working compiler, or both are wanted.
    """
    if not recipe.capture:
        return compiled(model, recipe.compile)
    reason = ""
    if recipe.compile:
        reason = "train.compile=true captures as well"
    elif recipe.accumulate > 1:
        reason = "train.accumulate adds gradients up"
    elif distributed.world_size() > 1:
        reason = "there are several processes"
    elif weight_of(model).device.type != "cuda":
        reason = "there is no CUDA device"
    if reason:
        raise InputError(f"train.capture: {reason}; use train.capture=false")
    return Captured(model)
