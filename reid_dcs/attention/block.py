"""The attention block that a network inserts after a stage (Figure 2).

``x + BN(DWConv((1/N) R X))``: affinities R read through channel windows, aggregation of the
values X, a depthwise 3x3 convolution, batch normalization and the residual. The variants
(variants.py) differ only in how they compute their windows.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.attention.affinity import channel_attention, product_macs
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


class AttentionBlock(nn.Module):
    """Self-attention over positions, whose affinities read a selection of the channels.

    A subclass selects channels in ``attend_map(x, reach)``, tells what it selects in ``report``,
    ``channel_weights``, ``reads`` and ``affinities``, and declares in ``search_parameters()``
    which parameters a search updates.

    Args:
        channels: C of the feature map.
        zero_init: initialize the last BN's scale to zero. The block then starts as the identity,
            which keeps a pretrained backbone intact; its selection gets no gradient in the first
            step.
    """

    def __init__(self, channels: int, *, zero_init: bool = True) -> None:
        super().__init__()
        if not isinstance(zero_init, bool):
            raise ValueError(f"zero_init must be true or false, not {zero_init!r}")
        self.channels = channels
        self.kept: Tensor | slice | None = None  # channels that affinities read, once pruned
        self.project = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        if zero_init:
            nn.init.zeros_(self.norm.weight)

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of the selection, under ``"windows"``, or ``"logits"`` of a Gumbel softmax."""
        return {}

    def forward(self, x: Tensor, reach: Reach = None, mask: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W).

        Args:
            x: feature map.
            reach: see ``Reach``.
            mask: factors of the residual branch's channels, (C,), of a search that masks them.
        """
        added = self.branch(x, reach)
        return x + (added if mask is None else added * mask.to(added.dtype)[:, None, None])

    def branch(self, x: Tensor, reach: Reach = None) -> Tensor:
        """The residual branch: (B, C, H, W) -> (B, C, H, W)."""
        attended = self.attend_map(x, reach)
        return self.norm(self.project(attended.mT.unflatten(2, x.shape[2:])))

    def attend_map(self, x: Tensor, reach: Reach = None) -> Tensor:
        """``(1/N) R X``: (B, C, H, W) -> (B, N, C)."""
        raise NotImplementedError

    def keep(self, channels: Tensor) -> None:
        """Restrict the affinities to these channels, (C,) bool; the others no longer contribute.

        What was left out before stays out.
        """
        if self.kept is not None:
            before = torch.zeros_like(channels)
            before[self.kept] = True
            channels = channels & before
        index = channels.nonzero().flatten()
        first, last = (int(index[0]), int(index[-1]) + 1) if len(index) else (0, 0)
        if len(index) == self.channels:
            self.kept = None
        elif last - first == len(index):
            self.kept = slice(first, last)  # a view, where an index copies
        else:
            self.kept = index.to(self.norm.weight.device)

    def affinity_macs(self, positions: int, read: int, channels: int) -> int:
        """Multiply-adds of R X, with affinities that read some of the channels."""
        return min(product_macs(positions, read, channels))

    # What the block selects for an input x (B, C, H, W), as in evaluation, without side effects.

    def report(self, x: Tensor) -> WindowReport:
        """Windows of each position."""
        raise NotImplementedError

    def channel_weights(self, x: Tensor) -> Tensor:
        """Weight of each channel in a position's selection, 0 to 1: (B, N, C)."""
        raise NotImplementedError

    def reads(self, x: Tensor) -> Tensor:
        """Whether a position's affinities read a channel: (B, N, C) bool."""
        raise NotImplementedError

    def affinities(self, x: Tensor, positions: Sequence[int]) -> Tensor:
        """Rows of R for P positions, indices in row-major order: (B, P, N)."""
        raise NotImplementedError


def named_blocks(network: nn.Module) -> dict[str, AttentionBlock]:
    """The attention blocks of a network by name, in the order of its modules.

    A block inside another one, such as the original of a substituted block, is part of that one.
    """
    blocks: dict[str, AttentionBlock] = {}
    inside: tuple[str, ...] = ()  # how names in these blocks begin
    for name, module in network.named_modules():
        if isinstance(module, AttentionBlock) and not name.startswith(inside):
            blocks[name] = module
            inside += (f"{name}." if name else "",)
    return blocks


class WindowedAttention(AttentionBlock):
    """Self-attention over positions, each position's affinities read through its windows.

    A subclass computes its windows in ``windows(x, reach)``.

    Args:
        channels: C of the feature map.
        mode, union: see :func:`reid_dcs.attention.windowed_query`; modes differ only for
            windows that begin or end within a channel.
        options: see :class:`AttentionBlock`.

    Attributes:
        softness: scale of the windows' edges in training, in channels; 0 (hard edges) unless a
            search anneals it. In evaluation edges are always hard.
        learns: parts of the windows that are learned by gradient descent, ``"start"`` and
            ``"length"``.
        fixed: a part that gets no gradient, while a search updates the other one.
    """

    learns: tuple[str, ...] = ()

    def __init__(
        self, channels: int, *, mode: str = DEFAULT_MODE, union: str = "max", **options
    ) -> None:
        super().__init__(channels, **options)
        if mode not in tuple(MODES):
            raise ValueError(f"mode must be one of {tuple(MODES)}, not {mode!r}")
        if union not in UNIONS:
            raise ValueError(f"union must be one of {UNIONS}, not {union!r}")
        self.mode, self.union = mode, union
        self.softness = 0.0
        self.fixed: str | None = None

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """The windows of each position of x (B, C, H, W), in the first ``reach`` channels."""
        raise NotImplementedError

    def unless_fixed(self, part: str, offsets: Tensor) -> Tensor:
        """Offsets or logits, with a gradient of zero if their part of the windows is ``fixed``.

        Zero, not none: several processes wait for a gradient of every parameter.
        """
        return offsets.detach() + 0 * offsets if self.fixed == part else offsets

    @property
    def edge_softness(self) -> float:
        """Scale of the windows' edges now, in training or evaluation."""
        return self.softness if self.training else 0.0

    def attend_map(self, x: Tensor, reach: Reach = None) -> Tensor:
        """``(1/N) R X``: (B, C, H, W) -> (B, N, C)."""
        return self.attend(x.flatten(2).mT, self.windows(x, reach), reach)

    def attend(self, tokens: Tensor, windows: Windows, reach: Reach = None) -> Tensor:
        """``(1/N) R X``: (B, N, C) -> (B, N, C)."""
        query = self.query(tokens, windows)
        if self.kept is None:
            return channel_attention(query, tokens, tokens)
        return channel_attention(query[..., self.kept], tokens[..., self.kept], tokens)

    def query(self, tokens: Tensor, windows: Windows) -> Tensor:
        """The tokens read through the windows: (B, N, D) -> (B, N, D)."""
        return windowed_query(
            tokens, *windows, mode=self.mode, union=self.union, softness=self.edge_softness
        )

    @torch.no_grad()
    def report(self, x: Tensor) -> WindowReport:
        """Windows of each position of x (B, C, H, W); deterministic, without side effects."""
        start, length = self.windows(x)
        weights = overlap_union(x.flatten(2).mT, start, length, "max")  # (B, N, C), or (C,)
        selected = weights.mean(-1).expand(len(x), x.shape[2:].numel())  # (B, N)
        shape = (*selected.shape, start.shape[-1])  # (B, N, M)
        return WindowReport(start.expand(shape), length.expand(shape), selected)

    @torch.no_grad()
    def channel_weights(self, x: Tensor) -> Tensor:
        """Overlap of each channel with the union of a position's windows: (B, N, C)."""
        tokens = x.flatten(2).mT
        return overlap_union(tokens, *self.windows(x), "max").expand_as(tokens)

    @torch.no_grad()
    def reads(self, x: Tensor) -> Tensor:
        """Whether a position's affinities read a channel: (B, N, C) bool."""
        ones = torch.ones_like(x.flatten(2).mT)  # entries of A are not negative
        return windowed_query(ones, *self.windows(x), mode=self.mode, union=self.union) > 0

    @torch.no_grad()
    def affinities(self, x: Tensor, positions: Sequence[int]) -> Tensor:
        """Rows of R for P positions: (B, P, N)."""
        tokens = x.flatten(2).mT  # (B, N, C)
        query = windowed_query(tokens, *self.windows(x), mode=self.mode, union=self.union)
        return query[:, list(positions)] @ tokens.mT


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
        on_cpu = windows.start.device.type == "cpu"
        if self.edge_softness or not on_cpu or torch.compiler.is_compiling():
            return 0, self.channels
        start, end = windows.start.min().item(), (windows.start + windows.length).max().item()
        if not math.isfinite(start + end):
            return 0, self.channels
        return math.floor(start), min(math.ceil(end) + 1, self.channels)
