"""Pictures are drawn as networks see them: their center, if the card cuts it out."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data.decode import resize
from reid_dcs.visual.compare import _points
from reid_dcs.visual.seen import common_preprocessing, seen
from reid_dcs.weights import ModelCard, Preprocessing


@pytest.fixture(params=[(640, 480), (300, 500), (224, 224)], ids=str)
def gradient(request, tmp_path):
    """A picture whose red and green are its columns and rows."""
    wide, high = request.param
    pixels = np.zeros((high, wide, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, wide)[None]
    pixels[..., 1] = np.linspace(0, 255, high)[:, None]
    Image.fromarray(pixels).save(tmp_path / "gradient.png")
    return tmp_path / "gradient.png"


@pytest.mark.parametrize("crop", [0.0, 0.5, 0.875, 1.0])
@pytest.mark.parametrize("size", [(96, 96), (96, 48)], ids=str)
def test_the_part_is_what_the_network_is_given(gradient, size, crop):
    part = seen(gradient, Preprocessing(*size, center_crop=crop))
    given = resize(Image.open(gradient), *size, crop=crop)
    drawn = resize(Image.fromarray(np.ascontiguousarray(part.pixels)), *size)
    assert np.abs(given.astype(int) - drawn.astype(int)).max() <= 6  # a pixel of the input
    whole = np.asarray(Image.open(gradient))
    height, width = part.pixels.shape[:2]
    rows, columns = slice(part.top, part.top + height), slice(part.left, part.left + width)
    assert np.array_equal(whole[rows, columns], part.pixels)


def test_positions_are_in_pixels_of_the_picture(gradient):
    part = seen(gradient, Preprocessing(96, 96, center_crop=0.5))
    height, width = part.pixels.shape[:2]
    corner = (part.left, part.top)
    assert _points(gradient, part, [corner], (1, 1)) == [(0.5 / width, 0.5 / height)]
    with pytest.raises(InputError, match=rf"--at 0,0 is outside .* x from {part.left} to"):
        _points(gradient, part, [(0, 0)], (1, 1))


def test_networks_side_by_side_see_the_same_part():
    def network(*size, crop=0.0):
        return SimpleNamespace(
            card=ModelCard("x", preprocessing=Preprocessing(*size, center_crop=crop))
        )

    same = [network(64, 32), network(256, 256)]
    assert common_preprocessing(same, "ab").height == 64
    assert common_preprocessing([network(64, 64, crop=0.5), network(32, 32, crop=0.5)], "ab")
    for other in (network(64, 64, crop=0.875), network(64, 32, crop=0.5), network(64, 64)):
        with pytest.raises(InputError, match="a and b see different parts"):
            common_preprocessing([network(64, 64, crop=0.5), other], "ab")
