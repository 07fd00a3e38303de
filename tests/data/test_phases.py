"""Progressive resizing: an epoch of a phase is that of a training at its size throughout."""

import gc
import weakref

import pytest
import torch

from reid_dcs import InputError
from reid_dcs.config.settings import PhaseConfig
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.manager import InMemoryDataManager

PHASES = [PhaseConfig(2, 32, 16, 32, padding=2), PhaseConfig(1, 48, 24)]
"""Two epochs, then one; those that follow are at 64x32."""
OF_EPOCH = [(32, 16, 32, 2), (32, 16, 32, 2), (48, 24, 16, 4), (64, 32, 16, 4), (64, 32, 16, 4)]


def make_manager(root, height=64, width=32, batch_size=16, padding=4, **options):
    return InMemoryDataManager(
        "synthetic",
        load_dataset("synthetic", str(root)),
        height=height,
        width=width,
        batch_size=batch_size,
        num_instances=4,
        test_batch_size=10,
        augmentation=Augmentation(padding=padding, brightness=0.2),
        device=torch.device("cpu"),
        seed=3,
        **options,
    )


def epoch_of(manager, epoch, first_batch=0):
    manager.train_loader.set_epoch(epoch, first_batch)
    return list(manager.train_loader)


def assert_same_batches(found, expected):
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours["img"], theirs["img"]) and ours["impath"] == theirs["impath"]
        assert torch.equal(ours["pid"], theirs["pid"])


@pytest.mark.parametrize("how", ["in memory", "mapped", "second process", "mixup"])
def test_an_epoch_has_the_batches_of_a_training_at_its_size(tiny_root, tmp_path, how):
    options = {
        "in memory": {},
        "mapped": {"mapped": tmp_path / "stores/synthetic"},
        "second process": {"rank": 1, "world_size": 2},
        "mixup": {"mixup": 0.3},
    }[how]
    manager = make_manager(tiny_root, phases=PHASES, **options)
    lengths = []
    for epoch, size in enumerate(OF_EPOCH):
        expected = epoch_of(make_manager(tiny_root, *size, **options), epoch)
        assert_same_batches(epoch_of(manager, epoch), expected)
        assert expected[0]["img"].shape[2:] == size[:2]
        assert len(manager.train_loader) == len(expected)
        lengths.append(len(expected))
    assert manager.train_loader.epoch_lengths(len(OF_EPOCH)) == lengths
    if how == "mapped":
        sizes = {path.stem.split("-")[-1] for path in (tmp_path / "stores").glob("*-train-*")}
        assert sizes == {"32x16", "48x24", "64x32"}


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_phase_is_resumed_within_an_epoch(tiny_root, epoch):
    whole = epoch_of(make_manager(tiny_root, phases=PHASES), epoch)
    rest = epoch_of(make_manager(tiny_root, phases=PHASES), epoch, first_batch=2)
    assert_same_batches(rest, whole[2:])


def test_test_images_have_the_last_size(tiny_root):
    loaders = make_manager(tiny_root, phases=PHASES).test_loader["synthetic"]
    assert {loader.store.images.shape[1:3] for loader in loaders.values()} == {(64, 32)}


def test_one_phase_at_a_time_is_in_memory(tiny_root):
    loader = make_manager(tiny_root, phases=PHASES).train_loader
    stores = []
    for epoch in (0, 2, 3):  # the first epoch of each phase
        loader.set_epoch(epoch)
        next(iter(loader))
        stores.append(weakref.ref(loader.loader.store))
        gc.collect()
        assert [store() is not None for store in stores] == [False] * (len(stores) - 1) + [True]


def test_an_unreadable_image_is_found_before_training(tiny_root, tmp_path):
    dataset = load_dataset("synthetic", str(tiny_root))
    broken = tmp_path / "0001_c1s1_000000_00.jpg"
    broken.write_bytes(b"no image")
    dataset.train[0] = (str(broken), *dataset.train[0][1:])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError, match="unreadable"):
        patch.setattr("test_phases.load_dataset", lambda *_: dataset)
        make_manager(tiny_root, phases=PHASES)


def test_a_batch_too_large_is_found_before_training(tiny_root):
    with pytest.raises(InputError, match="cannot fill one batch of 100 identities"):
        make_manager(tiny_root, phases=[PhaseConfig(1, 32, 16), PhaseConfig(1, 48, 24, 400)])
