"""Progressive resizing: training batches whose input size changes over the epochs."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple


class Phase(NamedTuple):
    """Epochs of a training whose images have the same size."""

    epochs: int
    """Number of epochs; the last phase of a training has no end."""
    batches: int
    """Number of batches of an epoch."""
    open: Callable[[], Any]
    """Reads the images at their size; returns the loader of the batches."""


class PhasedLoader:
    """Batches of an epoch, from the loader of its phase; the images of one phase are in memory.

    ``set_epoch`` chooses the phase, so a run is resumed in any of them.

    Args:
        first: the phases before the last one, in order.
        last: the phase of all later epochs.

    Raises:
        InputError: unreadable images.
    """

    def __init__(self, first: Sequence[Phase], last: Phase) -> None:
        self.phases = [*first, last]
        self.ends = list(accumulate(phase.epochs for phase in first))
        self.number, self.loader = 0, self.phases[0].open()  # finds unreadable images early

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Set the epoch, and the batch of it, at which the next iteration starts."""
        number = self._number(epoch)
        if number != self.number:
            self.loader = None  # frees the images before others are read
            self.number, self.loader = number, self.phases[number].open()
        self.loader.set_epoch(epoch, first_batch)

    def __len__(self) -> int:
        """Number of batches of the current epoch."""
        return len(self.loader)

    def epoch_lengths(self, epochs: int) -> list[int]:
        """Number of batches of each of the first ``epochs`` epochs."""
        return [self.phases[self._number(epoch)].batches for epoch in range(epochs)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def _number(self, epoch: int) -> int:
        return bisect_right(self.ends, epoch)
