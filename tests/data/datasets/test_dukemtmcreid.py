"""DukeMTMC-reID: the layout with generated names, and counts of the official names."""

import csv

import pytest
from torchreid import data as torchreid_data

from reid_dcs import InputError
from reid_dcs.data.datasets.dukemtmcreid import OFFICIAL, DukeMTMCreID

SPLITS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def write_names(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def duke(tmp_path):
    write_names(
        tmp_path / "DukeMTMC-reID",
        [
            "bounding_box_train/0020_c2_f0046182.jpg",
            "bounding_box_train/0001_c8_f0046302.jpg",
            "query/0005_c2_f0046985.jpg",
            "bounding_box_test/0005_c5_f0051781.jpg",
            "bounding_box_test/7014_c1_f0044158.jpg",
        ],
    )
    return tmp_path


@pytest.mark.parametrize("root", ["", "DukeMTMC-reID"])
def test_names_become_identities_and_cameras(duke, root):
    dataset = DukeMTMCreID(str(duke / root))
    assert [item[1:3] for item in dataset.train] == [(0, 7), (1, 1)]
    assert [item[1:3] for item in dataset.query] == [(5, 1)]
    assert [item[1:3] for item in dataset.gallery] == [(5, 4), (7014, 0)]
    assert "train has 2 images instead of 16,522" in dataset.unofficial


def test_torchreids_own_loader_finds_the_same(duke):
    (duke / "dukemtmc-reid").mkdir()
    (duke / "DukeMTMC-reID").rename(duke / "dukemtmc-reid/DukeMTMC-reID")
    ours, theirs = (
        torchreid_data.datasets.init_image_dataset(name, root=str(duke), verbose=False)
        for name in ("dcs_dukemtmcreid", "dukemtmcreid")
    )
    for split in ("query", "gallery"):
        assert sorted(getattr(ours, split)) == sorted(getattr(theirs, split))
    assert [item[0] for item in ours.train] == sorted(item[0] for item in theirs.train)


def test_an_absent_set_says_that_it_was_withdrawn(tmp_path):
    with pytest.raises(InputError, match="DukeMTMC-reID is not under .*it was withdrawn in 2019"):
        DukeMTMCreID(str(tmp_path))


@pytest.mark.slow
def test_the_official_names_have_the_official_counts(shared, tmp_path):
    names = []
    for split in ("train", "query", "test"):
        with open(shared / f"data/splits/names/dukeMTMC_{split}.csv") as file:
            names += [path for _, path in csv.reader(file)]
    write_names(tmp_path, names)
    dataset = DukeMTMCreID(str(tmp_path))
    assert dataset.unofficial is None and dataset.num_train_pids == 702
    assert sum(len(getattr(dataset, split)) for split in SPLITS) == len(set(names)) == 36_411
    trained = {item[0].split("/")[-1][:4] for item in dataset.train}
    tested = {f"{item[1]:04d}" for item in dataset.query + dataset.gallery}
    assert len(trained) == OFFICIAL["train"].identities and not trained & tested
    assert {item[1] for item in dataset.query} <= {item[1] for item in dataset.gallery}
