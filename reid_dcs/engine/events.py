"""TensorBoard events of a run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import is_main

SUFFIX = ".reid-dcs"
"""End of the name of an event file, which no other program's has."""

Log = Callable[[Mapping[str, float], int], None]
"""Records values by name under a number of finished epochs."""


@contextmanager
def event_log(folder: Path, finished: int) -> Iterator[Log]:
    """Write events to a folder, on rank 0 only.

    Args:
        folder: of the run.
        finished: number of finished epochs; later events, of a run that was killed, are hidden.

    Raises:
        InputError: the disk is full or the folder cannot be written to.
    """
    if not is_main():
        yield lambda values, epoch: None
        return
    with _writing(folder):
        writer = SummaryWriter(folder, purge_step=finished + 1, filename_suffix=SUFFIX)

    def log(values: Mapping[str, float], epoch: int) -> None:
        with _writing(folder):
            for name, value in values.items():
                writer.add_scalar(f"train/{name}", value, epoch)

    try:
        yield log
    finally:
        with _writing(folder):
            writer.close()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
