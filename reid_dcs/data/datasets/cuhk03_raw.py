"""CUHK03's raw file, ``cuhk-03.mat`` (MATLAB 7.3, which is HDF5): its images and its test sets.

``detected`` and ``labeled`` are five cells, one a camera pair, of (people, 10) images, five a
view; ``testsets`` are 20 cells of (100, 2): pair and person. MATLAB's axes are reversed in HDF5.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from tqdm import tqdm

from reid_dcs.errors import InputError

RAW_FILES = ("cuhk03_release/cuhk-03.mat", "cuhk-03.mat")
_DAMAGED = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError)


def read_test_sets(raw: Path) -> list[set[tuple[int, int]]]:
    """(pair, person), both from 1, of each classic test set.

    Raises:
        InputError: the file is not CUHK03's.
    """
    try:
        with h5py.File(raw) as file:
            cells = [file[reference][:].T for reference in file["testsets"][0]]  # (100, 2)
        return [{(int(pair), int(person)) for pair, person in cell} for cell in cells]
    except _DAMAGED as error:
        raise _not_raw(raw, error) from error


def extract_images(raw: Path, kind: str, folder: Path) -> None:
    """Write every image of ``kind`` (detected or labeled) as PNG into ``folder``, all or nothing.

    Names are torchreid's, ``1_001_2_06.png``.

    Raises:
        InputError: the file is not CUHK03's, or the folder cannot be written.
    """
    try:
        workshop = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise InputError(f"cannot write to {folder.parent}: {error.strerror}") from error
    try:
        for name, pixels in _images(raw, kind):
            try:
                Image.fromarray(pixels).save(workshop / name, compress_level=1)
            except OSError as error:
                raise InputError(f"cannot write {folder / name}: {error.strerror}") from error
        workshop.chmod(0o755)
        workshop.rename(folder)
    except BaseException:
        shutil.rmtree(workshop, ignore_errors=True)
        raise


def _images(raw: Path, kind: str) -> Iterator[tuple[str, np.ndarray]]:
    """Names and (H, W, 3) uint8."""
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
    return InputError(f"{raw} is not CUHK03's raw file, or damaged: {error}; obtain it again")
