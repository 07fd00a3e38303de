"""Soft window edges, annealed over a search (reid_dcs/attention/soft.py)."""

from torch import nn

from reid_dcs.search.parameters import learned_windows

LAST = 0.3
"""Channels: about as soft as an edge within one channel, the slope of ``mask``."""


def softness_at(progress: float, channels: float, first: float = 1 / 8) -> float:
    """The scale of a window's edges in channels: exponentially from ``first * channels`` to 0.3.

    Args:
        progress: of the search, from 0 to 1; at its end, and where ``first`` is 0, edges are hard.
        channels: C of the map.
        first: the softness at the beginning as a share of C.
    """
    if progress >= 1 or not first:
        return 0.0
    widest = max(first * channels, LAST)
    return widest * (LAST / widest) ** progress


def soften(network: nn.Module, progress: float, first: float = 1 / 8) -> None:
    """Set the edges of all learned windows of a network; at progress 1 they are hard again.

    Fixed windows, those of ``sa`` and ``gsa``, stay hard.
    """
    for block in learned_windows(network).values():
        block.softness = softness_at(progress, block.channels, first)
