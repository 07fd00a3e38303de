"""The reading ``mask``: each channel of the query is weighed by its overlap with the window.

A is diagonal, ``A_pp = max_m w_mp`` (or the sum over m), where w_m is the overlap with window m.
"""

import torch
from torch import Tensor
from torch.autograd import Function

from reid_dcs.attention.windows import channel_overlap, join_windows


class MaskedQuery(Function):
    """``y_p = A_pp x_p``; keeps nothing but x and the windows for the backward pass.

    ``dL/dx = A dL/dy``. A window's edges lie inside one channel each, so that its gradient needs
    those two channels and not all C: with f = dL/dy * x, ``dL/ds = f[floor(s + l)] - f[floor(s)]``
    and ``dL/dl = f[floor(s + l)]``, each where the window is the one that ``max`` took.
    """

    @staticmethod
    def forward(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
        return x * overlap_union(x, start, length, union)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        *saved, ctx.union = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, start, length = ctx.saved_tensors
        weights = overlap_union(x, start, length, ctx.union)
        d_x = grad * weights
        if not any(ctx.needs_input_grad[1:3]):
            return d_x, None, None, None
        shape = (*x.shape[:-1], start.shape[-1])  # (B, N, M)
        first, end = start.expand(shape), (start + length).expand(shape)
        edges = torch.stack([first, end])  # (2, B, N, M)
        channel = edges.long().clamp(0, x.shape[-1] - 1)

        def at(channels: Tensor) -> Tensor:
            """(B, N, C), or (C,), in the channel of each edge: (2, B, N, M)."""
            return channels.expand(2, *x.shape).gather(-1, channel)

        counts = (edges >= 0) & (edges < x.shape[-1])
        if ctx.union == "max" and start.shape[-1] > 1:
            overlap = (end - channel).clamp(0, 1) - (first - channel).clamp(0, 1)
            counts &= overlap.to(x.dtype) >= at(weights)
        at_start, at_end = torch.where(counts, at(grad) * at(x), 0).to(start.dtype)
        d_start, d_length = at_end - at_start, at_end
        return d_x, d_start.sum_to_size(start.shape), d_length.sum_to_size(length.shape), None


def overlap_union(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
    """A_pp in x's type: (B, N, C), or (C,) for the same windows everywhere."""
    return join_windows(channel_overlap, x, start, length, union)
