"""Decoding: PIL's pixels, and every bad file named before training starts."""

from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data.store import ImageStore, store_file
from reid_dcs.weights.card import Interpolation


@pytest.fixture
def items(tmp_path):
    """Six images of odd sizes and color modes, as a torchreid split."""
    random = np.random.default_rng(0)
    items = []
    for i, mode in enumerate(("RGB", "L", "CMYK", "RGB", "RGB", "RGB")):
        pixels = random.integers(0, 256, (40 + 5 * i, 20 + 3 * i, 3), dtype=np.uint8)
        path = tmp_path / f"{i}.jpg"
        Image.fromarray(pixels).convert(mode).save(path, quality=95)
        items.append((str(path), i // 2, i % 3, 0))
    return items


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_pixels_are_pils(items, interpolation):
    store = ImageStore.decode(items, 48, 24, "test", interpolation)
    method = getattr(Image.Resampling, interpolation.upper())
    assert store.images.shape == (6, 48, 24, 3) and store.images.dtype == torch.uint8
    for image, (path, *_) in zip(store.images, items, strict=True):
        resized = Image.open(path).convert("RGB").resize((24, 48), method)
        assert np.array_equal(image.numpy(), np.array(resized))
    assert store.pids.tolist() == [0, 0, 1, 1, 2, 2] and store.camids.tolist() == [0, 1, 2] * 2


def test_each_interpolation_has_a_mapped_file_of_its_own(tmp_path):
    names = {store_file(tmp_path / "a", "query", 48, 24, i) for i in get_args(Interpolation)}
    assert len(names) == 6 and store_file(tmp_path / "a", "query", 48, 24) in names


def test_unreadable_and_truncated_images_are_counted_and_named(items):
    broken, truncated = items[1][0], items[4][0]
    with open(broken, "wb") as file:
        file.write(b"this is no picture")
    with open(truncated, "rb+") as file:
        file.truncate(400)
    with pytest.raises(InputError) as error:
        ImageStore.decode(items, 48, 24, "gallery")
    message = str(error.value)
    assert "2 unreadable or truncated image(s) in gallery" in message
    assert broken in message and truncated in message


def test_a_picture_that_went_away_is_named(items, tmp_path):
    (tmp_path / "3.jpg").unlink()
    with pytest.raises(InputError, match="1 unreadable .*3.jpg"):
        ImageStore.decode(items, 48, 24, "query")
