"""The reading ``bilinear``: Eqs. (3)-(5), applied to the affinity instead of to the features.

With ``a = floor(s)``, ``k = floor(l)``, the fractions ``d = s - a`` and ``e = l - k``, and r(a, k)
the affinity on the whole window ``[a, a + k)``, Eqs. (3)-(5) read on r are

    r(s, l) = (1 - d) [(1 - e) r(a, k)     + e r(a, k + 1)]
            +    d    [(1 - e) r(a + 1, k) + e r(a + 1, k + 1)].

An affinity on a whole window is a sum over its channels. So A is diagonal, and its entries are
the indicators of the four windows, blended:

    A_pp = (1 - d) clamp(a + l - p, 0, 1) + d clamp(a + 1 + l - p, 0, 1) - clamp(s - p, 0, 1),

what lies below the end less what lies below the start. At the end, with ``q = a + k``, that is
``d + e - d e`` in channel q and ``d e`` in q + 1, where ``mask`` has ``clamp(d + e, 0, 1)`` and
``clamp(d + e - 1, 0, 1)``: the same where d or e is 0. Channels past the last one count as zero.
"""

import torch
from torch import Tensor
from torch.autograd import Function

from reid_dcs.attention.windows import fill, join_windows


class BilinearQuery(Function):
    """``y_p = A_pp x_p``; keeps nothing but x and the windows for the backward pass.

    ``dL/dx = A dL/dy``. With f = dL/dy * x, a window's gradient needs f in three channels:
    ``dL/ds = (1 - e) f[q] + e f[q + 1] - f[a]`` and ``dL/dl = (1 - d) f[q] + d f[q + 1]``, each
    where the window is the one that ``max`` took.
    """

    @staticmethod
    def forward(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
        return x * bilinear_union(x, start, length, union)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        *saved, ctx.union = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, start, length = ctx.saved_tensors
        weights = bilinear_union(x, start, length, ctx.union)
        d_x = grad * weights
        if not any(ctx.needs_input_grad[1:3]):
            return d_x, None, None, None
        shape = (*x.shape[:-1], start.shape[-1])  # (B, N, M)
        first, end = start.floor(), start.floor() + length.floor()  # a and q
        places = torch.stack([v.expand(shape) for v in (first, end, end + 1)])  # (3, B, N, M)
        channel = places.long().clamp(0, x.shape[-1] - 1)

        def at(channels: Tensor) -> Tensor:
            """(B, N, C), or (C,), at a, q and q + 1: (3, B, N, M)."""
            return channels.expand(3, *x.shape).gather(-1, channel)

        counts = (places >= 0) & (places < x.shape[-1])
        if ctx.union == "max" and start.shape[-1] > 1:
            weight = blend(start, length, lambda edge: (edge - channel).clamp(0, 1))
            # the same sum in another kernel: it may round otherwise
            counts &= weight.to(x.dtype) >= at(weights) - torch.finfo(x.dtype).eps
        at_first, at_end, after = torch.where(counts, at(grad) * at(x), 0).to(start.dtype)
        d_start = torch.lerp(at_end, after, length.frac()) - at_first
        d_length = torch.lerp(at_end, after, start - start.floor())
        return d_x, d_start.sum_to_size(start.shape), d_length.sum_to_size(length.shape), None


def bilinear_union(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
    """A_pp in x's type: (B, N, C), or (C,) for the same windows everywhere."""
    return join_windows(bilinear_overlap, x, start, length, union)


def bilinear_overlap(start: Tensor, length: Tensor, like: Tensor) -> Tensor:
    """A_pp of one window: (B, N, 1) -> (B, N, C), or (1,) -> (C,)."""
    return blend(start, length, lambda edge: fill(edge, like))


def blend(start: Tensor, length: Tensor, below) -> Tensor:
    """A_pp, where ``below(edge)`` makes a new tensor of ``clamp(edge - p, 0, 1)``."""
    first = start.floor()
    lower = below(first + length)
    higher = below(first + 1 + length).sub_(lower)
    # not lerp: exporters write it as eight operations
    return lower.addcmul_(higher, start - first).sub_(below(start))
