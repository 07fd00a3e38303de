"""``dcs_mask``: a binary mask on the channels of each position, in the place of windows.

The published version of the paper (arXiv 2505.08961) selects channels one by one. A linear layer
gives a logit theta for each position and channel; with Gumbel noise g1 and g2,

    M = 1[sigmoid((theta + g1 - g2) / tau) > 1/2] forward, the sigmoid backward,

a straight-through Gumbel sigmoid. The noise is the search's: in evaluation, and in a training whose
linear layer is frozen, M = 1[theta > 0]. Query and key are masked each by its position's mask,
``R = (X * M) (X * M)^T``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention.affinity import channel_attention, product_macs
from reid_dcs.attention.block import AttentionBlock, Reach, WindowReport
from reid_dcs.attention.checks import checked_temperature
from reid_dcs.attention.windows import countable

NORMALIZATIONS = ("positions", "softmax")


class DCSMask(AttentionBlock):
    """Attention whose affinities read the channels of a binary mask of each position.

    Args:
        channels: C of the feature map.
        normalization: ``"positions"`` divides R by N, as the other kinds do; ``"softmax"``, as
            published, needs the N x N matrix R: N^2 (D + C) multiply-adds for any C.
        temperature: tau; a search anneals the attribute.
        options: see :class:`AttentionBlock`.
    """

    def __init__(
        self,
        channels: int,
        *,
        normalization: str = "positions",
        temperature: float = 1.0,
        **options,
    ) -> None:
        super().__init__(channels, **options)
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {NORMALIZATIONS}, not {normalization!r}"
            )
        self.normalization = normalization
        self.temperature = checked_temperature(temperature)
        self.select = nn.Conv2d(channels, channels, 1)

    def search_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The linear layer."""
        return {"windows": list(self.select.parameters())}

    def logits(self, x: Tensor) -> Tensor:
        """theta: (B, C, H, W) -> (B, N, C), in float32 or finer."""
        return countable(self.select(x).flatten(2).mT)

    def mask(self, x: Tensor) -> Tensor:
        """M: (B, C, H, W) -> (B, N, C), zeros and ones.

        In training it has a gradient, and it is a sample unless the linear layer is frozen.
        """
        theta = self.logits(x)
        if not self.training:
            return (theta > 0).to(x.dtype)
        if self.select.weight.requires_grad:  # g1 - g2 has the logistic distribution
            theta = theta + torch.rand_like(theta).logit(eps=1e-6)
        soft = (theta / self.temperature).sigmoid()
        hard = (theta > 0).to(soft.dtype)
        return (hard + (soft - soft.detach())).to(x.dtype)

    def expected_share(self, x: Tensor, reach: Reach = None) -> Tensor:
        """Expected fraction of the first ``reach`` channels that a position selects: (B, N).

        A channel is selected with probability sigmoid(theta), whatever the temperature.
        """
        reach = self.channels if reach is None else reach
        inside = (reach - torch.arange(self.channels, device=x.device)).clamp(0, 1)  # (C,)
        return (self.logits(x).sigmoid() * inside).sum(-1) / reach

    def attend_map(self, x: Tensor, reach: Reach = None) -> Tensor:
        """``(1/N) R X`` or ``softmax(R) X``: (B, C, H, W) -> (B, N, C).

        Channels beyond ``reach`` are zero in x, so that a mask there makes no difference.
        """
        tokens = x.flatten(2).mT  # (B, N, C)
        query = tokens * self.mask(x)
        query = query if self.kept is None else query[..., self.kept]
        if self.normalization == "softmax":
            query, value = query.unsqueeze(1), tokens.unsqueeze(1)  # one head: (B, 1, N, C)
            return F.scaled_dot_product_attention(query, query, value, scale=1.0).squeeze(1)
        return channel_attention(query, query, tokens)

    def affinity_macs(self, positions: int, read: int, channels: int) -> int:
        """Multiply-adds of R X; a softmax needs R."""
        both = product_macs(positions, read, channels)
        return both[0] if self.normalization == "softmax" else min(both)

    @torch.no_grad()
    def report(self, x: Tensor) -> WindowReport:
        """A mask has no windows: start and length are (B, N, 0)."""
        selected = self.channel_weights(x).mean(-1)  # (B, N)
        none = selected.new_zeros(*selected.shape, 0)
        return WindowReport(none, none, selected)

    @torch.no_grad()
    def channel_weights(self, x: Tensor) -> Tensor:
        """The mask without noise: (B, N, C)."""
        return (self.logits(x) > 0).to(x.dtype)

    @torch.no_grad()
    def reads(self, x: Tensor) -> Tensor:
        """The mask without noise: (B, N, C) bool."""
        return self.channel_weights(x) > 0

    @torch.no_grad()
    def affinities(self, x: Tensor, positions: Sequence[int]) -> Tensor:
        """Rows of R, or of its softmax, for P positions: (B, P, N)."""
        query = x.flatten(2).mT * self.channel_weights(x)
        rows = query[:, list(positions)] @ query.mT
        return rows.softmax(-1) if self.normalization == "softmax" else rows
