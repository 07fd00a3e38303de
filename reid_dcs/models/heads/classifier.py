"""Image classification networks: a backbone, pooling, dropout and a linear classifier."""

from torch import Tensor, nn

from reid_dcs.models.backbones.base import Backbone
from reid_dcs.models.heads.pooling import GlobalAvgPool


class ClassificationNetwork(nn.Module):
    """A backbone with the head of torchvision's classification networks.

    Args:
        trunk: the backbone; D is its ``out_channels``. State dicts have its weights under
            ``trunk.``, as those of a Re-ID network.
        num_classes: number of classes.
        dropout: rate before the classifier; by default that of the published network
            (MobileNetV2 0.2, others 0).
    """

    def __init__(self, trunk: Backbone, num_classes: int, dropout: float | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(trunk.dropout if dropout is None else dropout)
        self.classifier = nn.Linear(trunk.out_channels, num_classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits (B, num_classes)."""
        pooled = self.trunk.embed(self.pool(self.trunk(x)))  # (B, D)
        return self.classifier(self.dropout(pooled))
