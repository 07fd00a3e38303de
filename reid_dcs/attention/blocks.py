"""The attention block that a network inserts after a stage (Figure 2).

``x + BN(DWConv((1/N) R X))``: affinities R read through channel windows, aggregation of the
values X, a depthwise 3x3 convolution, batch normalisation and the residual. The members of the
family differ in one thing alone: where their windows come from.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.windows import MODES, UNIONS, squash_window, windowed_query


class Windows(NamedTuple):
    """Channel windows of a batch: start and length in channels, (B, N, M) each."""

    start: Tensor
    length: Tensor


class WindowedAttention(nn.Module):
    """Self-attention over positions, each position's affinities read through its windows.

    A subclass says where the windows come from by ``windows(x)``.

    Args:
        channels: C of the feature map.
        mode, union: see :func:`reid_dcs.attention.windowed_query`.
        zero_init: start the last BN's scale at zero. The block is then the identity at first,
            which a pretrained trunk wants; its windows get no gradient in the first step.
    """

    def __init__(
        self, channels: int, *, mode: str = "mask", union: str = "max", zero_init: bool = True
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {mode!r}")
        if union not in UNIONS:
            raise ValueError(f"union must be one of {UNIONS}, not {union!r}")
        self.channels, self.mode, self.union = channels, mode, union
        self.project = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        if zero_init:
            nn.init.zeros_(self.norm.weight)

    def windows(self, x: Tensor) -> Windows:
        """The windows of every position: (B, C, H, W) -> start and length, (B, N, M)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        start, length = self.windows(x)
        tokens = x.flatten(2).mT  # (B, N, C)
        query = windowed_query(tokens, start, length, mode=self.mode, union=self.union)
        attended = channel_attention(query, tokens, tokens)
        return x + self.norm(self.project(attended.mT.unflatten(2, x.shape[2:])))


class DCS(WindowedAttention):
    """Differentiable Channel Selection: M windows for each position from a 1x1 convolution.

    Args:
        channels: C of the feature map.
        windows: M, windows for each position.
        min_length: the shortest window, in channels.
        options: see :class:`WindowedAttention`.
    """

    def __init__(
        self, channels: int, *, windows: int = 2, min_length: float = 1.0, **options
    ) -> None:
        super().__init__(channels, **options)
        if not isinstance(windows, int) or windows < 1:
            raise ValueError(f"windows must be a whole number of at least 1, not {windows!r}")
        if not isinstance(min_length, int | float) or not min_length > 0:
            raise ValueError(f"min_length must be a number above 0, not {min_length!r}")
        self.min_length = min_length
        self.select = nn.Conv2d(channels, 2 * windows, 1)
        nn.init.normal_(self.select.weight, std=channels**-0.5)
        # M windows of half the channels, their starts spread evenly over the room left.
        spread = torch.logit((torch.arange(windows) + 0.5) / windows)
        with torch.no_grad():
            self.select.bias.copy_(torch.cat([spread, torch.zeros(windows)]))

    def windows(self, x: Tensor) -> Windows:
        """The windows of every position: (B, C, H, W) -> start and length, (B, N, M)."""
        logits = self.select(x).flatten(2).mT  # (B, N, 2M)
        return Windows(*squash_window(*logits.chunk(2, dim=-1), self.channels, self.min_length))


ATTENTIONS: dict[str, Callable[..., nn.Module]] = {"dcs": DCS}


def build_attention(kind: str, channels: int, **options) -> nn.Module:
    """An attention block of the family.

    Args:
        kind: one of ``ATTENTIONS``.
        channels: C of the feature map it is put after.
        options: of that kind; see its class.

    Returns:
        A module from (B, C, H, W) to (B, C, H, W).

    Raises:
        ValueError: an unknown kind, or an option with a value out of range.
        TypeError: an option that the kind does not have.
    """
    if kind not in ATTENTIONS:
        raise ValueError(f"unknown attention {kind!r}; known: {', '.join(ATTENTIONS)}")
    return ATTENTIONS[kind](channels, **options)
