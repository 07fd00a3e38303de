"""Files to index: pictures and videos of a folder, with labels from names or from a table."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from reid_dcs.data.datasets.names import SYSTEM, Ignored, read_camera, read_name, why_ignored
from reid_dcs.data.datasets.tables import Row, read_table
from reid_dcs.data.image_files import IMAGE_SUFFIXES
from reid_dcs.errors import InputError
from reid_dcs.gallery.pictures import TEXT_LENGTHS, Picture, printable
from reid_dcs.gallery.times import UNKNOWN, begins_with_time, parse_time, time_in_name

VIDEO_SUFFIXES = frozenset(".mp4 .avi .mkv .mov .webm .m4v .mpg .mpeg .ts".split())
VIDEO = "video(s), which --detect reads"
LINKED = "linked folder(s)"


def is_video(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def in_folder(folder: Path, videos: bool, ignored: Ignored) -> Iterator[Picture]:
    """The pictures below a folder, by name, without hidden ones.

    Identity and camera are read from the file's name, as of Market-1501, MSMT17, CUHK03 or MARS;
    the camera otherwise from the name of a folder (``c1``, ``cam1``); the time from a date and time
    in the name.

    Args:
        folder: an absolute path.
        videos: videos, too.
        ignored: lists to which the other files are appended, and linked folders.

    Raises:
        InputError: a folder cannot be read.
    """
    suffixes = IMAGE_SUFFIXES | VIDEO_SUFFIXES if videos else IMAGE_SUFFIXES

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        # what a gallery keeps is no collection of pictures
        folders[:] = sorted(
            name for name in folders if why_ignored(Path(place, name)) != SYSTEM
        )  # sorted in place: os.walk follows this order
        ignored[LINKED] += filter(os.path.islink, (os.path.join(place, n) for n in folders))
        for path in (Path(place, name) for name in sorted(names)):
            reason = why_ignored(path)
            if reason == SYSTEM:
                continue
            if path.suffix.lower() not in suffixes:
                ignored[VIDEO if is_video(path.name) else reason].append(str(path))
            elif source := from_file(path, folder):
                yield source


def ignored_text(ignored: Ignored) -> str:
    """The files that are not read, counted by reason and named; empty if there are none."""
    return "; ".join(
        f"{len(paths):,} {reason}, such as {printable(paths[0])}"
        for reason, paths in ignored.items()
        if paths
    )


def from_file(path: Path, root: Path) -> Picture | None:
    """A file with the labels that its name gives; None if it has just been removed.

    Args:
        path: absolute path of the file.
        root: folder that contains it.
    """
    time = time_in_name(path.name)
    labels = None if begins_with_time(path.name) else read_name(path.name)
    identity = str(labels.identity) if labels and labels.identity >= 0 else ""
    names = (path.name, *reversed(path.relative_to(root).parts[:-1]))
    camera = next(filter(None, map(read_camera, names)), "")
    time = UNKNOWN if time is None else time
    return _with_state(Picture(str(path), str(root), 0, 0, identity, camera, time))


def in_table(table: Path, root: Path, ignored: Ignored) -> Iterator[Picture]:
    """The pictures of a CSV table: ``path``, and optionally ``identity``, ``camera``, ``time``.

    Paths are relative to the table and lie below the root. A table is read as those of
    ``--dataset folder``; see :mod:`reid_dcs.data.datasets.tables`.

    Args:
        table: the CSV file.
        root: an absolute path.
        ignored: lists to which junk images are appended.

    Raises:
        InputError: the table cannot be read, or names a file twice, a missing file or one
            elsewhere.
    """
    named: set[Path] = set()
    for row in read_table(table, ignored, ("path",), ("identity", "camera", "time")):
        path = Path(os.path.abspath(row.path))
        if path in named:
            raise InputError(f"{table} names {path} twice: keep one of the rows")
        named.add(path)
        if not path.is_relative_to(root):
            raise InputError(f"{table}: {path} is not in {root}: pass a folder that contains it")
        source = _with_state(_of_row(row, path, root, table))
        if source is None:
            raise InputError(f"{table}: no file at {path}")
        yield source


def _of_row(row: Row, path: Path, root: Path, table: Path) -> Picture:
    for name in ("identity", "camera"):
        if len(getattr(row, name).encode()) > TEXT_LENGTHS[name]:
            raise InputError(f"{table}: a {name} is longer than {TEXT_LENGTHS[name]} bytes")
    time = parse_time(row.time, f"{table}, time") if row.time else UNKNOWN
    return Picture(str(path), str(root), 0, 0, row.identity, row.camera, time)


def from_paths(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Picture]:
    """Single files, each with its folder as root.

    Raises:
        InputError: there is no such file.
    """
    for given in paths:
        path = Path(os.path.abspath(os.path.expanduser(given)))
        source = from_file(path, path.parent)
        if source is None:
            raise InputError(f"no picture at {given}: check the path")
        yield source


def _with_state(picture: Picture) -> Picture | None:
    try:
        state = os.stat(picture.path)
    except OSError:
        return None
    return replace(picture, size=state.st_size, modified=state.st_mtime_ns)
