"""Reads that end: regular files of bounded size."""

import errno
import os
import stat
import zipfile
from pathlib import Path
from typing import IO

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
