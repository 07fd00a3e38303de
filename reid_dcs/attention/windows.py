"""Fractional channel windows ``[s, s + l)``: where they may lie and what they cover (Section 2.2).

A window is a start s and a length l in channels; channel p is the interval ``[p, p + 1)``. Both
are real numbers, so that a gradient can move them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reid_dcs.attention.bounds import BOUNDS, DEFAULT_BOUNDS


def squash_window(
    start: Tensor,
    length: Tensor,
    channels: float | Tensor,
    min_length: float = 1.0,
    bounds: str = DEFAULT_BOUNDS,
) -> tuple[Tensor, Tensor]:
    """Map unbounded numbers to a window inside ``[0, channels]``.

    The length comes first and the start moves in the room that is left, so that for any numbers
    ``start >= 0``, ``length >= min_length`` and ``start + length <= channels``, as Section 2.2
    asks of its normalized s and l. Zeros are a window in the middle, over half of the channels.

    Args:
        start, length: any one shape; logits for ``"sigmoid"``, otherwise offsets in channels.
        channels: C, the number of channels, or a 0-D tensor of it.
        min_length: the shortest window, at most C.
        bounds: one of ``BOUNDS``.

    Returns:
        start and length in channels, of the shape given, in float32 or finer.
    """
    length = squash_length(length, channels, min_length, bounds)
    middle = (channels - _shortest(channels, min_length)) / 4
    return squash_start(start, channels - length, middle, bounds), length


def squash_length(
    length: Tensor,
    channels: float | Tensor,
    min_length: float = 1.0,
    bounds: str = DEFAULT_BOUNDS,
) -> Tensor:
    """A length in ``[min_length, channels]`` from any number; from 0 the middle of that range."""
    shortest = _shortest(channels, min_length)
    room = channels - shortest
    return shortest + BOUNDS[bounds](countable(length), room, room / 2)


def squash_start(
    start: Tensor, room: Tensor | float, middle: Tensor | float, bounds: str = DEFAULT_BOUNDS
) -> Tensor:
    """A start in ``[0, room]``, what the length leaves of the channels, from any number.

    ``middle`` is the start that 0 means, which does not move with the length; a sigmoid's 0 means
    half of the room.
    """
    return BOUNDS[bounds](countable(start), room, middle)


def _shortest(channels: float | Tensor, min_length: float) -> float | Tensor:
    if isinstance(channels, Tensor):
        return channels.clamp(max=min_length)
    return min(min_length, channels)


def channel_overlap(start: Tensor, length: Tensor, like: Tensor) -> Tensor:
    """How much of each channel ``[p, p + 1)`` lies in a window, from 0 to 1.

    ``clamp(min(s + l, p + 1) - max(s, p), 0, 1)``: what the channels below ``s + l`` fill of
    channel p, less what those below ``s`` do.

    Args:
        start, length: one window, (B, N, 1), or (1,) for the same one everywhere.
        like: (B, N, C), for its number of channels and its memory layout.

    Returns:
        (B, N, C), or (C,) for the same window everywhere.
    """
    return fill(start + length, like).sub_(fill(start, like))


def fill(edge: Tensor, like: Tensor) -> Tensor:
    """How much of each channel lies below an edge, ``clamp(edge - p, 0, 1)``: -> (B, N, C)."""
    return from_channels(edge, like).clamp_(0, 1)


def from_channels(edge: Tensor, like: Tensor, width: float = 1.0) -> Tensor:
    """``edge - p``, the way from the beginning of each channel to an edge.

    Args:
        edge: (B, N, 1), or (1,) for the same one everywhere.
        like: (B, N, C), for its number of channels and its memory layout.
        width: of a channel, in the unit of the edge.

    Returns:
        (B, N, C), or (C,) for the same edge everywhere.
    """
    p = torch.arange(like.shape[-1], device=edge.device, dtype=edge.dtype)  # (C,)
    if width != 1:
        p = p * width
    if like.stride(-1) == 1 or edge.ndim == 1:
        return edge - p
    return (edge.mT - p.unsqueeze(-1)).mT  # channels outermost, as in memory


def join_windows(
    overlap: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    start: Tensor,
    length: Tensor,
    union: str,
) -> Tensor:
    """The weights of M windows on the channels, joined one by one, in x's type.

    Args:
        overlap: gives the weights of one window, such as :func:`channel_overlap`.
        x: (B, N, C).
        start, length: (B, N, M), or (M,) for the same windows everywhere.
        union: ``"max"`` or ``"sum"``.

    Returns:
        (B, N, C), or (C,) for the same windows everywhere.
    """
    weights = overlap(start[..., :1], length[..., :1], x)
    for m in range(1, start.shape[-1]):
        one = (..., slice(m, m + 1))
        weights = join_(weights, overlap(start[one], length[one], x), union)
    return weights.to(x.dtype)


def join_(weights: Tensor, other: Tensor, union: str) -> Tensor:
    """Join two windows' weights on channels by ``max`` or ``sum``, in the first one's place."""
    return weights.clamp_(min=other) if union == "max" else weights.add_(other)


def countable(logit: Tensor) -> Tensor:
    """In a type fine enough to count channels: bfloat16 counts those above 256 in twos."""
    return logit.float() if logit.dtype in (torch.float16, torch.bfloat16) else logit
