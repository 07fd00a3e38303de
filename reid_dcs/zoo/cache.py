"""The folder that holds the zoo's files: each is there whole, and what it was, or it is refused."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reid_dcs.errors import InputError
from reid_dcs.files import written_whole
from reid_dcs.zoo.manifest import WeightsFile, read_manifest
from reid_dcs.zoo.sources import PACKAGE, Unavailable, address, fetch, host


def cache_folder() -> Path:
    """``REID_DCS_CACHE``, or ``reid_dcs`` in the user's cache folder."""
    if own := os.environ.get("REID_DCS_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "reid_dcs")


def obtain(name: str, entry: WeightsFile, folder: Path | None = None) -> Path:
    """The entry's file, checked; fetched unless it is there. Safe in several processes at once.

    What is there and has not the manifest's hash is fetched anew. A hash that the manifest does not
    know is written beside the file at first use, as ``FILE.sha256``; another file behind the same
    address is then refused.

    Args:
        folder: where it lies or will lie; by default the cache.

    Raises:
        InputError: no source has it, it is not what it was at first use, or the folder cannot be
            written.
    """
    folder = folder or cache_folder()
    path = folder / entry.file
    with _alone_with(path):
        wrong = _wrong_with(path, entry, path) if path.is_file() else ""
        if wrong and entry.sha256 is None:
            raise InputError(f"{path} {wrong}: delete it, and it is fetched anew")
        if wrong:  # damaged, or of an earlier version of the manifest
            print(f"{path} {wrong}: it is fetched anew", file=sys.stderr)
        if wrong or not path.is_file():
            _fetch(name, entry, path)
    return path


def verify(folder: Path | None = None) -> dict[Path, str]:
    """Every file of the zoo that is here, in the package and in the folder, and what is wrong.

    Returns:
        of each file what is wrong with it; an empty string of one that is whole.
    """
    folder, found = folder or cache_folder(), {}
    for entry in read_manifest().values():
        brought = [PACKAGE / s.partition(":")[2] for s in entry.sources if s.startswith("package:")]
        for path in brought:
            found[path] = _wrong_with(path, entry, path) if path.is_file() else "is missing"
        if (path := folder / entry.file).is_file():
            found[path] = _wrong_with(path, entry, path)
    return found


def _fetch(name: str, entry: WeightsFile, path: Path) -> None:
    """Try the sources in order; the first whole file takes its name."""
    part, reasons = path.with_name(f"{path.name}.part"), []
    for source in entry.sources:
        try:
            fetch(source, part, entry.size)
        except Unavailable as reason:
            reasons.append(f"{host(source)}: {reason}")
            continue
        if wrong := _wrong_with(part, entry, path) or _unreadable(part, entry):
            reasons.append(f"{host(source)}: what came {wrong}")
            part.unlink()
            continue
        _appear(part, path, entry)
        return
    raise InputError(
        f"{name} could not be had ({'; '.join(reasons)}): fetch {address(entry.sources[-1])} on "
        f"another machine and put it at {path}"
    )


def _appear(part: Path, path: Path, entry: WeightsFile) -> None:
    record = _record(path)
    if entry.sha256 is None and not record.exists():
        with written_whole(record) as file:
            file.write(f"{_sha256(part)}  {path.name}\n".encode())
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _wrong_with(path: Path, entry: WeightsFile, final: Path) -> str:
    """Empty if size and sha256 are as the manifest says, or as they were at first use."""
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        return f"has {size:,} bytes, not {entry.size:,}"
    expected, record = entry.sha256, _record(final)
    if expected is None and record.is_file():
        expected = record.read_text().split(maxsplit=1)[0]
    if expected and not (found := _sha256(path)).startswith(expected):
        known = "" if entry.sha256 else f", which {record} recorded at first use"
        return f"has the sha256 {found[:12]}..., not {expected[:12]}...{known}"
    return ""


def _unreadable(path: Path, entry: WeightsFile) -> str:
    """Where no hash is known, it must at least be weights."""
    if entry.sha256 is None:
        from reid_dcs.weights import read_weights  # imports torch, which a list does without

        try:
            read_weights(path)
        except InputError:
            return "is no file of weights"
    return ""


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    """One process at a time; the others wait, and then find what it fetched."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            print(f"waiting for another process that fetches {path.name}", file=sys.stderr)
            held = lock.acquire()
        with held:
            yield
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror or error}") from error
