"""A store on disk: decoded images in one file that is mapped into memory, or not read at all.

The file is a NumPy array, ``np.load(path, mmap_mode="r")``, of (N, H, W, 3) uint8, and behind it
a seal of one line of JSON: the fingerprint of the source and a checksum of the pixels. The seal
is written last, into a temporary file that then takes the store's name. A file without its seal,
with another source's, or whose pixels do not have its checksum is no store and is made anew.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL

from reid_dcs.data.decode import read_images
from reid_dcs.files import written_whole
from reid_dcs.weights.card import Interpolation

FORMAT = 1
_SEAL = 256  # bytes, padded with spaces
_BLOCK = 2**24  # bytes of a checksum's step


def fingerprint(
    paths: Sequence[str], height: int, width: int, interpolation: Interpolation = "bilinear"
) -> str:
    """Of everything that decides the pixels: which files, their state on disk, and how decoded.

    A file's state is its size and its times of change, of content and of inode; a copy of the data
    set is another source.

    Raises:
        OSError: a file is not there.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{FORMAT} {height} {width} {interpolation} {PIL.__version__}".encode())
    home = os.path.dirname(os.path.commonprefix(paths))
    for path in paths:
        state = os.stat(path)
        own = f"\n{path.removeprefix(home)} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        digest.update(own.encode(errors="surrogateescape"))
    return digest.hexdigest()


def mapped_images(
    path: Path,
    sources: Sequence[str],
    height: int,
    width: int,
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """The store at ``path`` of the images ``sources``, made if it is not there, stale or torn.

    Returns:
        (N, H, W, 3) uint8, mapped: pages are read when touched, and writing changes no file.

    Raises:
        InputError: unreadable images, or the store cannot be written.
    """
    try:
        # before decoding: a change during it shows
        wanted = fingerprint(sources, height, width, interpolation)
    except OSError:
        wanted = "a source is missing"  # decoding names it
    shape = (len(sources), height, width, 3)
    images = _open(path, wanted, shape)
    if images is None:
        _write(path, sources, shape, wanted, interpolation)
        images = _open(path, wanted, shape)
    if images is None:
        raise OSError(f"{path} does not read back what was written: the disk is failing")
    return images


def _write(
    path: Path,
    sources: Sequence[str],
    shape: tuple[int, ...],
    print_: str,
    interpolation: Interpolation,
) -> None:
    checksum = 0
    _, height, width, _ = shape
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with written_whole(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for pixels in read_images(sources, height, width, path.stem, interpolation):
            block = pixels.tobytes()
            checksum = zlib.crc32(block, checksum)
            file.write(block)
        seal = json.dumps({"format": FORMAT, "source": print_, "crc32": checksum})
        file.write(f"{seal:<{_SEAL - 1}}\n".encode())


def _open(path: Path, wanted: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The images if the file is whole and of this source, else None."""
    try:
        with open(path, "rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return None
            found, _, dtype = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
            pixels = int(np.prod(shape, dtype=np.int64))
            if (found, dtype) != (shape, np.uint8) or os.fstat(file.fileno()).st_size != (
                offset + pixels + _SEAL
            ):
                return None
            file.seek(-_SEAL, os.SEEK_END)
            seal = json.loads(file.read())
            if (seal["format"], seal["source"]) != (FORMAT, wanted):
                return None
        images = np.memmap(path, np.uint8, "c", offset, shape)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return images if _checksum(images) == seal["crc32"] else None


def _checksum(images: np.ndarray) -> int:
    checksum, flat = 0, images.reshape(-1).data
    for start in range(0, len(flat), _BLOCK):
        checksum = zlib.crc32(flat[start : start + _BLOCK], checksum)
    return checksum
