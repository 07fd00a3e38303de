"""Atomic file writes."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from reid_dcs.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Write a file atomically: ``with written_whole(path) as file: file.write(...)``.

    The block writes to a temporary file in the same folder, which is synced and renamed to
    ``path`` at the end. If the block fails or the process dies, ``path`` is unchanged.

    Raises:
        InputError: the file cannot be written, e.g. no permission or no space.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def check_writable(path: Path) -> None:
    """Check that :func:`written_whole` could write ``path``, before the work that it shall hold.

    Raises:
        InputError: ``path`` is a folder, or no file can be created in its folder.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` as indented JSON, atomically."""
    with written_whole(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
