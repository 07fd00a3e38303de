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
        edges = noise_above(start, length, softness, like=x)
        return x * soft_union([overlap(*pair, softness) for pair in edges]).to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        *saved, ctx.softness = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, start, length = ctx.saved_tensors
        edges = noise_above(start, length, ctx.softness, like=x)
        overlaps = [overlap(*pair, ctx.softness) for pair in edges]
        d_x = grad * soft_union(overlaps).to(x.dtype)
        if not any(ctx.needs_input_grad[1:3]):
            return d_x, None, None, None
        f = (grad * x).to(start.dtype)
        d_edges = []
        for m, (at_start, at_end) in enumerate(edges):
            alone = f
            for n, other in enumerate(overlaps):
                if n != m:
                    alone = torch.addcmul(alone, alone, other, value=-1)
            first = alone[..., :1]
            rise = torch.cat([alone[..., 1:] - alone[..., :-1], -alone[..., -1:]], dim=-1)
            for edge, above in ((start, at_start), (start + length, at_end)):
                # sum_p f_p (S_p - S_{p+1}), summed by parts
                from_first = torch.sigmoid(edge[..., m : m + 1] / ctx.softness) * first
                d_edges.append(from_first + (rise * above).sum(-1, keepdim=True))
        d_length = torch.cat(d_edges[1::2], dim=-1)
        d_start = d_length - torch.cat(d_edges[::2], dim=-1)
        return d_x, d_start.sum_to_size(start.shape), d_length.sum_to_size(length.shape), None


def noise_above(
    start: Tensor, length: Tensor, softness: float, like: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """``S_{p+1} = sigmoid((edge - p - 1) / tau)`` of both edges of each of the M windows.

    How likely the noise leaves the edge above channel p: (B, N, C) each, or (C,).
    """

    def above(edge: Tensor) -> Tensor:
        return from_channels((edge - 1) / softness, like, 1 / softness).sigmoid_()

    firsts, ends = start.split(1, -1), (start + length).split(1, -1)
    return [(above(first), above(end)) for first, end in zip(firsts, ends, strict=True)]


def overlap(at_start: Tensor, at_end: Tensor, softness: float) -> Tensor:
    """w of one window, from what :func:`noise_above` gives: ``F(s + l) - F(s)``.

    ``softplus(v + 1 / tau) - softplus(v) = log(1 + expm1(1 / tau) sigmoid(v))``, which does not
    subtract large numbers from each other.
    """
    one = at_start.new_ones(())
    gain = at_start.new_full((), 1 / softness).expm1()  # math's would be compiled in as a number
    ratio = torch.addcmul(one, at_end, gain) / torch.addcmul(one, at_start, gain)
    return ratio.log_().mul_(softness)


def soft_union(overlaps: list[Tensor]) -> Tensor:
    """``1 - prod_m (1 - w_m)``: (B, N, C), or (C,)."""
    joined, *others = overlaps
    for weights in others:
        joined = torch.addcmul(joined + weights, joined, weights, value=-1)
    return joined
