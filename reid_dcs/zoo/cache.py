"""Download cache: atomic writes, verified by size and SHA-256, locked between processes."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reid_dcs.errors import InputError
from reid_dcs.files import create_folder, written_whole
from reid_dcs.zoo.manifest import WeightsFile, read_detectors, read_manifest
from reid_dcs.zoo.sources import PACKAGE, Unavailable, address, fetch, host


def cache_folder() -> Path:
    """``REID_DCS_CACHE``, or ``reid_dcs`` in the user's cache folder.

    Raises:
        InputError: the user has no home folder.
    """
    if folder := os.environ.get("REID_DCS_CACHE"):
        return Path(os.path.expanduser(folder))
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if caches.startswith("~"):
        raise InputError("this user has no home folder: set REID_DCS_CACHE to a folder for weights")
    return Path(caches, "reid_dcs")


def packaged_file(entry: WeightsFile) -> Path | None:
    """The file of an entry in this package, if it is there and as the manifest says."""
    for source in entry.sources:
        path = PACKAGE / source.partition(":")[2]
        if source.startswith("package:") and path.is_file() and not _mismatch(path, entry, path):
            return path
    return None


def download(name: str, entry: WeightsFile, folder: Path | None = None) -> Path:
    """The verified file of an entry, downloaded if it is not in the folder.

    A file with another hash than the manifest's is downloaded again. If the manifest has no hash,
    that of the first download, or of a file of weights that was put there by hand, is written to
    ``FILE.sha256``, and a file with another hash is refused from then on. Several processes
    may call this at once: one downloads, the others wait.

    Args:
        name: of the weights, for messages.
        folder: of the file; the cache by default.

    Raises:
        InputError: no source has the file, its hash is not that of the first download, or the
            folder cannot be written.
    """
    folder = folder or cache_folder()
    path = folder / entry.file
    with _locked(path):
        wrong = _mismatch(path, entry, path) if path.is_file() else ""
        if path.is_file() and not wrong:
            _record_hash(path, path, entry)
        if wrong and entry.sha256 is None:
            raise InputError(f"{path} {wrong}: delete it to download it again")
        if wrong:  # damaged, or from an earlier version of the manifest
            print(f"{path} {wrong}: downloading it again", file=sys.stderr)
        if wrong or not path.is_file():
            _download(name, entry, path)
    return path


def verify(folder: Path | None = None) -> dict[Path, str]:
    """Check every file of the zoo in the package and in the folder, the cache by default.

    Returns:
        by file, what is wrong with it; an empty string if nothing is.

    Raises:
        InputError: there is no such folder.
    """
    if folder and not folder.is_dir():
        raise InputError(f"no folder at {folder}: check --output-dir")
    folder, found = folder or cache_folder(), {}
    for entry in [*read_manifest().values(), *read_detectors().values()]:
        packaged = [
            PACKAGE / s.partition(":")[2] for s in entry.sources if s.startswith("package:")
        ]
        for path in packaged:
            found[path] = _mismatch(path, entry, path) if path.is_file() else "is missing"
        if (path := folder / entry.file).is_file():
            found[path] = _mismatch(path, entry, path)
    return found


def _download(name: str, entry: WeightsFile, path: Path) -> None:
    """Try the sources in order; the first file that passes the checks is renamed to ``path``."""
    part, reasons = path.with_name(f"{path.name}.part"), []
    for source in entry.sources:
        try:
            fetch(source, part, entry.size)
        except Unavailable as reason:
            reasons.append(f"{host(source)}: {reason}")
            continue
        if wrong := _mismatch(part, entry, path):
            reasons.append(f"{host(source)}: the downloaded file {wrong}")
            part.unlink()
            continue
        _publish(part, path, entry)
        return
    raise InputError(
        f"{name} could not be downloaded ({'; '.join(reasons)}): download "
        f"{address(entry.sources[-1])} on another machine and put it at {path}"
    )


def _publish(part: Path, path: Path, entry: WeightsFile) -> None:
    """Record the hash if the manifest has none, sync, and rename."""
    _record_hash(part, path, entry)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _record_hash(path: Path, final: Path, entry: WeightsFile) -> None:
    """Write the hash of a file beside its final place, if no hash is known yet."""
    record = _record(final)
    if entry.sha256 is None and not record.exists():
        with written_whole(record) as file:
            file.write(f"{_sha256(path)}  {final.name}\n".encode())


def _mismatch(path: Path, entry: WeightsFile, final: Path) -> str:
    """What is wrong with a file that is to be at ``final``; empty if nothing is.

    Its size or sha256 differ from the manifest's or from the recorded hash, or, if no hash is
    known, it holds no weights.
    """
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        return f"has {size:,} bytes, not {entry.size:,}"
    expected, record = entry.sha256, _record(final)
    if expected is None and record.is_file():
        expected = _recorded(record)
    if expected is None:
        return _unreadable(path)
    if not (found := _sha256(path)).startswith(expected):
        known = "" if entry.sha256 else f", which {record} recorded at the first download"
        return f"has the sha256 {found[:12]}..., not {expected[:12]}...{known}"
    return ""


def _unreadable(path: Path) -> str:
    from reid_dcs.weights import read_weights  # imports torch, which a list does without

    try:
        read_weights(path)
    except InputError:
        return "is not a file of weights"
    return ""


def _recorded(record: Path) -> str:
    """The hash in a record.

    Raises:
        InputError: it has none.
    """
    words = record.read_text(errors="replace").split()
    if not words:
        raise InputError(f"{record} holds no hash: delete it, and the file of weights beside it")
    return words[0]


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock: other processes wait, and then find the downloaded file."""
    try:
        create_folder(path.parent)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            print(f"waiting for another process that downloads {path.name}", file=sys.stderr)
            held = lock.acquire()
        with held:
            yield
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror or error}") from error
