"""What is seen of an epoch: a bar while it runs, a line at its end, its means for the history."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import is_main, summed, world_size

Batch = Mapping[str, Any]


class Progress:
    """Adds up an epoch's losses, over all processes.

    Args:
        epoch, epochs: which of how many, from 0.
        batches: of an epoch.
        done: batches of it that an earlier process did.
        sums: what they came to.
    """

    def __init__(
        self,
        epoch: int,
        epochs: int,
        batches: int,
        done: int = 0,
        sums: dict[str, float] | None = None,
    ) -> None:
        self.title = f"epoch {epoch + 1}/{epochs}"
        self.batches, self.done, self.before = batches, done, done
        self.left = (epochs - epoch) * batches  # of the whole run, this epoch included
        self.sums = dict(sums or {})  # of losses, accuracy and images
        self.images = 0
        self.started = time.perf_counter()
        self.bar: tqdm | None = None

    def watch(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """The loader's batches, under a bar on rank 0's terminal."""
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

    def read(self, unread: Sequence[tuple[Mapping[str, Tensor], Batch]]) -> None:
        """Bring batches' losses to the host, which waits for the device, and add them up.

        Raises:
            InputError: one is not a number.
        """
        names = list(unread[0][0])
        rows = torch.stack([torch.stack(list(named.values())) for named, _ in unread]).tolist()
        for number, (row, (_, batch)) in enumerate(zip(rows, unread, strict=True), self.done + 1):
            if not all(map(math.isfinite, row)):
                raise InputError(self._not_a_number(number, batch["impath"]))
        images = sum(len(batch["pid"]) for _, batch in unread)
        sums = [sum(column) for column in zip(*rows, strict=True)]
        *sums, images = summed(torch.tensor([*sums, images], dtype=torch.float64)).tolist()
        for name, value in zip(names, sums, strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + value / world_size()
        self.done += len(unread)
        self.images += images
        if self.bar is not None:
            self._show()

    def _show(self) -> None:
        left = self.seconds / (self.done - self.before) * (self.left - self.done)
        self.bar.set_postfix(
            loss=f"{self.mean('total'):.3f}",
            accuracy=f"{self.mean('accuracy'):.1%}",
            images_s=f"{self.images / self.seconds:.0f}",
            left=tqdm.format_interval(left),
            refresh=False,
        )

    def _not_a_number(self, number: int, paths: Sequence[str]) -> str:
        images = ", ".join(Path(path).name for path in paths[:16])
        more = f" and {len(paths) - 16} more" if len(paths) > 16 else ""
        return (
            f"the loss is not a number in {self.title}, batch {number}/{self.batches}: lower "
            f"train.learning_rate, or look at the batch's images ({images}{more})"
        )

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def mean(self, name: str) -> float:
        return self.sums[name] / self.done

    def summary(self) -> dict[str, float]:
        """Means of the losses and the accuracy, seconds and images a second."""
        means = {name: self.mean(name) for name in self.sums}
        return means | {"seconds": self.seconds, "images_s": self.images / self.seconds}

    def line(self) -> str:
        """The epoch in words."""
        return (
            f"{self.title}  loss {self.mean('total'):.3f}  identity {self.mean('identity'):.3f}  "
            f"triplet {self.mean('triplet'):.3f}  accuracy {self.mean('accuracy'):.1%}  "
            f"{self.images / self.seconds:.0f} images/s"
        )
