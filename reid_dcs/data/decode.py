"""From image files to uint8 pixels of one size, and every bad file named at once."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import is_main
from reid_dcs.weights.card import Interpolation

_WINDOW = 256  # images in flight: what is decoded and not yet taken stays small


def read_pixels(path: str | Path) -> np.ndarray:
    """uint8 (H, W, 3), RGB, of its own size.

    Raises:
        OSError: unreadable or truncated.
    """
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def resize(
    image: Image.Image, height: int, width: int, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """(height, width, 3) uint8 of an RGB image, by PIL, as torchreid's test transform does."""
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling[interpolation.upper()])
    return np.asarray(image)


def read_image(
    path: str, height: int, width: int, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """(height, width, 3) uint8, RGB; see :func:`resize`.

    Raises:
        OSError: unreadable or truncated.
    """
    with Image.open(path) as image:
        return resize(image.convert("RGB"), height, width, interpolation)


def read_images(
    paths: Sequence[str],
    height: int,
    width: int,
    name: str,
    interpolation: Interpolation = "bilinear",
) -> Iterator[np.ndarray]:
    """Every image in order, decoded on all cores, with a progress bar called ``name``.

    Raises:
        InputError: at the end, if any were unreadable or truncated: counted and named.
    """
    unreadable: list[str] = []
    blank = np.zeros((height, width, 3), dtype=np.uint8)

    def read(path: str) -> np.ndarray:
        try:
            return read_image(path, height, width, interpolation)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # PIL's errors
            unreadable.append(path)
            return blank

    title = f"decode {name}"
    silent = None if is_main() else True  # None: where there is no terminal
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(paths), desc=title, unit="img", leave=False, disable=silent) as bar,
    ):
        for start in range(0, len(paths), _WINDOW):
            for pixels in pool.map(read, paths[start : start + _WINDOW]):
                yield pixels
                bar.update()
    if unreadable:
        unreadable.sort()
        raise InputError(
            f"{len(unreadable)} unreadable or truncated image(s) in {name}: "
            f"{', '.join(unreadable[:5])}{', ...' if len(unreadable) > 5 else ''}; "
            "replace or remove them"
        )
