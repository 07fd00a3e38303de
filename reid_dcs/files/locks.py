"""Lock files, which a process holds and removes."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reid_dcs.files.temporary import (
    in_use,
    is_at,
    remove,
)


@contextmanager
def exclusive(path: Path, waiting: str = "") -> Iterator[bool]:
    """Hold a lock file, which is removed at the end.

    Args:
        path: the lock file.
        waiting: message to print before waiting for another process that holds it; if empty, the
            block is run at once.

    Yields:
        False if another process holds the lock.

    Raises:
        OSError: the lock file cannot be created.
    """
    descriptor = _acquire(path)
    if descriptor is None and waiting:
        print(waiting, file=sys.stderr)
        descriptor = _acquire(path, wait=True)
    if descriptor is None:
        yield False
        return
    in_use.add(path)
    try:
        yield True
    finally:
        remove(path)  # before it is released: _acquire checks its name
        os.close(descriptor)


def _acquire(path: Path, wait: bool = False) -> int | None:
    """Open and lock a lock file; None if another process holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks: go on without
            pass
        except BaseException:
            os.close(descriptor)
            raise
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # the process that held it has removed it
