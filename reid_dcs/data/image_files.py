"""Open image files: regular files, of a few formats, of a bounded number of pixels; write JPEG.

Every image of this package is opened here. Pillow would try all of its formats, whatever the file's
name, and one of them starts Ghostscript.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from reid_dcs.errors import InputError
from reid_dcs.files import check_outside, regular

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .webp .tif .tiff .gif .ppm .pgm .pbm .pnm".split()
)
"""Suffixes of these formats, in lower case; everything that lists images uses them."""
# such images are refused below, with a reason
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
MAX_PIXELS = 50_000_000
"""Pixels of an image, if ``REID_DCS_MAX_PIXELS`` does not say another number; 150 MB in RGB."""


class ImageRefused(OSError):
    """An image file that is not decoded; the message is the reason."""


@contextmanager
def damage_as_oserror() -> Iterator[None]:
    """Turn what Pillow raises on a damaged file into OSError; it has errors of many types.

    Raises:
        ImageRefused: too many pixels.
        OSError: damaged; the message is the reason.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageRefused(f"more than {max_pixels():,} pixels") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise OSError(f"damaged: {error}") from error


def open_image(path: str | Path | IO[bytes]) -> Image.Image:
    """Open an image file; its pixels are not decoded yet.

    Args:
        path: of the file; or a stream with its content, such as a member of an archive.

    Raises:
        ImageRefused: not a regular file, another format, or too many pixels.
        OSError: there is no such file, or it is damaged.
    """
    try:
        if isinstance(path, str | Path):
            regular(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImageRefused(error.strerror) from error
    limit = max_pixels()
    if Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS < limit:
        Image.MAX_IMAGE_PIXELS = limit  # Pillow's own limit would be in the way
    try:
        with damage_as_oserror():
            image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageRefused(f"not one of {', '.join(FORMATS)}") from error
    width, height = image.size
    if width * height > limit:
        image.close()
        raise ImageRefused(
            f"{width}x{height} is more than {limit:,} pixels; REID_DCS_MAX_PIXELS sets the limit"
        )
    return image


def write_jpeg(path: Path, pixels: np.ndarray) -> None:
    """Write an image, (H, W, 3) uint8 RGB.

    Raises:
        InputError: it cannot be written.
    """
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    encoded, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not encoded:
        raise InputError(f"cannot write {path}: a side of a JPEG has at most 65,500 pixels")
    try:
        path.write_bytes(content.tobytes())  # cv2.imwrite crashes on a path that is not UTF-8
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def images_in(folder: Path) -> list[Path]:
    """The images of a folder by name, without hidden ones.

    Raises:
        InputError: there are none, or the folder cannot be read.
    """
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error
    if not found:
        raise InputError(f"no images in {folder}: expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def check_picture(path: str | Path, argument: str) -> None:
    """Check that a path which means one picture is no folder.

    Args:
        path: of the picture.
        argument: that gave it, such as ``--pair``.

    Raises:
        InputError: it is a folder.
    """
    if Path(path).is_dir():
        raise InputError(f"{argument} {path} is a folder: give a picture")


def check_outside_images(output: str | Path, images: Iterable[str | Path]) -> None:
    """Check that an output folder is in none of the folders that ``--images`` names.

    Raises:
        InputError: it is in one, or is one.
    """
    folders = [path for path in images if Path(path).is_dir()]
    check_outside(output, folders, "a folder given to --images")


def max_pixels() -> int:
    """The most pixels of an image that is decoded: ``REID_DCS_MAX_PIXELS`` or the default.

    Raises:
        InputError: the variable is not a whole number above 0.
    """
    text = os.environ.get("REID_DCS_MAX_PIXELS", "")
    if not text:
        return MAX_PIXELS
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) > 0):
        raise InputError(f"REID_DCS_MAX_PIXELS={text}: expected a whole number of pixels above 0")
    return int(text)
