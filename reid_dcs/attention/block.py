"""The attention block that a network inserts after a stage (Figure 2).

``x + BN(DWConv((1/N) R X))``: affinities R read through channel windows, aggregation of the
values X, a depthwise 3x3 convolution, batch normalization and the residual. The variants
(variants.py) differ only in how they compute their windows.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.mask import overlap_union
from reid_dcs.attention.query import DEFAULT_MODE, MODES, UNIONS, windowed_query


class Windows(NamedTuple):
    """Start and length in channels: (B, N, M) each, or (M,) if shared by all positions."""

    start: Tensor
    length: Tensor


Reach = float | Tensor | None
"""Windows lie in the first ``reach`` channels; None means all. A search that masks the last
channels passes the expected number, possibly fractional, as a 0-D tensor."""


class WindowReport(NamedTuple):
    """Windows of the positions of a batch."""

    start: Tensor
    """First channel, (B, N, M); the N = H W positions are in row-major order."""
    length: Tensor
    """Number of channels, (B, N, M)."""
    selected: Tensor
    """Fraction of the channels that the union of the M windows covers, (B, N)."""


class WindowedAttention(nn.Module):
    """Self-attention over positions, each position's affinities read through its windows.

    A subclass computes its windows in ``windows(x, reach)``, and declares which parameters a search
    updates in ``search_parameters()``.

    Args:
        channels: C of the feature map.
        mode, union: see :func:`reid_dcs.attention.windowed_query`; modes differ only for
            windows that begin or end within a channel.
        zero_init: initialize the last BN's scale to zero. The block then starts as the identity,
            which keeps a pretrained backbone intact; its windows get no gradient in the first step.

    Attributes:
        softness: scale of the windows' edges in channels; 0 (hard edges) unless a search anneals
            it.
        learns: parts of the windows that are learned by gradient descent, ``"start"`` and
            ``"length"``.
        fixed: a part that gets no gradient, while a search updates the other one.
    """

    learns: tuple[str, ...] = ()

    def __init__(
        self, channels: int, *, mode: str = DEFAULT_MODE, union: str = "max", zero_init: bool = True
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode must be one of {tuple(MODES)}, not {mode!r}")
        if union not in UNIONS:
            raise ValueError(f"union must be one of {UNIONS}, not {union!r}")
        self.channels, self.mode, self.union = channels, mode, union
        self.kept: Tensor | slice | None = None  # channels that affinities read, once pruned
        self.softness = 0.0
        self.fixed: str | None = None
        self.project = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        if zero_init:
            nn.init.zeros_(self.norm.weight)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """The windows of each position of x (B, C, H, W), in the first ``reach`` channels."""
        raise NotImplementedError

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of the windows, under ``"windows"``, or ``"logits"`` of a Gumbel softmax."""
        return {}

    def unless_fixed(self, part: str, offsets: Tensor) -> Tensor:
        """Detach the offsets or logits of a part of the windows that is ``fixed``."""
        return offsets.detach() if self.fixed == part else offsets

    def forward(self, x: Tensor, reach: Reach = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.branch(x, reach)

    def branch(self, x: Tensor, reach: Reach = None) -> Tensor:
        """The residual branch: (B, C, H, W) -> (B, C, H, W)."""
        tokens = x.flatten(2).mT  # (B, N, C)
        attended = self.attend(tokens, self.windows(x, reach), reach)
        return self.norm(self.project(attended.mT.unflatten(2, x.shape[2:])))

    def attend(self, tokens: Tensor, windows: Windows, reach: Reach = None) -> Tensor:
        """``(1/N) R X``: (B, N, C) -> (B, N, C)."""
        query = self.query(tokens, windows)
        if self.kept is None:
            return channel_attention(query, tokens, tokens)
        return channel_attention(query[..., self.kept], tokens[..., self.kept], tokens)

    def query(self, tokens: Tensor, windows: Windows) -> Tensor:
        """The tokens read through the windows: (B, N, D) -> (B, N, D)."""
        return windowed_query(
            tokens, *windows, mode=self.mode, union=self.union, softness=self.softness
        )

    def keep(self, channels: Tensor) -> None:
        """Restrict the affinities to these channels, (C,) bool; the others no longer contribute."""
        index = channels.nonzero().flatten()
        first, last = int(index[0]), int(index[-1]) + 1
        if len(index) == self.channels:
            self.kept = None
        elif last - first == len(index):
            self.kept = slice(first, last)  # a view, where an index copies
        else:
            self.kept = index.to(self.norm.weight.device)

    @torch.no_grad()
    def report(self, x: Tensor) -> WindowReport:
        """Windows of each position of x (B, C, H, W); deterministic, without side effects."""
        tokens = x.flatten(2).mT  # (B, N, C)
        start, length = self.windows(x)
        overlap = overlap_union(tokens, start, length, "max").expand_as(tokens)
        shape = (*tokens.shape[:2], start.shape[-1])  # (B, N, M)
        return WindowReport(start.expand(shape), length.expand(shape), overlap.mean(-1))


class SharedWindowAttention(WindowedAttention):
    """Attention with the same windows for all positions; its affinities read only a slice."""

    def attend(self, tokens: Tensor, windows: Windows, reach: Reach = None) -> Tensor:
        first, last = self.touched(windows, reach)
        if self.kept is not None or last - first == self.channels:
            return super().attend(tokens, windows, reach)
        key = tokens[..., first:last]  # (B, N, D)
        query = self.query(key, Windows(windows.start - first, windows.length))
        return channel_attention(query, key, tokens)

    def touched(self, windows: Windows, reach: Reach = None) -> tuple[int, int]:
        """Slice of channels ``[first, last)`` that the windows reach, with one more at the end.

        All channels on an accelerator, where reading the windows would synchronize, and in
        compilation. Channels outside the windows have weight zero, so the output is the same.
        """
        if self.softness or windows.start.device.type != "cpu" or torch.compiler.is_compiling():
            return 0, self.channels
        start, end = windows.start.min().item(), (windows.start + windows.length).max().item()
        if not math.isfinite(start + end):
            return 0, self.channels
        return math.floor(start), min(math.ceil(end) + 1, self.channels)
