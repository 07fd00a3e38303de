"""Training batches: order, resumption, processes, flips and crops of boxes and masks."""

import numpy as np
import pytest
import torch
from helpers.detection import target
from helpers.detection_run import tiny_scenes

from reid_dcs.tasks.detection.data.batches import DetectionLoader, crop_of, cropped, flipped
from reid_dcs.tasks.detection.data.find import load_split


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return load_split("scenes", tiny_scenes(tmp_path_factory.mktemp("data")), "train")


def same(a, b) -> bool:
    images = all(map(torch.equal, a.images, b.images))
    masks = all(
        torch.equal(x["masks"], y["masks"]) for x, y in zip(a.targets, b.targets, strict=True)
    )
    return images and masks and a.names == b.names


def test_every_image_is_in_an_epoch_once_and_epochs_differ(scenes):
    loader = DetectionLoader(scenes, batch_size=2, seed=3)
    orders = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        orders.append([name for batch in loader for name in batch.names])
        assert sorted(orders[-1]) == sorted(str(image.path) for image in scenes.images)
    assert orders[0] != orders[1] != orders[2]


def test_the_last_batch_is_filled_with_the_first_images(scenes):
    loader = DetectionLoader(scenes, batch_size=4)
    assert len(loader) == 2
    order = loader.indices()
    assert order.shape == (2, 4)
    assert set(order.ravel()) == set(range(6)) and (order[1, 2:] == order[0, :2]).all()


def test_an_epoch_that_is_resumed_goes_on_with_the_same_batches(scenes):
    loader = DetectionLoader(scenes, batch_size=2, crop=0.5, seed=1)
    loader.set_epoch(4)
    whole = list(loader)
    loader.set_epoch(4, first_batch=1)
    rest = list(loader)
    assert len(whole) == 3 and len(rest) == 2
    assert all(map(same, rest, whole[1:]))
    loader.set_epoch(5)
    assert not all(map(same, loader, whole))


def test_processes_share_the_images_of_an_epoch(scenes):
    loaders = [DetectionLoader(scenes, 1, rank=rank, world_size=2) for rank in range(2)]
    assert [len(loader) for loader in loaders] == [3, 3]
    found = np.concatenate([loader.indices().ravel() for loader in loaders])
    assert sorted(found) == [*range(6)]


def test_a_flip_mirrors_boxes_and_masks_together():
    image = torch.arange(3 * 20 * 30).reshape(3, 20, 30)
    given = target(20, 30, (1, 2, 3, 10, 8), (2, 20, 0, 30, 20))
    mirrored, found = flipped(image, given)
    assert torch.equal(mirrored[..., 0], image[..., 29])
    expected = target(20, 30, (1, 20, 3, 28, 8), (2, 0, 0, 10, 20))
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    twice, again = flipped(mirrored, found)
    assert torch.equal(twice, image) and torch.equal(again["boxes"], given["boxes"])


def test_a_crop_cuts_boxes_and_masks_and_drops_what_is_outside():
    image = torch.arange(3 * 20 * 30).reshape(3, 20, 30)
    given = target(20, 30, (1, 2, 3, 12, 9), (2, 0, 12, 4, 20), (3, 6, 8, 30, 20))
    part, found = cropped(image, given, top=5, left=5, height=10, width=20)
    assert torch.equal(part, image[:, 5:15, 5:25])
    expected = target(10, 20, (1, 0, 0, 7, 4), (3, 1, 3, 20, 10))
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_a_crop_that_would_leave_no_object_is_not_made():
    image, given = torch.zeros(3, 20, 30), target(20, 30, (1, 0, 0, 4, 4))
    part, found = cropped(image, given, top=10, left=10, height=5, width=5)
    assert part.shape == image.shape and torch.equal(found["boxes"], given["boxes"])
    part, found = cropped(image, target(20, 30), top=10, left=10, height=5, width=5)
    assert part.shape == (3, 5, 5) and len(found["boxes"]) == 0


def test_crops_have_the_sides_of_convnexts_recipe():
    """384 to 600 pixels of an image whose shorter side has 400, 500 or 600."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        top, left, height, width = crop_of((480, 640), rng)
        assert 480 * 384 / 600 - 1 <= height <= 480 and 480 * 384 / 600 - 1 <= width <= 640
        assert 0 <= top <= 480 - height and 0 <= left <= 640 - width
