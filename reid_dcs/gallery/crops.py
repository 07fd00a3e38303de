"""Crops: the pixels of a picture of a gallery."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from reid_dcs.data.decode import read_rgb
from reid_dcs.gallery.pictures import Picture
from reid_dcs.gallery.video import read_frame


class Crop(NamedTuple):
    """A picture to index, and its pixels, RGB."""

    picture: Picture
    image: Image.Image


def read_crop(picture: Picture) -> Image.Image:
    """Decode a stored picture: its file, or its box in a picture or a frame of a video.

    Raises:
        OSError: the file is missing or damaged.
    """
    if picture.frame >= 0:
        image = Image.fromarray(read_frame(Path(picture.path), picture.frame))
    else:
        image = read_rgb(picture.path)
    return image.crop(picture.corners) if picture.corners else image


def whole(source: Picture) -> Iterator[Crop]:
    """The file as one picture of a person."""
    yield Crop(source, read_rgb(source.path))


def cut(image: np.ndarray, box: tuple[int, int, int, int]) -> Image.Image:
    """Cut left, top, right, bottom out of an image (H, W, 3) uint8, RGB."""
    left, top, right, bottom = box
    return Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
