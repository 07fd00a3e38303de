"""The reading ``interp``: Eqs. (3)-(5), applied to the query and to the key alike.

With ``a = floor(s)``, ``d = s - a`` and ``w_k = clamp(l - k, 0, 1)``, the k-th selected value of
x is ``w_k [(1 - d) x_{a+k} + d x_{a+k+1}]``. The affinity of two positions is the sum over k of
the products of their k-th values, so that ``A = sum_k w_k^2 u_k u_k^T`` with
``u_k = (1 - d) e_{a+k} + d e_{a+k+1}``. That is symmetric and tridiagonal:

- ``diagonal_p = (1 - d)^2 W_p + d^2 W_{p-1}``
- ``upper_p = d (1 - d) W_p``, the entry between channels p and p + 1,

where ``W_p = w_{p-a}^2``, the squared overlap of channel p with ``[a, a + l)``. Several windows
join band by band.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from reid_dcs.attention.windows import channel_overlap, join_


class Bands(NamedTuple):
    """A symmetric tridiagonal matrix a position, or one for all positions."""

    diagonal: Tensor  # (B, N, C) or (C,)
    upper: Tensor  # (B, N, C - 1) or (C - 1,)

    def __matmul__(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        diagonal, upper = self.diagonal.to(x.dtype), self.upper.to(x.dtype)
        y = diagonal * x
        y[..., :-1].addcmul_(upper, x[..., 1:])
        y[..., 1:].addcmul_(upper, x[..., :-1])
        return y


class InterpolatedQuery(Function):
    """``y = A x``; keeps nothing but x and the windows for the backward pass.

    ``dL/dx = A dL/dy``, for A is symmetric. With g = dL/dy, the bands have the gradients
    ``f_p = g_p x_p`` and ``h_p = g_p x_{p+1} + g_{p+1} x_p``, each where the window is the one that
    ``max`` took. The start moves the bands through d. The length moves one entry of W alone, the
    ``(l - floor(l))^2`` of the last channel ``q = a + floor(l)``.
    """

    @staticmethod
    def forward(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
        return Selection(x, start, length, union).joined() @ x

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        *saved, ctx.union = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, start, length = ctx.saved_tensors
        selection = Selection(x, start, length, ctx.union)
        if not any(ctx.needs_input_grad[1:3]):
            return selection.joined() @ grad, None, None, None
        flow = band_gradients(x.to(start.dtype), grad.to(start.dtype))
        joined, d_start, d_length = selection.backward(flow)
        d_x = joined @ grad
        return d_x, d_start.sum_to_size(start.shape), d_length.sum_to_size(length.shape), None


def band_gradients(x: Tensor, grad: Tensor) -> Bands:
    """dL/dA, f and h, where ``grad`` is dL/d(A x)."""
    f = grad * x
    h = (grad[..., :-1] * x[..., 1:]).addcmul_(grad[..., 1:], x[..., :-1])
    return Bands(f, h)


class Selection:
    """A of M windows, made window by window, so that no (B, N, M, C) tensor exists."""

    def __init__(self, x: Tensor, start: Tensor, length: Tensor, union: str) -> None:
        self.x, self.length, self.union = x, length, union
        self.first = start.floor()  # a, (B, N, M)
        d = start - self.first
        self.square = (1 - d).square(), d.square(), d * (1 - d)  # u u^T in the bands
        self.slope = 2 * (d - 1), 2 * d, 1 - 2 * d  # its derivative in d
        self.windows = start.shape[-1]

    def window(self, m: int) -> tuple[Tensor, Bands]:
        """W, (B, N, C) or (C,), and A of window m alone."""
        one = (..., slice(m, m + 1))
        squared = channel_overlap(self.first[one], self.length[one], like=self.x).square_()
        lower, higher, between = (v[one] for v in self.square)
        diagonal = squared * lower
        diagonal[..., 1:].addcmul_(squared[..., :-1], higher)
        return squared, Bands(diagonal, squared[..., :-1] * between)

    def join_(self, one: Bands, other: Bands) -> Bands:
        return Bands(*(join_(*bands, self.union) for bands in zip(one, other, strict=True)))

    def joined(self) -> Bands:
        """A."""
        _, bands = self.window(0)
        for m in range(1, self.windows):
            bands = self.join_(bands, self.window(m)[1])
        return bands

    def backward(self, flow: Bands) -> tuple[Bands, Tensor, Tensor]:
        """A, and from dL/dA the gradients of start and length, (B, N, M)."""
        compete = self.union == "max" and self.windows > 1
        joined: Any = self.joined() if compete else None
        d_start, d_length = [], []
        for m in range(self.windows):
            squared, bands = self.window(m)
            if compete:
                most = zip(bands, joined, flow, strict=True)
                routed = Bands(*(band.ge_(top) * gradient for band, top, gradient in most))
            else:
                routed = flow
                joined = bands if joined is None else self.join_(joined, bands)
            del bands
            start, length = self.window_gradient(m, squared, routed)
            d_start.append(start)
            d_length.append(length)
        return joined, torch.cat(d_start, dim=-1), torch.cat(d_length, dim=-1)

    def window_gradient(self, m: int, squared: Tensor, flow: Bands) -> tuple[Tensor, Tensor]:
        """From W and dL/dA of window m: dL/ds and dL/dl, (B, N, 1)."""
        one = (..., slice(m, m + 1))
        f, h = flow

        def blend(lower: Tensor, higher: Tensor, between: Tensor) -> Tensor:
            """lower f_p + higher f_{p+1} + between h_p: (B, N, C)."""
            blended = f * lower
            blended[..., :-1].addcmul_(f[..., 1:], higher).addcmul_(h, between)
            return blended

        k = self.length[one].floor()
        q = (self.first[one] + k).long().expand(*f.shape[:-1], 1)
        inside = q.clamp(0, f.shape[-1] - 1)
        at_q = blend(*(v[one] for v in self.square)).gather(-1, inside)  # dL/dW_q
        d_length = torch.where(q == inside, 2 * (self.length[one] - k) * at_q, 0)
        slope = blend(*(v[one] for v in self.slope))  # of dL/dW in d
        return slope.mul_(squared).sum(-1, keepdim=True), d_length
