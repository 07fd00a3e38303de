"""Batched augmentation against one image at a time, and its statistics."""

import pytest
import torch

from reid_dcs.data.augment import IMAGENET_MEAN, IMAGENET_STD, Augmentation, normalise

STILL = Augmentation(flip=0, padding=0, erasing=0)


@pytest.fixture
def images():
    random = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (64, 24, 12, 3), generator=random, dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_normalise_is_torchvisions(images):
    from torchvision.transforms.functional import normalize

    expected = normalize(images.permute(0, 3, 1, 2) / 255, IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(normalise(images), expected, rtol=1e-5, atol=1e-5)
    assert normalise(images).is_contiguous(memory_format=torch.channels_last)


def test_nothing_happens_at_probability_zero(images):
    torch.testing.assert_close(STILL(images, seeded()), normalise(images))


def test_flip_at_probability_one_mirrors_every_image(images):
    flipped = Augmentation(flip=1, padding=0, erasing=0)(images, seeded())
    torch.testing.assert_close(flipped, normalise(images).flip(3))


def test_every_crop_is_a_shift_of_its_image_on_black(images):
    p = 3
    cropped = Augmentation(flip=0, padding=p, erasing=0)._flip_and_crop(images, seeded())
    padded = torch.nn.functional.pad(images, (0, 0, p, p, p, p))
    shifts = []
    for image, result in zip(padded, cropped, strict=True):
        found = [
            (y, x)
            for y in range(2 * p + 1)
            for x in range(2 * p + 1)
            if torch.equal(image[y : y + 24, x : x + 12], result)
        ]
        assert len(found) == 1
        shifts += found
    assert len(set(shifts)) > 20  # of 49, drawn 64 times, each image on its own


def test_flips_and_crops_have_their_probabilities():
    marked = torch.zeros(4000, 9, 9, 3, dtype=torch.uint8)
    marked[:, 4, 3] = 255  # one pixel left of the centre
    result = Augmentation(flip=0.3, padding=2, erasing=0)._flip_and_crop(marked, seeded())
    rows, columns = result[..., 0].nonzero()[:, 1:].T
    # flipping follows the shift: column 3 - dx, or 8 - (3 - dx)
    for shift in range(-2, 3):
        assert abs((rows == 4 - shift).float().mean() - 0.2) < 0.03
    expected = {c: 0.7 / 5 * (1 <= c <= 5) + 0.3 / 5 * (3 <= c <= 7) for c in range(9)}
    for column, probability in expected.items():
        assert abs((columns == column).float().mean() - probability) < 0.03


def test_erased_boxes_have_torchreids_areas_ratios_and_frequency():
    height, width, n = 128, 64, 3000
    white = torch.full((n, height, width, 3), 255, dtype=torch.uint8)
    boxes = Augmentation(0, 0, erasing=0.4)._boxes(white.permute(0, 3, 1, 2), seeded())[:, 0]
    erased = boxes.flatten(1).any(1)
    assert abs(erased.float().mean() - 0.4) < 0.03
    boxes = boxes[erased]
    h, w = boxes.any(2).sum(1), boxes.any(1).sum(1)
    assert torch.equal(boxes.flatten(1).sum(1), h * w)  # one whole box
    area, ratio = h * w / (height * width), h / w
    assert 0.018 < area.min() and area.max() < 0.41 and 0.12 < area.mean() < 0.22
    assert 0.25 < ratio.min() and ratio.max() < 3.7
    reference = torchreid_areas(height, width, 600)
    assert abs(area.mean() - reference) < 0.015


def torchreid_areas(height: int, width: int, n: int) -> float:
    """Mean area that torchreid's own RandomErasing erases."""
    import random

    from torchreid import data

    random.seed(0)
    erase = data.transforms.RandomErasing(probability=1, mean=[0, 0, 0])
    total = 0.0
    for _ in range(n):
        total += (erase(torch.ones(3, height, width))[0] == 0).float().mean().item()
    return total / n


def test_an_erased_pixel_is_the_mean_colour():
    images = torch.full((8, 16, 8, 3), 200, dtype=torch.uint8)
    result = Augmentation(0, 0, erasing=1)(images, seeded())
    assert ((result == 0).any(1) == (result == 0).all(1)).all() and (result == 0).any()


def test_a_seed_gives_one_result(images):
    augmentation = Augmentation()
    assert torch.equal(augmentation(images, seeded(3)), augmentation(images, seeded(3)))
    assert not torch.equal(augmentation(images, seeded(3)), augmentation(images, seeded(4)))
