"""Windows with soft edges, for a search: every channel says which way an edge should move.

The channels beside an edge are all that a hard window's gradient sees, so that a window apart from
the channels that matter finds them by luck. Here an edge is smeared by logistic noise of scale
tau, in channels, and a channel's weight is its mean overlap with the window (``mask``) under that
noise. With the mean of ``clamp(edge - p, 0, 1)``,

    F(edge) = tau [softplus((edge - p) / tau) - softplus((edge - p - 1) / tau)],

the weights are ``w_p = F(s + l) - F(s)``. For a large tau that is
``sigmoid((p + 1/2 - s) / tau) - sigmoid((p + 1/2 - s - l) / tau)``; as tau goes to 0 it becomes
``mask``, for any s and l. M windows join smoothly by ``1 - prod_m (1 - w_mp)``, the set union at
whole channels, which gives a window inside another one a gradient.
"""

import math

import torch
from torch import Tensor
from torch.autograd import Function

from reid_dcs.attention.windows import from_channels

SOFTEST = 1 / 64
"""Softer edges than this, in channels, are hard: exp(1 / tau) must be a float32."""


class SoftQuery(Function):
    """``y_p = W_p x_p``; keeps nothing but x and the windows for the backward pass.

    With f = dL/dy * x, an edge's gradient is ``sum_p f_p (S_p - S_{p+1})``, where
    ``S_p = sigmoid((edge - p) / tau)``, times ``prod (1 - w)`` of the other windows.
    """

    @staticmethod
    def forward(x: Tensor, start: Tensor, length: Tensor, softness: float) -> Tensor:
        return x * soft_union(*soft_overlaps(start, length, softness, like=x)).to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        *saved, ctx.softness = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, start, length = ctx.saved_tensors
        overlaps = soft_overlaps(start, length, ctx.softness, like=x)
        d_x = grad * soft_union(*overlaps).to(x.dtype)
        if not any(ctx.needs_input_grad[1:3]):
            return d_x, None, None, None
        f = (grad * x).to(start.dtype)
        d_start, d_end = [], []
        for m in range(start.shape[-1]):
            one, alone = (..., slice(m, m + 1)), f
            for n, other in enumerate(overlaps):
                if n != m:
                    alone = alone * (1 - other)
            rise = alone.diff(dim=-1, append=torch.zeros_like(alone[..., :1]))  # f_{p+1} - f_p

            def of_edge(edge: Tensor, alone: Tensor = alone, rise: Tensor = rise) -> Tensor:
                """sum_p f_p (S_p - S_{p+1}), summed by parts: (B, N, 1)."""
                first = torch.sigmoid(edge / ctx.softness) * alone[..., :1]
                below = below_next(edge, ctx.softness, x)  # S_{p+1}
                return first + (rise * below).sum(-1, keepdim=True)

            d_start.append(-of_edge(start[one]))
            d_end.append(of_edge((start + length)[one]))
        d_length = torch.cat(d_end, dim=-1)
        d_start = torch.cat(d_start, dim=-1) + d_length
        return d_x, d_start.sum_to_size(start.shape), d_length.sum_to_size(length.shape), None


def soft_union(first: Tensor, *others: Tensor) -> Tensor:
    """``1 - prod_m (1 - w_m)``: (B, N, C), or (C,)."""
    joined = first
    for weights in others:
        joined = joined + weights - joined * weights
    return joined


def soft_overlaps(start: Tensor, length: Tensor, softness: float, like: Tensor) -> list[Tensor]:
    """w of each of M windows: (B, N, M) -> M times (B, N, C), or (M,) -> M times (C,)."""
    # with S = sigmoid((edge - p - 1) / tau), the difference of softpluses without cancellation
    gain = math.expm1(1 / softness)

    def logarithm(edge: Tensor) -> Tensor:
        return (below_next(edge, softness, like) * gain).log1p_()

    return [
        logarithm(end).sub_(logarithm(first)).mul_(softness)
        for first, end in zip(start.split(1, -1), (start + length).split(1, -1), strict=True)
    ]


def below_next(edge: Tensor, softness: float, like: Tensor) -> Tensor:
    """``sigmoid((edge - (p + 1)) / tau)``, the share of the noise above the end of channel p."""
    return from_channels((edge - 1) / softness, like, 1 / softness).sigmoid_()
