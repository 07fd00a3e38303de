"""Temporary files, and the removal of those that killed processes left.

A temporary file is named ``.reid-dcs-<16 hexadecimal digits>.tmp``. Its writer holds a lock on it,
which the system releases when the process ends, however it ends. A temporary file without a lock
is therefore a leftover, and the next write to its folder removes it.
"""

import contextlib
import fcntl
import os
import re
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import IO

_TEMPORARY = re.compile(r"\.reid-dcs-[0-9a-f]{16}\.tmp")
in_use: set[Path] = set()  # temporary files and folders, and lock files, of this process


def temporary_path(folder: Path, of: str | None = None) -> Path:
    """A name that :func:`remove_leftovers` recognizes: a new one, or always the same of a file."""
    digits = os.urandom(8) if of is None else blake2b(of.encode(), digest_size=8).digest()
    return folder / f".reid-dcs-{digits.hex()}.tmp"


def create_temporary(folder: Path) -> tuple[Path, IO[bytes]]:
    """Create a temporary file and lock it."""
    while True:
        path = temporary_path(folder)
        file = open(path, "xb")
        lock(file.fileno(), wait=True)
        if is_at(file.fileno(), path):
            return path, file
        file.close()  # removed as a leftover before it was locked


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of processes that were killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                _remove_if_abandoned(Path(entry.path))


def remove_temporary_files() -> None:
    """Remove the temporary files and lock files of this process, which is about to end."""
    for path in tuple(in_use):
        remove(path)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()
    in_use.discard(path)


def _remove_if_abandoned(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # removed meanwhile, or not ours to remove
        return
    try:
        is_folder, links = path.is_dir(), os.fstat(descriptor).st_nlink
        # a second link may be one that is about to be renamed; it is removed when it is the last
        if (is_folder or links == 1) and lock(descriptor):
            shutil.rmtree(path, ignore_errors=True) if is_folder else path.unlink(missing_ok=True)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open file until it is closed; False if it is locked, or cannot be."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
