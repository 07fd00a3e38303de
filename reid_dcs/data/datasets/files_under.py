"""All files under a folder of a split, each at one place, however its folders are linked."""

import os
from collections.abc import Iterator
from pathlib import Path

from reid_dcs.data.datasets.names import is_system
from reid_dcs.errors import InputError


def files_under(folder: Path, split: Path) -> Iterator[Path]:
    """All files under a folder, except in hidden and system folders, which stand for theirs.

    Folders that are elsewhere may be linked. A link that leads into a folder which is read anyway,
    or to one above it, would give its images again, or never end: it stands for its files, too.

    Args:
        folder: of a person, in the split.
        split: folder of the split.

    Raises:
        InputError: a folder cannot be read.
    """
    links: list[Path] = []  # read after the folders that are really here
    places = [_real(split)]  # that are read
    if folder.is_symlink():
        links.append(folder)
    else:
        yield from _files(folder, links)
    for link in links:  # grows meanwhile
        target = _real(link)
        if any(target.is_relative_to(read) or read.is_relative_to(target) for read in places):
            yield link
        else:
            places.append(target)
            yield from _files(link, links)


def inside(folder: Path) -> list[Path]:
    """What is in a folder, by name.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error


def _files(folder: Path, links: list[Path]) -> Iterator[Path]:
    """The files under a folder; links to folders are added to ``links`` instead."""
    for path in inside(folder):
        if not path.is_dir() or is_system(path):
            yield path
        elif path.is_symlink():
            links.append(path)
        else:
            yield from _files(path, links)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
