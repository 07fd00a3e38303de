"""Atomic writes of files and folders."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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

_SYNCED_AT_ONCE = 16


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
            os.replace(temporary, path)
        in_use.discard(temporary)
    except BaseException as error:
        if temporary:
            remove(temporary)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


@contextmanager
def folder_written_whole(folder: Path, replace: bool = False) -> Iterator[Path]:
    """Create a folder atomically: the block fills the temporary folder that this yields.

    It is synced and renamed to ``folder`` at the end, and removed if the block fails.

    Args:
        folder: to create.
        replace: an older folder there gets a temporary name before that, and is removed after it;
            otherwise it is an error, unless it is empty.

    Raises:
        InputError: the folder cannot be created.
    """
    remove_leftovers(folder.parent)
    temporary, old = temporary_path(folder.parent), temporary_path(folder.parent)
    try:
        temporary.mkdir()
        descriptor = os.open(temporary, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"cannot write to {folder.parent}: {error.strerror}") from error
    in_use.update((temporary, old))
    try:
        lock(descriptor)
        yield temporary
        try:
            _sync(temporary)
            if replace and folder.exists():
                folder.rename(old)
            temporary.rename(folder)
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror}") from error
        in_use.discard(temporary)
    except BaseException:
        remove(temporary)
        raise
    finally:
        remove(old)
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Sync a folder and all in it, many at once: a thousand files one by one take seconds."""
    paths = [
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in (*names, "")  # the folder itself, last
    ]
    with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
        list(pool.map(_sync_one, paths))


def _sync_one(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that syncs no folders
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


@contextmanager
def kept_as(name: Path, path: Path) -> Iterator[None]:
    """Give the file at ``path``, if there is one, the name ``name`` once the block has replaced it.

    Raises:
        InputError, OSError: as :func:`link_whole`.
    """
    if not path.exists():
        yield
        return
    temporary = temporary_path(name.parent, of=name.name)
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed
        os.link(path, temporary)
    except OSError:  # the file system has no links: a copy, made before
        link_whole(path, name)
        yield
        return
    try:
        yield
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
