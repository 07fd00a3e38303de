"""Decode image files to uint8 pixels of one size; unreadable files are reported together."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from tqdm import tqdm

from reid_dcs.data.image_files import ImageRefused, damage_as_oserror, open_image
from reid_dcs.data.rgb import to_rgb
from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import is_main
from reid_dcs.weights.card import Interpolation

_WINDOW = 256  # images decoded ahead, which bounds their memory


def read_rgb(path: str | Path | IO[bytes]) -> Image.Image:
    """Decode an image file of any mode: RGB, upright; see :func:`reid_dcs.data.rgb.to_rgb`.

    Raises:
        ImageRefused: it is not read, or its numbers are out of range; the message is the reason.
        OSError: unreadable or truncated.
    """
    with open_image(path) as image, damage_as_oserror():
        image.load()
        try:
            return to_rgb(image)
        except ValueError as error:
            raise ImageRefused(str(error)) from error


def read_pixels(path: str | Path) -> np.ndarray:
    """Decode an image at its original size: (H, W, 3) uint8, RGB. Raises as :func:`read_rgb`."""
    return np.asarray(read_rgb(path))


def resize(
    image: Image.Image,
    height: int,
    width: int,
    interpolation: Interpolation = "bilinear",
    crop: float = 0.0,
) -> np.ndarray:
    """Resize an RGB image: (height, width, 3) uint8.

    Args:
        crop: 0 resizes the whole image, as torchreid's test transform does. Otherwise its aspect
            ratio is kept, and this fraction of it is cut out of its center, as torchvision's
            ``Resize`` and ``CenterCrop`` do.
    """
    if crop:
        image = _center_crop(image, height, width, interpolation, crop)
    elif image.size != (width, height):
        image = image.resize((width, height), Image.Resampling[interpolation.upper()])
    return np.asarray(image)


def _center_crop(
    image: Image.Image, height: int, width: int, interpolation: Interpolation, crop: float
) -> Image.Image:
    """Resize until the image covers (height, width) / crop, and cut out its center."""
    high, wide = round(height / crop), round(width / crop)
    if image.width * high < image.height * wide:  # the width decides
        high = int(wide * image.height / image.width)
    else:
        wide = int(high * image.width / image.height)
    if image.size != (wide, high):
        image = image.resize((wide, high), Image.Resampling[interpolation.upper()])
    left, top = round((wide - width) / 2), round((high - height) / 2)
    return image.crop((left, top, left + width, top + height))


def read_image(
    path: str,
    height: int,
    width: int,
    interpolation: Interpolation = "bilinear",
    crop: float = 0.0,
) -> np.ndarray:
    """Decode an image and :func:`resize` it. Raises as :func:`read_rgb`."""
    return resize(read_rgb(path), height, width, interpolation, crop)


def read_images(
    paths: Sequence[str],
    height: int,
    width: int,
    name: str,
    interpolation: Interpolation = "bilinear",
    crop: float = 0.0,
) -> Iterator[np.ndarray]:
    """Decode and resize images, in order, on all cores; see :func:`read_image`.

    Args:
        name: shown in the progress bar and in the error.

    Raises:
        InputError: unreadable or truncated images; raised after the last one, with their number
            and the first names.
    """
    unreadable: list[str] = []
    blank = np.zeros((height, width, 3), dtype=np.uint8)

    def read(path: str) -> np.ndarray:
        try:
            return read_image(path, height, width, interpolation, crop)
        except ImageRefused as reason:
            unreadable.append(f"{path} ({reason})")
            return blank
        except OSError:
            unreadable.append(path)
            return blank

    title = f"decode {name}"
    silent = None if is_main() else True  # None: silent only if there is no terminal
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
