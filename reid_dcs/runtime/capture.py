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

    A graph is captured when a shape of the input, a precision or a set of frozen parts is first
    met, and its memory is kept; its results are those of the network, of which parameters, buffers
    and random numbers stay as they were. In evaluation mode and without gradients, the network
    itself is called.

    The gradients of one backward pass are overwritten by the next: clear them in between.

    Args:
        model: network on a CUDA device, without hooks, whose work is the same in every step: no
            value read back, and no random number drawn or attribute changed on the CPU.

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
        key = images.shape, images.dtype, _precision(images), trained, modes
        if key not in self.graphs:
            self.graphs[key] = self._capture(images.clone())
        return self.graphs[key](images)

    def _capture(self, images: Tensor) -> Any:
        kind = images.device.type
        enabled, dtype = _precision(images)
        # a cache of another precision's weights would outlive the step
        precision = torch.autocast(kind, dtype, enabled, cache_enabled=False)
        with _unchanged(self.model, images.device), precision:
            try:
                torch.cuda.make_graphed_callables(self.model, (images,), allow_unused_input=True)
                return self.model.forward  # PyTorch put it over the method of the class
            except (RuntimeError, AssertionError) as error:
                reason = str(error).partition("\n")[0]
                raise InputError(
                    f"train.capture: the network cannot be captured ({reason}); use "
                    "train.capture=false"
                ) from error


def _precision(images: Tensor) -> tuple[bool, torch.dtype]:
    kind = images.device.type
    return torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore what a capture changes: buffers, random state, the network's ``forward``."""
    buffers = [buffer.clone() for buffer in model.buffers()]
    random, forward = torch.cuda.get_rng_state(device), vars(model).get("forward")
    try:
        yield
    finally:
        vars(model).pop("forward", None)
        if forward is not None:
            model.forward = forward
        torch.cuda.set_rng_state(random, device)
        for buffer, value in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(value)


def training_network(model: nn.Module, recipe: RecipeConfig) -> Callable[[Tensor], Any]:
    """The network as ``train.capture`` and ``train.compile`` want its training passes.

    Raises:
        InputError: see :func:`check_capture`; or there is no working compiler.
    """
    check_capture(recipe, weight_of(model).device)
    return Captured(model) if recipe.capture else compiled(model, recipe.compile)


def check_capture(recipe: RecipeConfig, device: torch.device) -> None:
    """Check that ``train.capture`` fits the other settings and the device.

    Raises:
        InputError: it does not.
    """
    if not recipe.capture:
        return
    reason = ""
    if recipe.compile:
        reason = "train.compile=true captures as well"
    elif recipe.accumulate > 1:
        reason = "train.accumulate adds gradients up"
    elif distributed.world_size() > 1:
        reason = "there are several processes"
    elif device.type != "cuda":
        reason = f"it needs a CUDA device, and this run is on {device.type}"
    if reason:
        raise InputError(f"train.capture: {reason}; use train.capture=false")
