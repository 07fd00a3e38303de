"""Attention with windows learned by gradient descent: ``dcs`` and its restrictions.

The windows of ``dcs``, ``dcs_pos`` and ``dcs_dim`` are computed for each position; that of
``dcs_sw`` is a parameter.
"""

import torch
from torch import Tensor, nn

from reid_dcs.attention.block import Reach, SharedWindowAttention, WindowedAttention, Windows
from reid_dcs.attention.bounds import DEFAULT_BOUNDS
from reid_dcs.attention.checks import checked_bounds, checked_length, checked_ratio
from reid_dcs.attention.selection import SelectionConv
from reid_dcs.attention.windows import squash_length, squash_start, squash_window


class SelectingAttention(WindowedAttention):
    """Attention whose windows are computed for each position by ``select``, a 1x1 convolution.

    Attributes:
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
    """

    learns: tuple[str, ...] = ("start", "length")
    select: SelectionConv

    @property
    def bounds(self) -> str:
        return self.select.bounds

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The 1x1 convolution."""
        return {"windows": list(self.select.parameters())}


class DCS(SelectingAttention):
    """Differentiable Channel Selection: M windows for each position, start and length learned.

    Args:
        channels: C of the feature map.
        windows: M, windows for each position.
        min_length: the shortest window, in channels.
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
        options: see :class:`WindowedAttention`.
    """

    def __init__(
        self,
        channels: int,
        *,
        windows: int = 2,
        min_length: float = 1.0,
        bounds: str = DEFAULT_BOUNDS,
        **options,
    ) -> None:
        super().__init__(channels, **options)
        self.min_length = checked_length(min_length)
        room = (channels - min(min_length, channels)) / 2
        self.select = SelectionConv(channels, bounds, room, starts=windows, lengths=windows)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """(B, C, H, W) -> start and length, (B, N, M)."""
        reach = self.channels if reach is None else reach
        start, length = self.select.offsets(x).chunk(2, dim=-1)  # (B, N, M) each
        start, length = self.unless_fixed("start", start), self.unless_fixed("length", length)
        return Windows(*squash_window(start, length, reach, self.min_length, self.bounds))


class DCSPos(SelectingAttention):
    """DCS with the length fixed at r C: only the position of the windows is learned.

    Args:
        channels: C of the feature map.
        windows: M, windows for each position.
        ratio: r, the fraction of the channels in a window.
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
        options: see :class:`WindowedAttention`.
    """

    learns = ("start",)

    def __init__(
        self,
        channels: int,
        *,
        windows: int = 2,
        ratio: float = 0.5,
        bounds: str = DEFAULT_BOUNDS,
        **options,
    ) -> None:
        super().__init__(channels, **options)
        self.ratio = checked_ratio(ratio)
        self.select = SelectionConv(channels, bounds, (1 - ratio) * channels, starts=windows)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """(B, C, H, W) -> start and length, (B, N, M)."""
        reach = self.channels if reach is None else reach
        length = self.ratio * reach
        room = reach - length
        offsets = self.unless_fixed("start", self.select.offsets(x))  # (B, N, M)
        start = squash_start(offsets, room, room / 2, self.bounds)
        return Windows(start, torch.zeros_like(start) + length)


class DCSDim(SelectingAttention):
    """DCS with the start fixed at 0: only the key dimension is learned.

    Args:
        channels: C of the feature map.
        windows: M. All begin at 0, so with ``union="max"`` only the longest has an effect.
        min_length: the shortest window, in channels.
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
        options: see :class:`WindowedAttention`.
    """

    learns = ("length",)

    def __init__(
        self,
        channels: int,
        *,
        windows: int = 1,
        min_length: float = 1.0,
        bounds: str = DEFAULT_BOUNDS,
        **options,
    ) -> None:
        super().__init__(channels, **options)
        self.min_length = checked_length(min_length)
        self.select = SelectionConv(channels, bounds, 0.0, lengths=windows)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """(B, C, H, W) -> start and length, (B, N, M)."""
        reach = self.channels if reach is None else reach
        offsets = self.unless_fixed("length", self.select.offsets(x))  # (B, N, M)
        length = squash_length(offsets, reach, self.min_length, self.bounds)
        return Windows(torch.zeros_like(length), length)


class DCSSW(SharedWindowAttention):
    """Single-window DCS: one learned window, the same for all positions and images.

    It starts in the middle and covers half of the channels.

    Args:
        channels: C of the feature map.
        min_length: the shortest window, in channels.
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
        options: see :class:`WindowedAttention`.
    """

    learns = ("start", "length")

    def __init__(
        self,
        channels: int,
        *,
        min_length: float = 1.0,
        bounds: str = DEFAULT_BOUNDS,
        **options,
    ) -> None:
        super().__init__(channels, **options)
        self.bounds = checked_bounds(bounds)
        self.min_length = checked_length(min_length)
        self.start_logit = nn.Parameter(torch.zeros(1))
        self.length_logit = nn.Parameter(torch.zeros(1))

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """Start and length, (1,) each."""
        reach = self.channels if reach is None else reach
        start = self.unless_fixed("start", self.start_logit)
        length = self.unless_fixed("length", self.length_logit)
        return Windows(*squash_window(start, length, reach, self.min_length, self.bounds))

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The logits of the window."""
        return {"windows": [self.start_logit, self.length_logit]}
