"""From a feature map to what losses and evaluation want: pooling, BN neck, classifier."""

import torch.nn.functional as F
from torch import Tensor, nn

LOSSES = ("softmax", "triplet")


class GlobalAvgPool(nn.Module):
    """The mean over positions, whose gradient comes in the layout of the map.

    That of ``AdaptiveAvgPool2d(1)`` never is in ``channels_last``, which slows down the BN before.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D)."""
        return F.avg_pool2d(maps, maps.shape[2:]).flatten(1)


class ReIDNetwork(nn.Module):
    """A trunk and the head of the strong baseline (Luo et al., 2019), under torchreid's contract.

    The triplet loss sees the pooled feature before the BN neck; the classifier and the
    evaluation see the one after it.

    Args:
        trunk: (B, 3, H, W) -> (B, D, h, w). Where it has a method ``embed``, (B, D) -> (B, D),
            that comes after the pooling.
        feature_dim: D.
        num_classes: identities in training.
        loss: ``"softmax"`` (training gives logits) or ``"triplet"`` (logits and features).

    Raises:
        ValueError: an unknown loss.
    """

    def __init__(
        self, trunk: nn.Module, feature_dim: int, num_classes: int, loss: str = "triplet"
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {LOSSES}, not {loss!r}")
        self.loss, self.feature_dim = loss, feature_dim
        self.trunk = trunk
        self.pool = GlobalAvgPool()
        self.neck = nn.BatchNorm1d(feature_dim)
        self.neck.bias.requires_grad_(False)  # features stay centred, as cosine distance wants
        self.classifier = nn.Linear(feature_dim, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(
        self, x: Tensor, return_featuremaps: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), normalised.

        Returns:
            in evaluation features (B, D); in training logits (B, num_classes), and with
            ``loss="triplet"`` the features before the neck (B, D) besides; with
            ``return_featuremaps`` the trunk's last map (B, D, h, w).
        """
        maps = self.trunk(x)  # (B, D, h, w)
        if return_featuremaps:
            return maps
        pooled = self.pool(maps)  # (B, D)
        if hasattr(self.trunk, "embed"):
            pooled = self.trunk.embed(pooled)
        features = self.neck(pooled)
        if not self.training:
            return features
        logits = self.classifier(features)  # (B, num_classes)
        return logits if self.loss == "softmax" else (logits, pooled)
