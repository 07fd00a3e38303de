"""CUHK03's raw file ``cuhk-03.mat`` (MATLAB 7.3, i.e. HDF5): images and classic test sets.

``detected`` and ``labeled`` have one cell per camera pair, five in all: (people, 10) images, five
per view. ``testsets`` has 20 cells of (100, 2): pair and person. HDF5 reverses MATLAB's axes.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from tqdm import tqdm

from reid_dcs.errors import InputError
from reid_dcs.files import folder_written_whole, regular

RAW_FILES = ("cuhk03_release/cuhk-03.mat", "cuhk-03.mat")
MOST_NUMBERS = 2**26
"""In one array of a file; a few bytes of a damaged file may say more."""
_DAMAGED = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError)


def read_test_sets(raw: Path) -> list[set[tuple[int, int]]]:
    """Read the classic test sets, each a set of (pair, person), both counted from 1.

    Raises:
        InputError: the file is damaged or not CUHK03's.
    """
    try:
        with h5py.File(regular(raw)) as file:
            cells = [_array(file, each).T for each in _array(file, "testsets")[0]]  # (100, 2)
        return [{(int(pair), int(person)) for pair, person in cell} for cell in cells]
    except _DAMAGED as error:
        raise _not_raw(raw, error) from error


def extract_images(raw: Path, kind: str, folder: Path) -> None:
    """Extract all images of one kind as PNG files, all or nothing.

    File names are torchreid's, such as ``1_001_2_06.png``.

    Args:
        raw: the raw file.
        kind: ``"detected"`` or ``"labeled"``.
        folder: folder to create.

    Raises:
        InputError: the file is damaged or not CUHK03's, or the folder cannot be written.
    """
    with folder_written_whole(folder) as temporary:
        for name, pixels in _images(raw, kind):
            try:
                Image.fromarray(pixels).save(temporary / name, compress_level=1)
            except OSError as error:
                raise InputError(f"cannot write {folder / name}: {error.strerror}") from error


def _images(raw: Path, kind: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the pixels, (H, W, 3) uint8, of every image."""
    try:
        with h5py.File(regular(raw)) as file:
            pairs = [_array(file, each).T for each in _array(file, kind)[0]]  # (people, 10)
            people = [
                (f"{pair}_{person:03d}", cells)
                for pair, table in enumerate(pairs, 1)
                for person, cells in enumerate(table, 1)
            ]
            for name, cells in tqdm(people, f"extract {kind}", leave=False, disable=None):
                for number, reference in enumerate(cells, 1):
                    pixels = _array(file, reference).T  # (H, W, 3), or an empty cell
                    if pixels.ndim == 3 and pixels.size:
                        view = 1 if number <= 5 else 2
                        yield f"{name}_{view}_{number:02d}.png", np.ascontiguousarray(pixels)
    except _DAMAGED as error:
        raise _not_raw(raw, error) from error


def check_mat(path: Path) -> None:
    """Check that a file of MATLAB 5 and its packed variables are of bounded size.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is too large, packed or unpacked.
    """
    with regular(path).open("rb") as file:
        content = file.read(MOST_NUMBERS + 1)
    unpacked, position = len(content), 128  # bytes; the header
    order = ">" if content[126:128] == b"MI" else "<"
    while unpacked <= MOST_NUMBERS and position + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, position)
        position += 8
        if kind == _PACKED:
            element = zlib.decompressobj()
            packed = content[position : position + size]
            unpacked += len(element.decompress(packed, MOST_NUMBERS + 1 - unpacked))
        position += size if kind == _PACKED else -(-size // 8) * 8
    if unpacked > MOST_NUMBERS:
        raise ValueError(f"it holds more than {MOST_NUMBERS:,} bytes")


_PACKED = 15  # type of a variable that zlib has packed


def _array(file: h5py.File, name: Any) -> np.ndarray:
    """An array of the file itself: a file may refer to others, which are not read.

    Args:
        name: name or reference.
    """
    if isinstance(name, str) and isinstance(file.get(name, getlink=True), h5py.ExternalLink):
        raise ValueError(f"{name} is in another file")
    array = file[name]
    if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
        raise ValueError("an array is missing, or in another file")
    if array.size > MOST_NUMBERS:
        raise ValueError(f"an array has {array.size:,} numbers")
    return array[:]


def _not_raw(raw: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"{raw} is damaged or not CUHK03's raw file: {reason}; obtain it again")
