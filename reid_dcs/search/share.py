"""A budget on what windows select: the mean share of the channels, differentiable.

A training loss likes every channel, so that windows open until they cover the map. A target share
gives them a reason to select, as ``target_gmacs`` gives a supergraph one to be small.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from reid_dcs.attention import AttentionBlock, DCSMask, WindowedAttention
from reid_dcs.search.parameters import learned_masks, learned_windows


def selected_share(start: Tensor, length: Tensor, channels: float | Tensor) -> Tensor:
    """The share of the channels that the union of M windows covers: (B, N, M) -> (B, N).

    The union of intervals, exactly; a window inside others has no gradient.
    """
    start, order = start.sort(dim=-1)
    end = start + length.gather(-1, order)
    covered = end.cummax(dim=-1).values[..., :-1]  # by the windows before each
    begin = torch.cat([start[..., :1], torch.maximum(start[..., 1:], covered)], dim=-1)
    return (end - begin).clamp(min=0).sum(-1) / channels


def share_penalty(shares: Mapping[str, Tensor], target: float, per_block: bool = False) -> Tensor:
    """``|share / target - 1|``, of the mean over blocks, or the mean of each block's.

    Args:
        shares: by block, the mean share of the channels that its positions select, 0-D each.
        target: above 0, at most 1.
        per_block: every block has the target for itself; otherwise one may select more where
            another selects less.

    Returns:
        0-D.

    Raises:
        ValueError: a target out of range.
    """
    if not 0 < target <= 1:
        raise ValueError(f"target_share must be above 0 and at most 1, not {target!r}")
    each = torch.stack(list(shares.values()))
    return ((each if per_block else each.mean()) / target - 1).abs().mean()


def _share(block: AttentionBlock, x: Tensor, reach: float | Tensor | None) -> Tensor:
    """The share of the channels that each position selects, (B, N)."""
    if isinstance(block, DCSMask):
        return block.expected_share(x, reach)
    assert isinstance(block, WindowedAttention)
    return selected_share(*block.windows(x, reach), block.channels if reach is None else reach)


class ShareMeter:
    """Notes what the learned windows or masks of a network select, in each pass in training.

    Attributes:
        shares: by block, the mean share of the channels over the last pass's positions, 0-D, with
            a graph to the parameters of the windows; of masks the expected share. The features
            have no gradient by it: they are not to be bent towards a budget.
    """

    def __init__(self, network: nn.Module) -> None:
        self.shares: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        for name, block in (learned_windows(network) | learned_masks(network)).items():
            self._handles.append(block.register_forward_pre_hook(self._noting(name)))

    def _noting(self, name: str):
        def note(block: AttentionBlock, inputs: tuple) -> None:
            if block.training:
                x, reach = (*inputs, None)[:2]
                self.shares[name] = _share(block, x.detach(), reach).mean()

        return note

    def penalty(self, target: float, per_block: bool = False) -> Tensor:
        """:func:`share_penalty` of the last forward pass."""
        return share_penalty(self.shares, target, per_block)

    def close(self) -> None:
        """Note no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
