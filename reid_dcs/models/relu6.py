"""ReLU6 that keeps its output alone for the backward pass."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function


class ReLU6(nn.ReLU6):
    """``min(max(x, 0), 6)``, written over x.

    PyTorch's own, in place, copies x first for its backward pass. The output says as much: the
    gradient passes where it lies strictly between 0 and 6. So an activation less is copied, and
    one less is kept, for each convolution.
    """

    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or not (x.requires_grad and torch.is_grad_enabled()):
            return F.relu6(x, inplace=True)
        return _ClipInPlace.apply(x)


class _ClipInPlace(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp_(0, 6)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.mark_dirty(*inputs)
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad, output, 0, 6)
