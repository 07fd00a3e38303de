"""Training losses of Re-ID: the recipe's two, and the information bottleneck term."""

from reid_dcs.losses.identity_triplet import IdentityTripletLoss, Losses, batch_hard_triplet
from reid_dcs.losses.information_bottleneck import InformationBottleneckLoss

__all__ = ["IdentityTripletLoss", "InformationBottleneckLoss", "Losses", "batch_hard_triplet"]
