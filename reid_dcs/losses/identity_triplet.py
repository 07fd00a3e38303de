"""Training losses: label-smoothed identity loss and batch-hard triplet loss."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Losses(NamedTuple):
    """Scalar losses of one batch; ``total`` is minimized."""

    total: Tensor
    identity: Tensor
    triplet: Tensor


class IdentityTripletLoss(nn.Module):
    """``CE(logits, pid) + triplet_weight * triplet(features, pid)``.

    Args:
        label_smoothing: probability mass spread evenly over all classes (Szegedy et al., 2016).
        margin: margin of the triplet loss, in Euclidean distance; None uses the soft margin.
        triplet_weight: weight of the triplet loss; 0 trains with the identity loss only.
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
        """Compute the losses of one batch.

        Args:
            logits: (B, num_classes).
            features: (B, D).
            pids: (B,) int64 identities.
        """
        identity = F.cross_entropy(logits, pids, label_smoothing=self.label_smoothing)
        triplet = batch_hard_triplet(features, pids, self.margin)
        total = identity + self.triplet_weight * triplet if self.triplet_weight else identity
        return Losses(total, identity, triplet)


def batch_hard_triplet(features: Tensor, pids: Tensor, margin: float | None) -> Tensor:
    """Batch-hard triplet loss (Hermans et al., 2017).

    ``mean_i max(0, margin + max_p d(i, p) - min_n d(i, n))`` with the Euclidean distance d: each
    anchor i is compared with its farthest positive p and its nearest negative n in the batch.
    The soft margin is ``mean_i log(1 + exp(max_p d(i, p) - min_n d(i, n)))``, whose gradient
    never becomes zero. A batch of one identity has no negatives: its loss is 0.

    Args:
        features: (B, D).
        pids: (B,) identities.
        margin: margin in Euclidean distance; None uses the soft margin.

    Returns:
        a scalar.
    """
    if features.dtype != torch.float64:
        features = features.float()
    same_pid = pids[:, None] == pids[None, :]  # (B, B)
    with torch.no_grad():  # mining uses a fast matrix product, which rounds
        centered = features - features.mean(0)
        distances = torch.cdist(centered, centered, compute_mode="use_mm_for_euclid_dist")
        positive = distances.masked_fill(~same_pid, -torch.inf).argmax(1)  # (B,) indices
        negative = distances.masked_fill(same_pid, torch.inf).argmin(1)
    # Only the mined 2 B distances are computed exactly, with gradients.
    hardest_positive, hardest_negative = (
        torch.linalg.vector_norm(features - features[mined], dim=1)
        for mined in (positive, negative)
    )
    gap = hardest_positive - hardest_negative  # (B,)
    loss = (F.softplus(gap) if margin is None else F.relu(margin + gap)).mean()
    return torch.where(same_pid.all(), 0, loss)
