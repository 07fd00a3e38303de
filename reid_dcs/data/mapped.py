"""Decoded images in a memory-mapped file, which is validated before use.

The file is a NumPy array (N, H, W, 3) uint8, readable by ``np.load(path, mmap_mode="r")``, followed
by a footer: a line of JSON with the fingerprint of the source images and a checksum of the pixels.
It is written under a temporary name, footer last, and then renamed. A file without a footer, with
another fingerprint or another checksum is written again.
"""

import hashlib
import io
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL

from reid_dcs.data.decode import read_images
from reid_dcs.errors import InputError
from reid_dcs.files import regular, written_whole
from reid_dcs.weights.card import Interpolation

FORMAT = 2  # 1: without EXIF orientation, and with 16-bit grey cut off
_FOOTER = 256  # bytes, padded with spaces
_BLOCK = 2**24  # bytes read at once for the checksum


def fingerprint(
    paths: Sequence[str],
    height: int,
    width: int,
    interpolation: Interpolation = "bilinear",
    crop: float = 0.0,
) -> str:
    """Fingerprint of everything that determines the decoded pixels.

    It covers names, sizes and modification times (mtime and ctime) of the files, the input size,
    the interpolation and Pillow's version. A copy of the data set has another fingerprint.

    Raises:
        OSError: a file is missing.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{FORMAT} {height} {width} {interpolation} {PIL.__version__}".encode())
    if crop:
        digest.update(f" {crop}".encode())
    folder = os.path.dirname(os.path.commonprefix(paths))
    for path in paths:
        state = os.stat(path)
        line = (
            f"\n{path.removeprefix(folder)} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        )
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def mapped_images(
    path: Path,
    sources: Sequence[str],
    height: int,
    width: int,
    interpolation: Interpolation = "bilinear",
    crop: float = 0.0,
) -> np.ndarray:
    """Map the decoded images ``sources`` in ``path``, which is written first if it is not valid.

    Returns:
        (N, H, W, 3) uint8, mapped copy-on-write: changes are not written to the file.

    Raises:
        InputError: unreadable images, or the store cannot be written or read back.
    """
    try:
        # taken before decoding, so that files modified meanwhile invalidate the store
        expected = fingerprint(sources, height, width, interpolation, crop)
    except OSError:
        expected = "a source is missing"  # decoding names it
    shape = (len(sources), height, width, 3)
    images = _open(path, expected, shape)
    if images is None:
        _write(path, sources, shape, expected, interpolation, crop)
        images = _open(path, expected, shape)
    if images is None:
        raise InputError(f"{path} does not read back as it was written: check the disk")
    return images


def _write(
    path: Path,
    sources: Sequence[str],
    shape: tuple[int, ...],
    expected: str,
    interpolation: Interpolation,
    crop: float,
) -> None:
    checksum = 0
    _, height, width, _ = shape
    with written_whole(path) as file:
        file.write(_header(shape))
        for pixels in read_images(sources, height, width, path.stem, interpolation, crop):
            block = pixels.tobytes()
            checksum = zlib.crc32(block, checksum)
            file.write(block)
        footer = json.dumps({"format": FORMAT, "source": expected, "crc32": checksum})
        file.write(f"{footer:<{_FOOTER - 1}}\n".encode())


def _open(path: Path, expected: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map the images; None if the file is missing, damaged or has another fingerprint."""
    try:
        with regular(path).open("rb") as file:
            header = _header(shape)
            if file.read(len(header)) != header:
                return None
            pixels = int(np.prod(shape, dtype=np.int64))
            if os.fstat(file.fileno()).st_size != len(header) + pixels + _FOOTER:
                return None
            file.seek(-_FOOTER, os.SEEK_END)
            footer = json.loads(file.read())
        if (footer["format"], footer["source"]) != (FORMAT, expected):
            return None
        images = np.memmap(path, np.uint8, "c", len(header), shape)
        return images if _checksum(images) == footer["crc32"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _header(shape: tuple[int, ...]) -> bytes:
    """NumPy's header of an array (N, H, W, 3) uint8."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def _checksum(images: np.ndarray) -> int:
    checksum, flat = 0, images.reshape(-1).data
    for start in range(0, len(flat), _BLOCK):
        checksum = zlib.crc32(flat[start : start + _BLOCK], checksum)
    return checksum
