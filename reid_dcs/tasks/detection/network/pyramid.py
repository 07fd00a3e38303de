"""The trunk of a detector: a backbone, a layer norm at each of its outputs, a feature pyramid."""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from reid_dcs.models import Backbone

LEVELS = ("0", "1", "2", "3")
"""Names of the maps that regions are read from, finest first; ``pool`` is for proposals alone."""


class Pyramid(nn.Module):
    """Images to the maps of a feature pyramid.

    Args:
        trunk: backbone; its modules after the stages, which no map needs, become the identity.
        channels: of each map of the pyramid.

    Attributes:
        out_channels: the same number.
        strides: input size divided by map size, for each of the five maps.

    Raises:
        ValueError: a backbone whose four maps do not halve their size from one to the next.
    """

    def __init__(self, trunk: Backbone, channels: int = 256) -> None:
        first = trunk.stage_strides[0]
        if trunk.stage_strides != [first, 2 * first, 4 * first, 8 * first]:
            raise ValueError(
                f"its maps have strides {', '.join(map(str, trunk.stage_strides))}, and a feature "
                "pyramid needs each to be twice the one before"
            )
        super().__init__()
        for name in trunk.after_stages:
            setattr(trunk, name, nn.Identity())
        self.trunk = trunk
        self.norms = nn.ModuleList(LayerNorm2d(c, eps=1e-6) for c in trunk.stage_channels)
        self.fpn = FeaturePyramidNetwork(trunk.stage_channels, channels, LastLevelMaxPool())
        self.out_channels = channels
        self.strides = [*trunk.stage_strides, 2 * trunk.stage_strides[-1]]
        self.frozen: list[nn.Module] = []  # modules of the trunk that are never trained

    def freeze(self, stages: int) -> None:
        """Freeze the first stages of the trunk, with the statistics of their batch norms.

        Attention after them is still trained.
        """
        self.frozen = [m for modules in self.trunk.stage_modules()[:stages] for m in modules]
        for module in self.frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Pyramid":
        """Set the mode of all modules but the frozen ones."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> maps (B, channels, H/4.., W/4..) named :data:`LEVELS` and ``pool``."""
        maps = zip(LEVELS, self.norms, self.trunk.forward_stages(images), strict=True)
        return self.fpn(OrderedDict((level, norm(x)) for level, norm, x in maps))
