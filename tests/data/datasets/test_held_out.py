"""Held-out identities: evaluation on part of the training split."""

from collections import Counter, defaultdict

import pytest

from reid_dcs.data.check import inspect_dataset
from reid_dcs.data.datasets import DATASETS, load_dataset
from reid_dcs.data.datasets.held_out import hold_out
from reid_dcs.data.datasets.listing import Listing
from reid_dcs.errors import InputError


def listing(identities: int, cameras: int = 3, shots: int = 4, **known) -> Listing:
    train = [
        (f"{pid:04d}_c{camera}_{shot}.jpg", 2 * pid, camera)
        for pid in range(identities)
        for camera in range(cameras)
        for shot in range(shots)
    ]
    return Listing(train, [("q.jpg", 1, 0)], [("g.jpg", 1, 1)], **known)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 1 / 3, 0.5, 0.9])
@pytest.mark.parametrize("identities", [10, 37, 100])
def test_identities_are_disjoint_and_no_image_is_lost(fraction, identities):
    whole = listing(identities)
    split = hold_out(whole, fraction)
    trained = {pid for _, pid, _ in split.train}
    held = {pid for _, pid, _ in split.gallery}
    assert not trained & held
    assert abs(len(held) - fraction * identities) < 1
    assert sorted(split.train + split.query + split.gallery) == sorted(whole.train)
    assert Counter((pid, camera) for _, pid, camera in split.query) == {
        (pid, camera): 1 for pid in held for camera in range(3)
    }
    assert str(len(held)) in split.unofficial()


def test_held_out_identities_are_evenly_spaced():
    held = {pid // 2 for _, pid, _ in hold_out(listing(100), 0.1).gallery}
    assert held == {*range(9, 100, 10)}


@pytest.mark.parametrize("shots", [1, 2])
def test_every_query_has_a_match_under_another_camera(shots):
    ragged = listing(10, 2, shots)
    ragged.train.extend(listing(20, 3, 2).train[60:])
    split = hold_out(ragged, 0.5)
    cameras = defaultdict(set)
    for _, pid, camera in split.gallery:
        cameras[pid].add(camera)
    assert split.query and all(cameras[pid] - {camera} for _, pid, camera in split.query)
    assert sorted(split.train + split.query + split.gallery) == sorted(ragged.train)


def test_without_cameras_query_and_gallery_differ_in_camera():
    split = hold_out(listing(10, 1, cameras_known=False), 0.5)
    assert {camera for *_, camera in split.query} == {0}
    assert {camera for *_, camera in split.gallery} == {1}


@pytest.mark.parametrize(
    ("identities", "shots", "fraction"),
    [(10, 4, 1), (10, 4, -0.1), (10, 4, "0.5x"), (10, 4, 0.01), (1, 4, 0.999), (10, 1, 0.5)],
)
def test_a_fraction_that_leaves_nothing_is_refused(identities, shots, fraction):
    with pytest.raises(InputError, match="held_out"):
        hold_out(listing(identities, cameras=1, shots=shots), fraction)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_can_hold_out_identities(name):
    assert "held_out" in DATASETS[name].options()


def test_the_test_split_is_not_used(tiny_root):
    whole = load_dataset("synthetic", str(tiny_root))
    split = load_dataset("synthetic", str(tiny_root), {"held_out": 0.5})
    used = {path for path, *_ in split.train + split.query + split.gallery}
    assert used == {path for path, *_ in whole.train}
    assert {pid for _, pid, *_ in split.train} == set(range(4))  # of 8, relabeled
    assert split.unofficial == "4 of 8 training identities are held out to evaluate"
    report = inspect_dataset("synthetic", str(tiny_root), {"held_out": 0.5})
    faults = {fault for fault, _ in report.findings}
    assert faults == {"difference(s) from the official split"}


@pytest.mark.parametrize("fraction", ["half", 2])
def test_commands_refuse_an_invalid_fraction_in_one_line(tool, tiny_root, fraction):
    run = tool("train_reid.py", "--root", str(tiny_root), f"data.options.held_out={fraction}")
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1 and "held_out" in run.stderr
