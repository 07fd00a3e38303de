"""The 1x1 convolution that computes the windows of each position."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention.checks import checked_bounds
from reid_dcs.attention.windows import countable


class SelectionConv(nn.Conv2d):
    """1x1 convolution to the starts of a position's windows, then their lengths.

    At zero features, lengths are half of their range, and starts are spread evenly over the
    room. For features of variance 1, the convolution adds a standard deviation of an eighth of
    the channels to offsets in channels, and of 1 to logits (``bounds="sigmoid"``).

    Args:
        channels: C of the feature map.
        bounds: how windows are kept inside, one of ``BOUNDS``.
        room: range of the starts in channels, for windows of the initial length.
        starts, lengths: number of starts and of lengths for each position, M or 0.

    Raises:
        ValueError: an option out of range.
    """

    def __init__(
        self, channels: int, bounds: str, room: float, *, starts: int = 0, lengths: int = 0
    ) -> None:
        windows = lengths or starts
        if type(windows) is not int or not 1 <= windows <= channels:
            raise ValueError(
                f"windows must be a whole number from 1 to the {channels} channels, not {windows!r}"
            )
        super().__init__(channels, starts + lengths, 1)
        self.bounds = checked_bounds(bounds)
        place = (torch.arange(starts) + 0.5) / max(starts, 1)
        bias = torch.zeros(starts + lengths)
        if bounds == "sigmoid":
            nn.init.normal_(self.weight, std=channels**-0.5)
            bias[:starts] = torch.logit(place)
        else:
            nn.init.normal_(self.weight, std=channels / 8)
            bias[:starts] = room * (place - 0.5)
        self.bias = nn.Parameter(bias)

    def offsets(self, x: Tensor) -> Tensor:
        """Offsets or logits of each position: (B, C, H, W) -> (B, N, starts + lengths).

        For offsets in channels, features are divided by their norm. A step of gradient descent on
        the weights then moves a window as far as the same step on the bias, whatever C and the
        scale of the features.
        """
        if self.bounds == "sigmoid":
            return countable(self(x).flatten(2).mT)
        assert self.bias is not None
        precise = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=precise).clamp(min=1e-6)
        if x.dtype == torch.float16:  # which a sum over many channels exceeds
            x, norm = x / norm.to(x.dtype), torch.ones_like(norm)
        moved = (countable(F.conv2d(x, self.weight)) / norm).flatten(2).mT
        # the bias last: in half precision it is rounded, which a division would magnify
        return moved + countable(self.bias)
