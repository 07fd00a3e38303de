"""Fractional channel windows ``[s, s + l)``: where they may lie and what they cover (Section 2.2).

A window is a start s and a length l in channels; channel p is the interval ``[p, p + 1)``. Both
are real numbers, so that a gradient can move them.
"""

import torch
from torch import Tensor


def squash_window(
    start_logit: Tensor, length_logit: Tensor, channels: float | Tensor, min_length: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Map unbounded logits to a window inside ``[0, channels]``.

    The length comes first and the start moves in the room that is left, so that for any logits
    ``start >= 0``, ``length >= min_length`` and ``start + length <= channels``, as Section 2.2
    asks of its normalized s and l.

    Args:
        start_logit, length_logit: any one shape.
        channels: C, the number of channels, or a 0-D tensor of it.
        min_length: the shortest window, at most C.

    Returns:
        start and length in channels, of the logits' shape, in float32 or finer.
    """
    length = squash_length(length_logit, channels, min_length)
    return squash_start(start_logit, channels - length), length


def squash_length(logit: Tensor, channels: float | Tensor, min_length: float = 1.0) -> Tensor:
    """A length in ``[min_length, channels]`` from any logit."""
    if isinstance(channels, Tensor):
        shortest: float | Tensor = channels.clamp(max=min_length)
    else:
        shortest = min(min_length, channels)
    return shortest + (channels - shortest) * torch.sigmoid(countable(logit))


def squash_start(logit: Tensor, room: Tensor | float) -> Tensor:
    """A start in ``[0, room]`` from any logit; room is what the length leaves of the channels."""
    return room * torch.sigmoid(countable(logit))


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
    p = torch.arange(like.shape[-1], device=start.device, dtype=start.dtype)  # (C,)

    def fill(edge: Tensor) -> Tensor:
        """Fraction of each channel that lies below the edge."""
        if like.stride(-1) == 1 or edge.ndim == 1:
            return (edge - p).clamp_(0, 1)
        return (edge.mT - p.unsqueeze(-1)).clamp_(0, 1).mT  # channels outermost, as in memory

    return fill(start + length).sub_(fill(start))


def join_(weights: Tensor, other: Tensor, union: str) -> Tensor:
    """Join two windows' weights on channels by ``max`` or ``sum``, in the first one's place."""
    return weights.clamp_(min=other) if union == "max" else weights.add_(other)


def countable(logit: Tensor) -> Tensor:
    """In a type fine enough to count channels: bfloat16 counts those above 256 in twos."""
    return logit.float() if logit.dtype in (torch.float16, torch.bfloat16) else logit
