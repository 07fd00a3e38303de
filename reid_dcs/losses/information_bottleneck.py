"""The information bottleneck term of the published version of the paper (arXiv 2505.08961).

The bound IBB on I(F; X) - I(F; Y), for n features F_i of images X_i with identities y_i, is

    1/n sum_i [ sum_a sum_b phi(F_i, a) phi(X_i, b) log phi(X_i, b)
                - sum_a phi(F_i, a) log Q(a|y_i) ]

with ``phi(F, a) = softmax_a(-beta |F/|F| - c_a|^2)`` over the class centers c_a, and Q(a|y) the
mean of phi(F, a) over the features of class y. The first term does not train anything: X is the
image, and since sum_a phi(F_i, a) = 1 it is sum_b phi(X_i, b) log phi(X_i, b), in which no weight
occurs. Only the second one is computed.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.runtime import distributed


class LossesWithIB(NamedTuple):
    """Scalar losses of one batch; ``total`` is minimized."""

    total: Tensor
    identity: Tensor
    triplet: Tensor
    ib: Tensor


class InformationBottleneckLoss(nn.Module):
    """A criterion with ``weight`` times the information bottleneck term added to its total.

    Centers and class means are those of the previous epoch, of the features of all processes, and
    have no gradient; :meth:`begin_epoch` renews them. So the term is zero in the first epoch, which
    has no centers, and in the second, which has no class means of phi. A class that an epoch does
    not show keeps its last ones.

    Args:
        criterion: maps (logits, features, pids) to ``total``, ``identity`` and ``triplet``.
        weight: eta, at least 0.
        beta: inverse temperature of phi; distances of normalized features are at most 4.
    """

    def __init__(self, criterion: nn.Module, weight: float, beta: float = 10.0) -> None:
        super().__init__()
        self.criterion, self.weight, self.beta = criterion, weight, beta
        self.epoch = 0  # number of epochs begun
        self.means: dict[str, Tensor] = {}  # centers (K, D), q (K, K): of the last epoch
        self.sums: dict[str, Tensor] = {}  # counts (K, 1), centers, q: of this epoch

    def forward(self, logits: Tensor, features: Tensor, pids: Tensor) -> LossesWithIB:
        """Compute the losses of one batch, and add its features to the epoch's sums.

        Args:
            logits: (B, K).
            features: (B, D).
            pids: (B,) int64 identities.
        """
        losses = self.criterion(logits, features, pids)
        self._prepare(features, logits.shape[1])
        directions = nn.functional.normalize(features.to(self.sums["centers"].dtype))
        phi, bound = None, directions.new_zeros(())
        if self.epoch >= 2:
            phi = assignments(directions, self.means["centers"], self.beta)  # (B, K)
        if phi is not None and self.epoch >= 3:
            q = self.means["q"][pids].clamp(min=torch.finfo(phi.dtype).tiny)
            bound = -(phi * q.log()).sum(1).mean()
        self._add(directions, phi, pids)
        total = losses.total + self.weight * bound
        return LossesWithIB(total, losses.identity, losses.triplet, bound)

    def begin_epoch(self) -> None:
        """Renew centers and class means; all processes must call it together."""
        self.epoch += 1
        if not self.sums:
            return
        total = self._summed()
        seen = total["counts"] > 0  # (K, 1)
        for name in ("centers", "q"):
            mean = total[name] / total["counts"].clamp(min=1)
            keep = seen & (mean.sum(1, keepdim=True) > 0) if name == "q" else seen
            self.means[name] = torch.where(keep, mean, self.means[name])
        self.sums = {name: torch.zeros_like(value) for name, value in total.items()}

    def get_extra_state(self) -> dict[str, Any]:
        """State for a checkpoint, with the sums of all processes, which must call it together."""
        return {"epoch": self.epoch, "means": dict(self.means), "sums": self._summed()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continue from a state; the first process gets all sums."""
        self.epoch, self.means = state["epoch"], dict(state["means"])
        self.sums = {
            name: value if distributed.is_main() else torch.zeros_like(value)
            for name, value in state["sums"].items()
        }

    def _summed(self) -> dict[str, Tensor]:
        return {name: distributed.summed(value) for name, value in self.sums.items()}

    def _prepare(self, features: Tensor, classes: int) -> None:
        """Create the tensors, or move them to the device of the features."""
        device = features.device
        if not self.sums:
            dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
            size = {"counts": 1, "centers": features.shape[1], "q": classes}
            self.sums = {
                name: torch.zeros(classes, width, dtype=dtype, device=device)
                for name, width in size.items()
            }
            uniform = torch.full_like(self.sums["q"], 1 / classes)
            self.means = {"centers": self.sums["centers"].clone(), "q": uniform}
        elif self.sums["counts"].device != device:
            self.sums, self.means = (
                {name: value.to(device) for name, value in held.items()}
                for held in (self.sums, self.means)
            )

    @torch.no_grad()
    def _add(self, directions: Tensor, phi: Tensor | None, pids: Tensor) -> None:
        self.sums["counts"].index_add_(0, pids, torch.ones_like(directions[:, :1]))
        self.sums["centers"].index_add_(0, pids, directions)
        if phi is not None:
            self.sums["q"].index_add_(0, pids, phi)


def assignments(directions: Tensor, centers: Tensor, beta: float) -> Tensor:
    """``phi(F, a) = softmax_a(-beta |F/|F| - c_a|^2)``: (B, D) and (K, D) -> (B, K).

    |F/|F||^2 = 1 for every a, so that it cancels.
    """
    return (beta * (2 * directions @ centers.T - centers.square().sum(1))).softmax(1)
