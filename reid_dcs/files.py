"""Atomic writes of files and folders, lock files, and reads that end.

A temporary file is named ``.reid-dcs-<16 hexadecimal digits>.tmp``. Its writer holds a lock on it,
which the system releases when the process ends, however it ends. A temporary file without a lock
is therefore a leftover, and the next write to its folder removes it.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from reid_dcs.errors import InputError

LONGEST_TEXT = 64 * 2**20
"""Bytes of a text file that is read: configuration, JSON, CSV."""
MOST_UNPACKED = 8
"""Size of an archive's content as a multiple of the archive's; torch and NumPy pack nothing."""
SMALL = 2**24
"""Bytes that any archive may hold."""


def regular(path: str | os.PathLike[str]) -> Path:
    """The path, if it is a regular file or a symbolic link to one.

    Reading a pipe, a device or a socket may wait or go on for ever.

    Raises:
        OSError: there is no such file, or it is something else.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return Path(path)


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """Read a text file, a regular one of at most :data:`LONGEST_TEXT` bytes.

    Raises:
        OSError: it cannot be read, or is longer.
        UnicodeDecodeError: it is not text.
    """
    with regular(path).open("rb") as file:
        content = file.read(LONGEST_TEXT + 1)
    if len(content) > LONGEST_TEXT:
        raise OSError(errno.EFBIG, f"longer than {LONGEST_TEXT:,} bytes of text", str(path))
    return content.decode(encoding)


def check_zip(file: IO[bytes]) -> None:
    """Check that an archive holds at most :data:`MOST_UNPACKED` times its bytes when unpacked.

    The sum counts data that several members share.

    Raises:
        ValueError: it holds more.
        zipfile.BadZipFile: it is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(SMALL, MOST_UNPACKED * size):
        raise ValueError(f"{size:,} bytes would unpack to {unpacked:,}")
    file.seek(0)


_TEMPORARY = re.compile(r"\.reid-dcs-[0-9a-f]{16}\.tmp")
_in_use: set[Path] = set()  # temporary files and folders, and lock files, of this process


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
        temporary, file = _create_temporary(path.parent)
        _in_use.add(temporary)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        _in_use.discard(temporary)
    except BaseException as error:
        if temporary:
            _remove(temporary)
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
    _in_use.add(temporary)
    try:
        _lock(descriptor)
        yield temporary
        try:
            temporary.rename(folder)
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror}") from error
        _in_use.discard(temporary)
    except BaseException:
        _remove(temporary)
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


def temporary_path(folder: Path) -> Path:
    """A new name that :func:`remove_leftovers` recognizes."""
    return folder / f".reid-dcs-{os.urandom(8).hex()}.tmp"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of processes that were killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                _remove_if_abandoned(Path(entry.path))


def remove_temporary_files() -> None:
    """Remove the temporary files and lock files of this process, which is about to end."""
    for path in tuple(_in_use):
        _remove(path)


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
    _in_use.add(path)
    try:
        yield True
    finally:
        _remove(path)  # before it is released: _acquire checks its name
        os.close(descriptor)


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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()
    _in_use.discard(path)


def _create_temporary(folder: Path) -> tuple[Path, IO[bytes]]:
    """Create a temporary file and lock it."""
    while True:
        path = temporary_path(folder)
        file = open(path, "xb")
        _lock(file.fileno(), wait=True)
        if _is_at(file.fileno(), path):
            return path, file
        file.close()  # removed as a leftover before it was locked


def _remove_if_abandoned(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # removed meanwhile, or not ours to remove
        return
    try:
        is_folder, links = path.is_dir(), os.fstat(descriptor).st_nlink
        # a second link may be one that is about to be renamed; it is removed when it is the last
        if (is_folder or links == 1) and _lock(descriptor):
            shutil.rmtree(path, ignore_errors=True) if is_folder else path.unlink(missing_ok=True)
    except OSError:
        pass
    finally:
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
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # the process that held it has removed it


def _lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open file until it is closed; False if it is locked, or cannot be."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
