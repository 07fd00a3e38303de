"""Variants of the attention block, by how they compute their windows.

| kind | windows |
|---|---|
| ``sa`` | the first r C channels, everywhere (Eqs. 1 and 2) |
| ``dcs`` | M windows of each position, start and length from a 1x1 convolution |
| ``dcs_sw`` | one learned window of the layer ("single-window DCS", Figure 3) |
| ``dcs_pos`` | as dcs, learning only the start (Table 7, "position") |
| ``dcs_dim`` | as dcs, learning only the length (Table 7, "key dimension") |
| ``gsa`` | one of 15 windows by Gumbel softmax (Appendix A.2) |
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.block import Reach, SharedWindowAttention, WindowedAttention, Windows
from reid_dcs.attention.bounds import BOUNDS, DEFAULT_BOUNDS
from reid_dcs.attention.windows import countable, squash_length, squash_start, squash_window


class SA(SharedWindowAttention):
    """Self-attention whose affinities read the first ``floor(r C)`` channels (Eq. 2).

    Args:
        channels: C of the feature map.
        ratio: r; 1 is Eq. (1).
        options: see :class:`WindowedAttention`.
    """

    def __init__(self, channels: int, *, ratio: float = 0.5, **options) -> None:
        super().__init__(channels, **options)
        self.ratio = _checked_ratio(ratio)

    def width(self, reach: Reach = None) -> int | Tensor:
        """floor(r C), at least 1."""
        reach = self.channels if reach is None else reach
        if isinstance(reach, Tensor):
            return (self.ratio * reach.double()).floor().clamp(min=1)
        return max(1, math.floor(self.ratio * reach))

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """Start 0 and length floor(r C), (1,) each."""
        start = x.new_zeros(1, dtype=torch.float)
        return Windows(start, start + self.width(reach))

    def touched(self, windows: Windows, reach: Reach = None) -> tuple[int, int]:
        """The first floor(r C) channels, unless a search masks channels."""
        width = self.width(reach)
        return (0, width) if isinstance(width, int) else super().touched(windows, reach)


class DCS(WindowedAttention):
    """Differentiable Channel Selection: M windows for each position from a 1x1 convolution.

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
        self.bounds = _checked_bounds(bounds)
        self.min_length = _checked_length(min_length)
        room = (channels - min(min_length, channels)) / 2
        self.select = _selection(channels, bounds, room, starts=windows, lengths=windows)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """(B, C, H, W) -> start and length, (B, N, M)."""
        reach = self.channels if reach is None else reach
        start, length = _selected(self.select, x, self.bounds).chunk(2, dim=-1)  # (B, N, M) each
        return Windows(*squash_window(start, length, reach, self.min_length, self.bounds))

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The 1x1 convolution."""
        return {"windows": list(self.select.parameters())}


class DCSPos(WindowedAttention):
    """DCS with the length fixed at r C: only the position of the windows is learned.

    Args:
        channels: C of the feature map.
        windows: M, windows for each position.
        ratio: r, the fraction of the channels in a window.
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
        options: see :class:`WindowedAttention`.
    """

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
        self.bounds = _checked_bounds(bounds)
        self.ratio = _checked_ratio(ratio)
        self.select = _selection(channels, bounds, (1 - ratio) * channels, starts=windows)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """(B, C, H, W) -> start and length, (B, N, M)."""
        reach = self.channels if reach is None else reach
        length = self.ratio * reach
        room = reach - length
        start = squash_start(_selected(self.select, x, self.bounds), room, room / 2, self.bounds)
        return Windows(start, torch.zeros_like(start) + length)

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The 1x1 convolution."""
        return {"windows": list(self.select.parameters())}


class DCSDim(WindowedAttention):
    """DCS with the start fixed at 0: only the key dimension is learned.

    Args:
        channels: C of the feature map.
        windows: M. All begin at 0, so with ``union="max"`` only the longest has an effect.
        min_length: the shortest window, in channels.
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
        options: see :class:`WindowedAttention`.
    """

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
        self.bounds = _checked_bounds(bounds)
        self.min_length = _checked_length(min_length)
        self.select = _selection(channels, bounds, 0.0, lengths=windows)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """(B, C, H, W) -> start and length, (B, N, M)."""
        reach = self.channels if reach is None else reach
        offsets = _selected(self.select, x, self.bounds)  # (B, N, M)
        length = squash_length(offsets, reach, self.min_length, self.bounds)
        return Windows(torch.zeros_like(length), length)

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The 1x1 convolution."""
        return {"windows": list(self.select.parameters())}


class DCSSW(SharedWindowAttention):
    """Single-window DCS: one learned window, the same for all positions and images.

    It starts in the middle and covers half of the channels.

    Args:
        channels: C of the feature map.
        min_length: the shortest window, in channels.
        bounds: how windows are kept inside, one of ``BOUNDS`` (bounds.py).
        options: see :class:`WindowedAttention`.
    """

    def __init__(
        self,
        channels: int,
        *,
        min_length: float = 1.0,
        bounds: str = DEFAULT_BOUNDS,
        **options,
    ) -> None:
        super().__init__(channels, **options)
        self.bounds = _checked_bounds(bounds)
        self.min_length = _checked_length(min_length)
        self.start_logit = nn.Parameter(torch.zeros(1))
        self.length_logit = nn.Parameter(torch.zeros(1))

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """Start and length, (1,) each."""
        logits = self.start_logit, self.length_logit
        reach = self.channels if reach is None else reach
        return Windows(*squash_window(*logits, reach, self.min_length, self.bounds))

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The logits of the window."""
        return {"windows": [self.start_logit, self.length_logit]}


class GSA(SharedWindowAttention):
    """Gumbel softmax attention, the paper's baseline for DCS: one of 15 fixed windows.

    The windows are adjacent intervals of r C channels for r = 1, 1/2, 1/4, 1/8. In training the
    affinity is the mean of the 15 affinities with Gumbel softmax weights, drawn once per forward
    pass; in evaluation it is that of the likeliest window.

    Args:
        channels: C of the feature map.
        temperature: temperature of the Gumbel softmax; a search anneals the attribute.
        options: see :class:`WindowedAttention`.
    """

    places: Tensor
    ratios: Tensor

    def __init__(self, channels: int, *, temperature: float = 1.0, **options) -> None:
        super().__init__(channels, **options)
        if not temperature > 0:
            raise ValueError(f"temperature must be a number above 0, not {temperature!r}")
        self.temperature = temperature
        parts = [(k, n) for n in (1, 2, 4, 8) for k in range(n)]
        places, ratios = [k / n for k, n in parts], [1 / n for _, n in parts]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.register_buffer("ratios", torch.tensor(ratios), persistent=False)
        self.logits = nn.Parameter(torch.zeros(len(parts)))

    def candidates(self, reach: Reach = None) -> Windows:
        """Starts floor(C k / n) and lengths floor(C / n), at least 1; (15,) each."""
        reach = self.channels if reach is None else reach
        return Windows((reach * self.places).floor(), (reach * self.ratios).floor().clamp(min=1))

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """Start and length of the likeliest window, (1,) each."""
        likeliest = self.logits.argmax(keepdim=True)
        start, length = self.candidates(reach)
        return Windows(start[likeliest], length[likeliest])

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The logits of the Gumbel softmax."""
        return {"logits": [self.logits]}

    def attend(self, tokens: Tensor, windows: Windows, reach: Reach = None) -> Tensor:
        """Mix the masks, which mixes the affinities, as they are linear in the mask."""
        if not self.training:
            return super().attend(tokens, windows, reach)
        chances = F.gumbel_softmax(countable(self.logits), self.temperature)  # (15,)
        query = tokens * (chances @ self.masks(reach).to(chances.dtype)).to(tokens.dtype)
        return channel_attention(query, tokens, tokens)

    def masks(self, reach: Reach = None) -> Tensor:
        """Binary masks of the 15 windows: (15, C)."""
        p = torch.arange(self.channels, device=self.places.device)
        start, length = (each.unsqueeze(-1) for each in self.candidates(reach))  # (15, 1) each
        return ((p >= start) & (p < start + length)).to(start.dtype)


ATTENTIONS: dict[str, type[WindowedAttention]] = {
    "sa": SA,
    "dcs": DCS,
    "dcs_sw": DCSSW,
    "dcs_pos": DCSPos,
    "dcs_dim": DCSDim,
    "gsa": GSA,
}


def build_attention(kind: str, channels: int, **options) -> WindowedAttention:
    """Build an attention block.

    Args:
        kind: one of ``ATTENTIONS``.
        channels: C of the feature map.
        options: keyword arguments of the kind's class.

    Returns:
        A module from (B, C, H, W) to (B, C, H, W).

    Raises:
        ValueError: unknown kind, or an option out of range.
        TypeError: unknown option.
    """
    if kind not in ATTENTIONS:
        raise ValueError(f"unknown attention {kind!r}; known: {', '.join(ATTENTIONS)}")
    return ATTENTIONS[kind](channels, **options)


def _selection(
    channels: int, bounds: str, room: float, *, starts: int = 0, lengths: int = 0
) -> nn.Conv2d:
    """The 1x1 convolution that gives the starts of windows, then their lengths.

    Where the features are zero, lengths are half of their range, and the starts are spread
    evenly over the room left. The convolution adds a deviation of an eighth of the channels to
    offsets in channels; of 1 to logits, for features of variance 1.
    """
    windows = max(starts, lengths)
    if not isinstance(windows, int) or windows < 1:
        raise ValueError(f"windows must be a whole number of at least 1, not {windows!r}")
    select = nn.Conv2d(channels, starts + lengths, 1)
    place = (torch.arange(starts) + 0.5) / max(starts, 1)
    bias = torch.zeros(starts + lengths)
    if bounds == "sigmoid":
        nn.init.normal_(select.weight, std=channels**-0.5)
        bias[:starts] = torch.logit(place)
    else:
        nn.init.normal_(select.weight, std=channels / 8)
        bias[:starts] = room * (place - 0.5)
    select.bias = nn.Parameter(bias)
    return select


def _selected(select: nn.Conv2d, x: Tensor, bounds: str) -> Tensor:
    """What a block's convolution gives each position, (B, C, H, W) -> (B, N, M or 2 M).

    In channels, features are divided by their norm: a step of gradient descent on the weights then
    moves a window as far as the same step on its bias, whatever C and the scale of the features.
    """
    offsets = countable(select(x).flatten(2).mT)
    if bounds == "sigmoid":
        return offsets
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=offsets.dtype)
    assert select.bias is not None
    bias = countable(select.bias)
    return bias + (offsets - bias) / norm.clamp(min=1e-6).flatten(2).mT


def _checked_bounds(bounds: str) -> str:
    if bounds not in BOUNDS:
        raise ValueError(f"bounds must be one of {tuple(BOUNDS)}, not {bounds!r}")
    return bounds


def _checked_length(min_length: float) -> float:
    if not isinstance(min_length, int | float) or not min_length > 0:
        raise ValueError(f"min_length must be a number above 0, not {min_length!r}")
    return min_length


def _checked_ratio(ratio: float) -> float:
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise ValueError(f"ratio must be a number above 0 and at most 1, not {ratio!r}")
    return ratio
