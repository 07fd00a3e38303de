"""The training criterion: identity loss with label smoothing, and batch-hard triplet loss."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Losses(NamedTuple):
    """Scalars of one batch; ``total`` is what is minimised."""

    total: Tensor
    identity: Tensor
    triplet: Tensor


class IdentityTripletLoss(nn.Module):
    """``CE(logits, pid) + triplet_weight * triplet(features, pid)``.

    Args:
        label_smoothing: share of the target spread over all classes (Szegedy et al., 2016).
        margin: of the triplet loss, in the features' Euclidean distance; None: the soft margin.
        triplet_weight: zero trains with the identity loss alone.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        margin: float | None = 0.3,
        triplet_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.label_smoothing, self.margin = label_smoothing, margin
        self.triplet_weight = triplet_weight

    def forward(self, logits: Tensor, features: Tensor, pids: Tensor) -> Losses:
        """logits (B, num_classes), features (B, D), pids (B,) int64."""
        identity = F.cross_entropy(logits, pids, label_smoothing=self.label_smoothing)
        triplet = batch_hard_triplet(features, pids, self.margin)
        return Losses(identity + self.triplet_weight * triplet, identity, triplet)


def batch_hard_triplet(features: Tensor, pids: Tensor, margin: float | None) -> Tensor:
    """``mean_i max(0, margin + max_p d(i, p) - min_n d(i, n))`` (Hermans et al., 2017).

    The farthest positive p and the nearest negative n of each anchor i are mined in the batch.
    Their soft margin is ``mean_i log(1 + exp(max_p d(i, p) - min_n d(i, n)))``: it never stops
    pulling.

    Args:
        features: (B, D).
        pids: (B,); at least two identities.
        margin: in Euclidean distance; None: the soft margin.

    Returns:
        a scalar.
    """
    if features.dtype != torch.float64:
        features = features.float()
    same = pids[:, None] == pids[None, :]  # (B, B)
    with torch.no_grad():  # by a matrix product, which rounds
        centred = features - features.mean(0)
        rough = torch.cdist(centred, centred)
        positive = rough.masked_fill(~same, -torch.inf).argmax(1)  # (B,)
        negative = rough.masked_fill(same, torch.inf).argmin(1)
    # Those 2 B alone are then measured, and exactly.
    hardest_positive, hardest_negative = (
        torch.linalg.vector_norm(features - features[mined], dim=1)
        for mined in (positive, negative)
    )
    gap = hardest_positive - hardest_negative  # (B,)
    return (F.softplus(gap) if margin is None else F.relu(margin + gap)).mean()
