"""The part of a picture that networks see: all of it, or the center that their cards cut out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reid_dcs.data.decode import read_pixels
from reid_dcs.errors import InputError
from reid_dcs.inference.extractor import FeatureExtractor
from reid_dcs.weights import Preprocessing


class Seen(NamedTuple):
    """The part of a picture that a network sees, in the picture's own pixels."""

    pixels: np.ndarray
    """(h, w, 3) uint8, RGB."""
    left: int
    """Columns of the picture to the left of it."""
    top: int
    """Rows above it."""


def seen(file: Path, preprocessing: Preprocessing) -> Seen:
    """Decode a picture, and cut out what a network sees of it.

    Raises:
        OSError: see :func:`reid_dcs.data.decode.read_rgb`.
    """
    picture = read_pixels(file)
    high, wide = picture.shape[:2]
    crop = preprocessing.center_crop
    if not crop:
        return Seen(picture, 0, 0)
    # pixels of the input per pixel of the picture, which is resized to cover the input / crop
    scale = max(preprocessing.height / high, preprocessing.width / wide) / crop
    height = min(max(1, round(preprocessing.height / scale)), high)
    width = min(max(1, round(preprocessing.width / scale)), wide)
    left, top = (wide - width) // 2, (high - height) // 2
    return Seen(picture[top : top + height, left : left + width], left, top)


def common_preprocessing(
    networks: Sequence[FeatureExtractor], weights: Sequence[str]
) -> Preprocessing:
    """The preprocessing of networks that are drawn over the same picture.

    Raises:
        InputError: they see different parts of it.
    """
    first = networks[0].card.preprocessing
    for network, name in zip(networks, weights, strict=True):
        if _part(network.card.preprocessing) != _part(first):
            raise InputError(
                f"{weights[0]} and {name} see different parts of a picture (center_crop): draw "
                "them one at a time"
            )
    return first


def _part(preprocessing: Preprocessing) -> tuple[float, float]:
    """What decides which part of a picture is seen; without a crop, no size does."""
    crop = preprocessing.center_crop
    return crop, preprocessing.height / preprocessing.width if crop else 0.0
