"""Which optimizers step on which batch."""

from collections.abc import Sequence

from torch import Tensor


class Policy:
    """The default policy: every optimizer steps on every batch.

    A subclass changes what it needs to; Algorithm 1 (``reid_dcs.search.alternation``) is one.
    """

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch, counted from 0."""

    def turn(self, batch: int, optimizers: Sequence[str]) -> Sequence[str]:
        """Names of the optimizers that step on a batch.

        Args:
            batch: its number in the epoch, from 0.
            optimizers: names of all optimizers.
        """
        return optimizers

    def losses(self, losses: dict[str, Tensor], turn: Sequence[str]) -> dict[str, Tensor]:
        """Losses of a batch, the one to minimize first, changed or added to for this turn."""
        return losses
