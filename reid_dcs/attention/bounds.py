"""Unbounded parameters to numbers in ``[0, upper]``: four ways of keeping a window inside.

``sigmoid`` stretches a logit over the range: its slope in channels is ``upper / 4`` at most and
falls towards both ends, so that a rate means (C / 4)^2 times as much in the middle of C channels
as the same rate in channels, and nothing at the ends. The others move in channels, with slope 1
inside, and differ in what they do at an end:

- ``clamp`` stops there; a gradient that points outwards is dropped, one that points back inside
  passes with slope 1, from however far outside;
- ``softplus`` rounds the corners of the clamp, one channel wide; its slope vanishes outside;
- ``reflect`` turns back at each end; its slope is 1 or -1 everywhere. Where the end moves, too, as
  the room of a start does with the length, each turn adds 2 to the slope in that.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def sigmoid(logit: Tensor, upper: Tensor | float, middle: Tensor | float) -> Tensor:
    """``upper sigmoid(logit)``; 0 is half of the range, whatever ``middle`` says."""
    return upper * torch.sigmoid(logit)


def clamp(offset: Tensor, upper: Tensor | float, middle: Tensor | float) -> Tensor:
    """``clamp(middle + offset, 0, upper)`` with a gradient that points inwards at the ends."""
    value = middle + offset
    return _Clamp.apply(value, _tensor(upper, value))


def softplus(offset: Tensor, upper: Tensor | float, middle: Tensor | float) -> Tensor:
    """``softplus(v) - softplus(v - upper)`` of ``v = middle + offset``, in channels.

    The slope is 1/2 at an end, and 1 or 0 but for e^-r, r channels inside or outside.
    """
    value = (middle + offset).clamp(-1000, 10000)  # inf - inf is not a number
    upper = _tensor(upper, value)
    value = F.softplus(value) - F.softplus(value - upper)
    return torch.minimum(value.clamp(min=0), upper)  # what rounding puts outside


def reflect(offset: Tensor, upper: Tensor | float, middle: Tensor | float) -> Tensor:
    """``middle + offset``, turned back at 0 and at ``upper`` as often as it takes."""
    value = middle + offset
    upper = _tensor(upper, value)
    period = 2 * upper.clamp(min=torch.finfo(value.dtype).tiny)
    wrapped = value - period * (value / period).floor().detach()
    return torch.minimum((upper - (wrapped - upper).abs()).clamp(min=0), upper)


def _tensor(number: Tensor | float, like: Tensor) -> Tensor:
    """A number as a tensor; made on the device, since a copy to it would wait for it."""
    return number.to(like) if isinstance(number, Tensor) else like.new_full((), number)


BOUNDS: dict[str, Callable[[Tensor, Tensor | float, Tensor | float], Tensor]] = {
    "clamp": clamp,
    "softplus": softplus,
    "reflect": reflect,
    "sigmoid": sigmoid,
}
DEFAULT_BOUNDS = "clamp"
"""How windows are kept inside unless a block says otherwise."""


class _Clamp(Function):
    """``clamp(v, 0, u)``. Descent follows the gradient where it does not lead further outside."""

    @staticmethod
    def forward(value: Tensor, upper: Tensor) -> Tensor:
        return torch.minimum(value.clamp(min=0), upper)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        value, upper = ctx.saved_tensors
        over = value > upper
        outwards = ((value < 0) & (grad > 0)) | (over & (grad < 0))
        d_upper = torch.where(over, grad, 0).sum_to_size(upper.shape)
        return torch.where(outwards, 0, grad).sum_to_size(value.shape), d_upper
