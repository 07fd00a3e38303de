"""Interface of a task: the losses of a batch, and the metrics of an evaluation."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

Losses = dict[str, Tensor]
"""Scalars of a batch by name. The first is minimized; all are averaged, printed and recorded."""

Metrics = dict[str, float]
"""Results of an evaluation by name."""


class Task(Protocol):
    """The trainer knows nothing else about what a network is trained for."""

    def losses(self, batch: Any) -> Losses:
        """Losses of a batch, computed with the network in training mode."""

    def evaluate(self, model: nn.Module) -> Metrics:
        """Metrics of ``model``: the trained network, or its moving average if there is one."""


class TaskLosses(nn.Module):
    """A task's losses as a module, so that DistributedDataParallel can wrap them.

    The task itself calls the plain network and need not know of other processes.

    Args:
        model: network whose parameters get gradients.
        losses: :meth:`Task.losses`.
    """

    def __init__(self, model: nn.Module, losses: Callable[[Any], Losses]) -> None:
        super().__init__()
        self.model, self.losses = model, losses

    def forward(self, batch: Any) -> Losses:
        """Losses of a batch."""
        return self.losses(batch)
