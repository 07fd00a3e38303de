"""Batches: every image once an epoch, the same whatever the workers, resumed within an epoch."""

import pytest
import torch
from PIL import Image, PngImagePlugin

from reid_dcs import InputError
from reid_dcs.config import compose
from reid_dcs.runtime import distributed
from reid_dcs.tasks.classification.data import list_images
from reid_dcs.tasks.classification.loader import TrainLoader, check_readable, evaluation_loader
from reid_dcs.tasks.classification.settings import ClassifyTrainRun
from reid_dcs.tasks.classification.transforms import evaluation_transform, training_transform
from reid_dcs.weights import Preprocessing


@pytest.fixture
def make(job):
    def loader(workers=0, batch_size=8, seed=1):
        data = compose(ClassifyTrainRun, job).data
        images = list_images(data, 1).train
        return TrainLoader(images, training_transform(data), batch_size, seed, workers)

    return loader


def write_png_with_long_text(path):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "x" * 2_000_000, zip=True)
    Image.new("RGB", (20, 20)).save(path, pnginfo=text)


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one["names"] == other["names"] and torch.equal(one["labels"], other["labels"])
        assert torch.equal(one["images"], other["images"])


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(make):
    loader = make()
    epochs = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == 4
        epochs.append([name for batch in batches for name in batch["names"]])
        assert sorted(epochs[-1]) == sorted(loader.images.names)
    assert epochs[0] != epochs[1]
    names = [name for batch in make(seed=2) for name in batch["names"]]
    assert names != epochs[0]


def test_an_epoch_is_resumed_within_and_does_not_touch_the_global_generator(make):
    loader = make()
    loader.set_epoch(2)
    whole = list(loader)
    state = torch.get_rng_state()
    again = make()
    again.set_epoch(2, first_batch=3)
    same(list(again), whole[3:])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_workers_change_nothing(make):
    alone, helped = make(0), make(2)
    for epoch in (0, 1):
        for loader in (alone, helped):
            loader.set_epoch(epoch)
        same(list(alone), list(helped))


def test_processes_share_an_epoch(make, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        loader = make(batch_size=4)
        parts.append([name for batch in loader for name in batch["names"]])
        assert len(loader) == 4
    assert sorted(parts[0] + parts[1]) == sorted(loader.images.names)


def test_an_evaluation_has_this_processes_part_in_order(job, monkeypatch):
    images = list_images(compose(ClassifyTrainRun, job).data, 1).val
    transform = evaluation_transform(Preprocessing(16, 16))
    found = [n for b in evaluation_loader(images, transform, 5, 0) for n in b["names"]]
    assert found == list(images.names)
    monkeypatch.setattr(distributed, "rank_slice", lambda: slice(1, None, 3))
    found = [n for b in evaluation_loader(images, transform, 5, 0) for n in b["names"]]
    assert found == list(images.names)[1::3]


def test_too_few_images_are_one_line(make):
    with pytest.raises(InputError, match="data.batch_size=64: 32 training images do not fill"):
        make(batch_size=64)


def test_a_wrong_limit_of_pixels_is_refused_before_workers_start(make, monkeypatch):
    monkeypatch.setenv("REID_DCS_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="REID_DCS_MAX_PIXELS=many: expected a whole number"):
        make(workers=2)


def test_an_image_with_too_long_a_text_is_named(make):
    """Pillow raises ValueError."""
    loader = make()
    path = loader.images.names[3]
    content = open(path, "rb").read()
    try:
        write_png_with_long_text(path)
        batches = list(loader)
        with pytest.raises(InputError, match=r"1 unreadable .*003\.png \(damaged: Decompressed"):
            for batch in batches:
                check_readable(batch)
    finally:
        open(path, "wb").write(content)


def test_an_unreadable_image_is_named(make):
    loader = make()
    path = loader.images.names[3]
    content = open(path, "rb").read()
    try:
        open(path, "wb").write(content[:100])
        batches = list(loader)
        with pytest.raises(InputError, match=r"1 unreadable or truncated image.*003\.png"):
            for batch in batches:
                check_readable(batch)
    finally:
        open(path, "wb").write(content)
