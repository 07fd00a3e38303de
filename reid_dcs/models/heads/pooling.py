"""Global average pooling, used by every head."""

import torch.nn.functional as F
from torch import Tensor, nn


class GlobalAvgPool(nn.Module):
    """Mean over positions, with a gradient in the memory format of the map.

    The gradient of ``AdaptiveAvgPool2d(1)`` is never ``channels_last``, which slows down the
    backward pass of the layer before it.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D)."""
        return F.avg_pool2d(maps, maps.shape[2:]).flatten(1)
