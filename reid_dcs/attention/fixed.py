"""Attention with windows that are given: ``sa``, and ``gsa``, which chooses one of 15."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.block import Reach, SharedWindowAttention, Windows
from reid_dcs.attention.checks import checked_ratio, checked_temperature
from reid_dcs.attention.windows import countable


class SA(SharedWindowAttention):
    """Self-attention whose affinities read the first ``floor(r C)`` channels (Eq. 2).

    Args:
        channels: C of the feature map.
        ratio: r; 1 is Eq. (1).
        options: see :class:`WindowedAttention`.
    """

    def __init__(self, channels: int, *, ratio: float = 0.5, **options) -> None:
        super().__init__(channels, **options)
        self.ratio = checked_ratio(ratio)

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
        self.temperature = checked_temperature(temperature)
        parts = [(k, n) for n in (1, 2, 4, 8) for k in range(n)]
        places, ratios = [k / n for k, n in parts], [1 / n for _, n in parts]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.register_buffer("ratios", torch.tensor(ratios), persistent=False)
        self.logits = nn.Parameter(torch.zeros(len(parts)))

    def candidates(self, reach: Reach = None) -> Windows:
        """Starts floor(C k / n) and lengths floor(C / n), at least 1; (15,) each."""
        reach = self.channels if reach is None else reach
        places, ratios = countable(self.places), countable(self.ratios)
        return Windows((reach * places).floor(), (reach * ratios).floor().clamp(min=1))

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
