"""Update policy: the optimizers that step on a batch, and the losses they minimize."""

from collections.abc import Sequence

from torch import Tensor


class Policy:
    """The default policy: every optimizer steps on every batch.

    Subclasses override some methods, as Algorithm 1 does (``reid_dcs.search.alternation``).
    """

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch, counted from 0."""

    def begin_batch(self, epoch: int, batch: int) -> None:
        """Called before the forward pass of a batch; both are counted from 0."""

    def turns(self, batch: int, optimizers: Sequence[str]) -> Sequence[Sequence[str]]:
        """The turns of a batch, each with a forward pass of its own: the optimizers that step.

        Args:
            batch: index of the batch in the epoch.
            optimizers: names of all optimizers.
        """
        return [optimizers]

    def begin_turn(self, turn: Sequence[str]) -> None:
        """Called before the forward pass of a turn."""

    def end_turn(self) -> None:
        """Called after the backward pass, and the step if one is due, of a turn."""

    def losses(self, losses: dict[str, Tensor], turn: Sequence[str]) -> dict[str, Tensor]:
        """Adapt the losses of a batch to this turn; the first one is minimized."""
        return losses
