"""Progress of an epoch: a bar, a line at its end, and mean losses for the history."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import is_main, summed, world_size


class Unread(NamedTuple):
    """Losses of a batch that are not read from the device yet: (L,), and its samples."""

    losses: Tensor
    size: int
    samples: Sequence[str]


class Done(NamedTuple):
    """What an epoch has done so far, over all processes."""

    batches: int = 0
    sums: Mapping[str, float] = {}
    """Sums of the losses of these batches."""
    seconds: float = 0.0
    images: int = 0


class Progress:
    """Sums the losses of an epoch over its batches, averaged over all processes.

    Args:
        epoch: index of the epoch, from 0.
        epochs: number of epochs of the run.
        batches: number of batches of an epoch.
        before: what was done of this epoch before a resume.
    """

    def __init__(self, epoch: int, epochs: int, batches: int, before: Done | None = None) -> None:
        before = before or Done()
        self.title = f"epoch {epoch + 1}/{epochs}"
        self.batches, self.done = batches, before.batches
        self.remaining = (epochs - epoch) * batches  # from the beginning of this epoch
        self.sums, self.images = dict(before.sums), before.images
        self.names: list[str] = []  # of the losses
        self.unread: list[Unread] = []
        self.started = time.perf_counter() - before.seconds
        self.bar: tqdm | None = None

    def watch(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield the loader's batches, with a progress bar on rank 0."""
        bar = tqdm(
            loader,
            self.title,
            total=self.batches,
            initial=self.done,
            unit="batch",
            leave=False,
            disable=None if is_main() else True,
        )
        with bar as self.bar:
            yield from bar

    def add(self, losses: Mapping[str, Tensor], batch: Any) -> None:
        """Keep the losses of a batch on their device, until :meth:`read`."""
        self.names = list(losses)
        row = torch.stack([torch.as_tensor(value) for value in losses.values()])
        self.unread.append(Unread(row, batch_size(batch), sample_names(batch)))

    def read(self) -> None:
        """Read back the losses of all batches added since, which waits for the device.

        Raises:
            InputError: a loss is not finite.
        """
        rows = torch.stack([losses for losses, _, _ in self.unread]).tolist()
        for number, (row, (_, _, samples)) in enumerate(
            zip(rows, self.unread, strict=True), self.done + 1
        ):
            if not all(map(math.isfinite, row)):
                raise InputError(self._not_finite(number, samples))
        images = sum(size for _, size, _ in self.unread)
        sums = [sum(column) for column in zip(*rows, strict=True)]
        *sums, count = summed(torch.tensor([*sums, images], dtype=torch.float64)).tolist()
        for name, value in zip(self.names, sums, strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + value / world_size()
        self.done += len(self.unread)
        self.images += int(count)
        self.unread.clear()
        if self.bar is not None:
            self._show(self.bar)

    def _show(self, bar: tqdm) -> None:
        left = self.seconds / self.done * (self.remaining - self.done)
        bar.set_postfix(
            {name: f"{value:#.4g}" for name, value in self.means.items()},
            images_s=f"{self.images / self.seconds:.0f}",
            left=tqdm.format_interval(left),
            refresh=False,
        )

    def _not_finite(self, number: int, names: Sequence[str]) -> str:
        images = ", ".join(Path(name).name for name in names[:16])
        more = f" and {len(names) - 16} more" if len(names) > 16 else ""
        return (
            f"the loss is not finite in {self.title}, batch {number}/{self.batches}: lower the "
            "learning rate, or check the images of the batch" + (f" ({images}{more})" * bool(names))
        )

    def so_far(self) -> Done:
        """What to resume the epoch from."""
        return Done(self.done, dict(self.sums), self.seconds, self.images)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def means(self) -> dict[str, float]:
        """Mean losses of the batches so far."""
        return {name: value / self.done for name, value in self.sums.items()}

    def summary(self) -> dict[str, float]:
        """Mean losses, seconds, and images per second."""
        seconds = self.seconds
        return self.means | {"seconds": seconds, "images_s": self.images / seconds}

    def line(self) -> str:
        """Summary of the epoch in a line of text."""
        return (
            f"{self.title}  {format_values(self.means)}  {self.images / self.seconds:.0f} images/s"
        )


def format_values(values: Mapping[str, float]) -> str:
    """Format values, such as ``loss 1.234  accuracy 0.5000``."""
    return "  ".join(f"{name} {value:#.4g}" for name, value in values.items())


def batch_size(batch: Any) -> int:
    """Number of samples in a batch: the length of its first field, or of the batch itself."""
    return len(_fields(batch)[0])


def sample_names(batch: Any) -> Sequence[str]:
    """Names of a batch's samples, such as paths: the first field that is a list of strings."""
    for field in _fields(batch):
        if isinstance(field, list | tuple) and field and all(isinstance(v, str) for v in field):
            return field
    return ()


def _fields(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    return list(batch) if isinstance(batch, list | tuple) else [batch]
