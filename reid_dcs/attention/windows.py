"""Fractional channel windows: from a start and a length to weights on channels (Section 2.2).

A window ``[s, s + l)`` on C channels selects, for a position with feature x_i, the channels that
enter its affinity to every other position. Once i's window is known, that affinity is bilinear,
``r_ij = x_i^T A_i x_j``, so selecting channels is the same as replacing the query x_i by the
*windowed query* ``y_i = A_i x_i``. A_i is symmetric and tridiagonal; this file builds its
diagonal and the diagonal above it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MODES = ("interp", "mask")
UNIONS = ("max", "sum")


def squash_window(
    start_logit: Tensor, length_logit: Tensor, channels: int, min_length: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Map unbounded logits to a window inside ``[0, channels]``.

    The length comes first and the start moves in the room that is left, so that for any logits
    ``start >= 0``, ``length >= min_length`` and ``start + length <= channels``, as Section 2.2
    asks of its normalised s and l.

    Args:
        start_logit, length_logit: any one shape.
        channels: C, the number of channels.
        min_length: the shortest window, at most C.

    Returns:
        start and length in channels, of the logits' shape.
    """
    if start_logit.dtype in (torch.float16, torch.bfloat16):  # too coarse to count channels
        start_logit, length_logit = start_logit.float(), length_logit.float()
    shortest = min(min_length, channels)
    length = shortest + (channels - shortest) * torch.sigmoid(length_logit)
    start = (channels - length) * torch.sigmoid(start_logit)
    return start, length


def windowed_query(
    x: Tensor, start: Tensor, length: Tensor, *, mode: str = "interp", union: str = "max"
) -> Tensor:
    """``y_i = A_i x_i``, where A_i is the selection of i's M windows.

    Args:
        x: features, (B, N, C).
        start, length: windows in channels, (B, N, M), or (M,) for the same windows everywhere.
        mode: ``"interp"`` reads a fractional window by Eqs. (3)-(5), on query and key alike;
            ``"mask"`` weighs each channel of the query by its overlap with the window. They are
            equal at integer start and length.
        union: how M windows join: ``"max"`` is the set union at integers; ``"sum"`` counts
            overlaps twice and gives nested windows a gradient.

    Returns:
        (B, N, C), such that ``y @ x.mT`` is the affinity R of Eq. (2) under i's window.

    Raises:
        ValueError: an unknown mode or union.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, not {mode!r}")
    if union not in UNIONS:
        raise ValueError(f"union must be one of {UNIONS}, not {union!r}")
    if mode == "mask":
        return _MaskedQuery.apply(x, start, length, union)
    channels = x.shape[-1]
    diagonal, upper = interpolation_bands(start, length, channels)
    diagonal = _join(diagonal, union).to(x.dtype)
    upper = _join(upper, union)[..., :-1].to(x.dtype)
    from_above = F.pad(upper * x[..., 1:], (0, 1))  # upper_p x_{p+1}
    from_below = F.pad(upper * x[..., :-1], (1, 0))  # upper_{p-1} x_{p-1}
    return diagonal * x + from_above + from_below


def channel_overlap(start: Tensor, length: Tensor, channels: int) -> Tensor:
    """How much of channel ``[p, p + 1)`` lies in each window: the diagonal of A for ``mask``.

    ``clamp(min(s + l, p + 1) - max(s, p), 0, 1)``, which is what the channels below ``s + l`` fill
    of channel p, less what those below ``s`` do.

    Args:
        start, length: (..., M).
        channels: C.

    Returns:
        (..., M, C).
    """
    p = torch.arange(channels, device=start.device, dtype=start.dtype)  # (C,)
    start, end = start.unsqueeze(-1), (start + length).unsqueeze(-1)  # (..., M, 1)
    return (end - p).clamp_(0, 1).sub_((start - p).clamp_(0, 1))


class _MaskedQuery(torch.autograd.Function):
    """``x_p max_m w_mp`` (or the sum over m), w the overlap of channel p with window m.

    A window's edges are inside one channel each, so that its gradient needs those two channels
    and not all C: with f = dL/dy * x, ``dL/ds = f[floor(s + l)] - f[floor(s)]`` and
    ``dL/dl = f[floor(s + l)]``, each where the window is the one that ``max`` took.
    """

    @staticmethod
    def forward(ctx, x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
        ctx.union = union
        ctx.save_for_backward(x, start, length)
        return x * _joined_overlap(x, start, length, union)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, start, length = ctx.saved_tensors
        weights = _joined_overlap(x, start, length, ctx.union)  # cheaper again than kept
        shape = (*x.shape[:-1], start.shape[-1])  # (B, N, M)
        first, end = start.expand(shape), (start + length).expand(shape)
        weights = weights.expand_as(x)

        def at(edge: Tensor) -> Tensor:
            """f in the channel that holds the edge, 0 past the last channel: (B, N, M)."""
            channel = edge.nan_to_num(0).clamp(0, x.shape[-1] - 1).long()
            flow = (grad.gather(-1, channel) * x.gather(-1, channel)).to(edge.dtype)
            counts = ~(edge >= x.shape[-1])  # NaN goes on being NaN
            if ctx.union == "max":
                own = (end - channel).clamp(0, 1) - (first - channel).clamp(0, 1)
                counts &= ~(own.to(x.dtype) < weights.gather(-1, channel))
            return torch.where(counts, flow, 0)

        at_end = at(end)
        d_start, d_length = at_end - at(first), at_end
        return (
            grad * weights,
            d_start.sum_to_size(start.shape),
            d_length.sum_to_size(length.shape),
            None,
        )


def interpolation_bands(start: Tensor, length: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The two bands of A for ``interp``: Eqs. (3)-(5) applied to query and key alike.

    With ``a = floor(s)``, ``d = s - a`` and ``w_k = clamp(l - k, 0, 1)``, the k-th selected value
    is ``w_k [(1 - d) x_{a+k} + d x_{a+k+1}]``, so that

    - ``diagonal_p = (1 - d)^2 w_{p-a}^2 + d^2 w_{p-a-1}^2``
    - ``upper_p = d (1 - d) w_{p-a}^2``, the entry between channels p and p + 1.

    Args:
        start, length: (..., M).
        channels: C.

    Returns:
        diagonal and upper, (..., M, C) each; the last entry of upper points past the channels.
    """
    start, length = start.unsqueeze(-1), length.unsqueeze(-1)  # (..., M, 1)
    a = start.detach().floor()
    d = start - a
    k = torch.arange(channels, device=start.device, dtype=start.dtype) - a  # p - a, (..., M, C)
    w2 = torch.where(k >= 0, (length - k).clamp(0, 1), 0).square()
    w2_before = torch.where(k >= 1, (length - k + 1).clamp(0, 1), 0).square()
    return (1 - d).square() * w2 + d.square() * w2_before, d * (1 - d) * w2


def _joined_overlap(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
    """The diagonal of A for ``mask``, in x's type: (B, N, C), or (C,) for static windows."""
    return _join(channel_overlap(start, length, x.shape[-1]), union).to(x.dtype)


def _join(weights: Tensor, union: str) -> Tensor:
    """Join the M windows: (..., M, C) -> (..., C)."""
    return weights.amax(-2) if union == "max" else weights.sum(-2)
