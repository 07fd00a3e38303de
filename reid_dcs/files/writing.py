"""Atomic writes of files and folders."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from reid_dcs.errors import InputError
from reid_dcs.files.temporary import (
    create_temporary,
    in_use,
    lock,
    remove,
    remove_leftovers,
    temporary_path,
)


def create_folder(path: Path) -> None:
    """Create a folder, and those above it, unless it is there.

    Raises:
        InputError: it cannot be created, e.g. a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"cannot write to {path}: it is a file, not a folder") from error
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}") from error


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
        remove_leftovers(path.parent)
        temporary, file = create_temporary(path.parent)
        in_use.add(temporary)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        in_use.discard(temporary)
    except BaseException as error:
        if temporary:
            remove(temporary)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Create a folder atomically: the block fills the temporary folder that this yields.

    It is renamed to ``folder`` at the end, and removed if the block fails.

    Raises:
        InputError: the folder cannot be created.
    """
    remove_leftovers(folder.parent)
    temporary = temporary_path(folder.parent)
    try:
        temporary.mkdir(0o755)
        descriptor = os.open(temporary, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"cannot write to {folder.parent}: {error.strerror}") from error
    in_use.add(temporary)
    try:
        lock(descriptor)
        yield temporary
        try:
            temporary.rename(folder)
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror}") from error
        in_use.discard(temporary)
    except BaseException:
        remove(temporary)
        raise
    finally:
        os.close(descriptor)


def link_whole(path: Path, name: Path) -> None:
    """Give a file a second name, atomically replacing any file of that name.

    Raises:
        InputError: the file system has no links, and the copy cannot be written.
        OSError: the name cannot be replaced.
    """
    temporary = temporary_path(name.parent)
    try:
        os.link(path, temporary)
    except OSError:  # the file system has no links
        with written_whole(name) as file:
            file.write(path.read_bytes())
        return
    try:
        os.replace(temporary, name)
    finally:  # a rename of one name of a file to another does nothing
        temporary.unlink(missing_ok=True)


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


def check_creatable(path: Path) -> None:
    """The same of a file whose folders are created with it.

    Raises:
        InputError: see :func:`check_writable`; of the first folder that is to be created.
    """
    check_writable(next(p for p in (path, *path.parents) if os.path.exists(p.parent)))


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write ``content`` as indented JSON, atomically."""
    with written_whole(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
