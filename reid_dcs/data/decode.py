"""Decode image files to uint8 pixels of one size; unreadable files are reported together."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from tqdm import tqdm

from reid_dcs.data.image_files import ImageRefused, damage_as_oserror, max_pixels, open_image
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

    Raises:
        ImageRefused: a long image would have too many pixels meanwhile.
    """
    if crop:
        image = _center_crop(image, height, width, interpolation, crop)
    else:
        image = _resize(image, (width, height), interpolation, width * height)
    return np.asarray(image)


def _center_crop(
    image: Image.Image, height: int, width: int, interpolation: Interpolation, crop: float
) -> Image.Image:
    """Resize until the image covers (height, width) / crop, and cut out its center."""
    high, wide = round(height / crop), round(width / crop)
    covered = high * wide
    if image.width * high < image.height * wide:  # the width decides
        high = int(wide * image.height / image.width)
    else:
        wide = int(high * image.width / image.height)
    image = _resize(image, (wide, high), interpolation, covered)
    left, top = round((wide - width) / 2), round((high - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _resize(
    image: Image.Image, size: tuple[int, int], interpolation: Interpolation, covered: int
) -> Image.Image:
    """Resize an image to (width, height).

    Pillow before 13 always resizes the rows first: a high, narrow image has the new width and its
    old height in between.

    Args:
        covered: pixels that any image has when it is resized; they are never too many.

    Raises:
        ImageRefused: more pixels than that, and than :func:`max_pixels`, at any time.
    """
    if image.size == size:
        return image
    width, height = size[0], max(size[1], image.height)
    limit = max_pixels()
    if width * height > max(limit, covered):
        raise ImageRefused(
            f"{image.width}x{image.height} takes {width}x{height} to resize, more than {limit:,} "
            "pixels; REID_DCS_MAX_PIXELS sets the limit"
        )
    return image.resize(size, Image.Resampling[interpolation.upper()])


def read_image(
    path: str,
    height: int,
    width: int,
    interpolation: Interpolation = "bilinear",
    crop: float = 0.0,
) -> np.ndarray:
    """Decode an image and :func:`resize` it. Raises as both."""
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
