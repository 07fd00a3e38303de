"""CUHK03's raw file ``cuhk-03.mat`` (MATLAB 7.3, i.e. HDF5): images and classic test sets.

``detected`` and ``labeled`` have one cell per camera pair, five in all: (people, 10) images, five
per view. ``testsets`` has 20 cells of (100, 2): pair and person. HDF5 reverses MATLAB's axes.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from tqdm import tqdm

from reid_dcs.errors import InputError
from reid_dcs.files import folder_written_whole

RAW_FILES = ("cuhk03_release/cuhk-03.mat", "cuhk-03.mat")
_DAMAGED = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError)


def read_test_sets(raw: Path) -> list[set[tuple[int, int]]]:
    """Read the classic test sets, each a set of (pair, person), both counted from 1.

    Raises:
        InputError: the file is damaged or not CUHK03's.
    """
    try:
        with h5py.File(raw) as file:
            cells = [file[reference][:].T for reference in file["testsets"][0]]  # (100, 2)
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
        with h5py.File(raw) as file:
            pairs = [file[reference][:].T for reference in file[kind][0]]  # (people, 10)
            people = [
                (f"{pair}_{person:03d}", cells)
                for pair, table in enumerate(pairs, 1)
                for person, cells in enumerate(table, 1)
            ]
            for name, cells in tqdm(people, f"extract {kind}", leave=False, disable=None):
                for number, reference in enumerate(cells, 1):
                    pixels = file[reference][:].T  # (H, W, 3), or an empty cell
                    if pixels.ndim == 3 and pixels.size:
                        view = 1 if number <= 5 else 2
                        yield f"{name}_{view}_{number:02d}.png", np.ascontiguousarray(pixels)
    except _DAMAGED as error:
        raise _not_raw(raw, error) from error


def _not_raw(raw: Path, error: Exception) -> InputError:
    return InputError(f"{raw} is damaged or not CUHK03's raw file: {error}; obtain it again")
