"""Replace the windows or masks of a trained network, everything else unchanged.

The difference that a replacement makes to a network's results is what its windows are worth: if
all channels do as well as the windows do, nothing was selected that mattered.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from reid_dcs.attention.block import (
    Reach,
    SharedWindowAttention,
    WindowedAttention,
    Windows,
    named_blocks,
)
from reid_dcs.attention.masked import DCSMask

SUBSTITUTIONS = {
    "all_channels": "all channels selected",
    "shuffled": "windows shuffled over positions",
    "random": "random windows of the same lengths",
    "removed": "attention removed",
}
"""What :func:`substitute` can do, with a title for tables."""


def substitutions(network: nn.Module) -> list[str]:
    """The substitutions that are meaningful for a network's attention blocks.

    Windows that all positions share cannot be shuffled, and fixed ones, or one of a fixed set
    (``sa``, ``gsa``), are not compared with random ones.

    Returns:
        keys of ``SUBSTITUTIONS``, in its order; empty without attention blocks.
    """
    blocks = named_blocks(network).values()
    meaningful = {
        "all_channels": bool(blocks),
        "shuffled": any(not isinstance(block, SharedWindowAttention) for block in blocks),
        "random": any("windows" in block.search_parameters() for block in blocks),
        "removed": bool(blocks),
    }
    return [name for name in SUBSTITUTIONS if meaningful[name]]


def substitute(network: nn.Module, substitution: str, seed: int = 0) -> nn.Module:
    """Copy a network, with the windows of all attention blocks replaced.

    Args:
        network: any network with attention blocks; it is not changed.
        substitution: a key of ``SUBSTITUTIONS``:

            - ``all_channels``: one window over all channels, or a mask of ones;
            - ``shuffled``: each image's windows, the M of a position together, or its masks,
              permuted over its positions, for each image and block anew;
            - ``random``: each window keeps its length l and gets a start drawn uniformly from
              [0, C - l]; a window that all positions share is drawn once for all images;
              each mask keeps its number of channels and gets other ones;
            - ``removed``: the identity instead of the block.

        seed: seed of the permutations and the starts, at least 0. Each block draws for image after
            image in a sequence of its own, on the CPU: the draws depend on the order in which the
            network sees the images, and not on the size of the batches or the device. What a
            block reports (``describe_windows``) is drawn in this sequence, too.

    Raises:
        ValueError: an unknown substitution.
    """
    if substitution not in SUBSTITUTIONS:
        raise ValueError(
            f"substitution must be one of {tuple(SUBSTITUTIONS)}, not {substitution!r}"
        )
    changed = copy.deepcopy(network)
    blocks = named_blocks(changed)
    for number, (name, block) in enumerate(blocks.items()):
        draws = torch.Generator().manual_seed(seed * len(blocks) + number)
        if substitution == "removed":
            changed.set_submodule(name, nn.Identity())
        elif isinstance(block, DCSMask):
            changed.set_submodule(name, _SubstitutedMask(block, _MASKS[substitution], draws))
        elif isinstance(block, WindowedAttention):
            changed.set_submodule(name, _Substituted(block, _WINDOWS[substitution], draws))
    return changed


def all_channels(windows: Windows, channels: int, draws: torch.Generator) -> Windows:
    """One window over all channels: start and length (1,)."""
    return Windows(windows.start.new_zeros(1), windows.length.new_full((1,), channels))


def shuffled(windows: Windows, channels: int, draws: torch.Generator) -> Windows:
    """Windows (B, N, M), permuted over the N positions of each image."""
    start, length = windows
    if start.ndim == 1:
        return windows
    order = _order(start, draws)
    return Windows(start.take_along_dim(order, 1), length.take_along_dim(order, 1))


def random(windows: Windows, channels: int, draws: torch.Generator) -> Windows:
    """Windows of the same lengths, (B, N, M) or (M,), with uniform starts in [0, C - length]."""
    length = windows.length
    if length.ndim == 1:  # the same window for all images
        draws.manual_seed(draws.initial_seed())
    share = torch.rand(length.shape, generator=draws).to(length)
    return Windows(share * (channels - length), length)


def all_channels_mask(mask: Tensor, draws: torch.Generator) -> Tensor:
    """Ones: (B, N, C)."""
    return torch.ones_like(mask)


def shuffled_mask(mask: Tensor, draws: torch.Generator) -> Tensor:
    """Masks (B, N, C), permuted over the N positions of each image."""
    return mask.take_along_dim(_order(mask, draws), 1)


def random_mask(mask: Tensor, draws: torch.Generator) -> Tensor:
    """Masks of as many channels, drawn uniformly for each position: (B, N, C)."""
    order = torch.rand(mask.shape, generator=draws).argsort(dim=2, stable=True)
    return mask.take_along_dim(order.to(mask.device), 2)


def _order(values: Tensor, draws: torch.Generator) -> Tensor:
    """A permutation of the N positions of each image: (B, N, 1) for values (B, N, ...)."""
    order = torch.rand(values.shape[:2], generator=draws).argsort(dim=1, stable=True)
    return order.to(values.device).unsqueeze(-1)


_WINDOWS: dict[str, Callable[[Windows, int, torch.Generator], Windows]] = {
    "all_channels": all_channels,
    "shuffled": shuffled,
    "random": random,
}


_MASKS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "all_channels": all_channels_mask,
    "shuffled": shuffled_mask,
    "random": random_mask,
}


class _Substituted(WindowedAttention):
    """A trained block whose affinities are read through other windows than those it computes."""

    def __init__(
        self,
        block: WindowedAttention,
        replacement: Callable[[Windows, int, torch.Generator], Windows],
        draws: torch.Generator,
    ) -> None:
        super().__init__(block.channels, mode=block.mode, union=block.union)
        self.block, self.replacement, self.draws = block, replacement, draws
        self.project, self.norm = block.project, block.norm
        self.kept = block.kept
        self.train(block.training)

    def windows(self, x: Tensor, reach: Reach = None) -> Windows:
        """Start and length in the place of the block's."""
        return self.replacement(self.block.windows(x, reach), self.channels, self.draws)


class _SubstitutedMask(DCSMask):
    """A trained block whose affinities are read through other masks than those it computes."""

    def __init__(
        self,
        block: DCSMask,
        replacement: Callable[[Tensor, torch.Generator], Tensor],
        draws: torch.Generator,
    ) -> None:
        super().__init__(block.channels, normalization=block.normalization)
        self.replacement, self.draws = replacement, draws
        self.select, self.project, self.norm = block.select, block.project, block.norm
        self.kept = block.kept
        self.train(block.training)

    def mask(self, x: Tensor) -> Tensor:
        """Masks in the place of the block's."""
        return self.replacement(super().mask(x), self.draws)

    def channel_weights(self, x: Tensor) -> Tensor:
        """Masks in the place of the block's, without noise: (B, N, C)."""
        return self.replacement(super().channel_weights(x), self.draws)
