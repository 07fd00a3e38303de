"""Re-identification networks: a backbone, pooling, BN neck and identity classifier."""

import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.models.backbones.base import Backbone
from reid_dcs.models.heads.pooling import GlobalAvgPool

LOSSES = ("softmax", "triplet")
TRIPLET_FEATURES = ("after_neck", "before_neck")


class ReIDNetwork(nn.Module):
    """A backbone with the head of the strong baseline (Luo et al., 2019), for torchreid's engines.

    The classifier and evaluation use the feature after the BN neck. So does the triplet loss, at
    unit length: what evaluation compares. With ``triplet_feature="before_neck"``, as in the strong
    baseline, it uses the pooled feature.

    Args:
        trunk: the backbone; D is its ``out_channels``. State dicts have its weights under
            ``trunk.``.
        num_classes: number of identities in training.
        loss: ``"softmax"`` (in training the network returns logits) or ``"triplet"`` (logits and
            features).

    Attributes:
        triplet_feature: features for the triplet loss, ``"after_neck"`` or ``"before_neck"``.

    Raises:
        ValueError: an unknown loss, or another ``triplet_feature``.
    """

    def __init__(self, trunk: Backbone, num_classes: int, loss: str = "triplet") -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {LOSSES}, not {loss!r}")
        self.loss, self.feature_dim = loss, trunk.out_channels
        self.triplet_feature = "after_neck"
        self.trunk = trunk
        self.pool = GlobalAvgPool()
        self.neck = nn.BatchNorm1d(self.feature_dim)
        self.neck.bias.requires_grad_(False)  # features stay centered, for the cosine distance
        self.classifier = nn.Linear(self.feature_dim, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    @property
    def triplet_feature(self) -> str:
        return self._triplet_feature

    @triplet_feature.setter
    def triplet_feature(self, name: str) -> None:
        if name not in TRIPLET_FEATURES:
            raise ValueError(f"triplet_feature must be one of {TRIPLET_FEATURES}, not {name!r}")
        self._triplet_feature = name

    def forward(
        self, x: Tensor, return_featuremaps: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Apply the network to normalized images (B, 3, H, W).

        Returns:
            in evaluation, features (B, D); in training, logits (B, num_classes), and with
            ``loss="triplet"`` also the features for the triplet loss (B, D); with
            ``return_featuremaps``, the backbone's last map (B, D, h, w).
        """
        maps = self.trunk(x)  # (B, D, h, w)
        if return_featuremaps:
            return maps
        pooled = self.trunk.embed(self.pool(maps))  # (B, D)
        features = self.neck(pooled)
        if not self.training:
            return features
        logits = self.classifier(features)  # (B, num_classes)
        if self.loss == "softmax":
            return logits
        if self.triplet_feature == "before_neck":
            return logits, pooled
        return logits, F.normalize(features, dim=1)
