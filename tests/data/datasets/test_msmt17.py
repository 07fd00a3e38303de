"""MSMT17: the three releases with generated files, and counts of the official lists."""

import shutil

import pytest
from torchreid import data as torchreid_data

from reid_dcs import InputError
from reid_dcs.data.datasets import msmt17
from reid_dcs.data.datasets.msmt17 import LISTS, MSMT17

LINES = {
    "list_train.txt": ["0003/0003_000_12_0303morning_0006_2.jpg 3"],
    "list_val.txt": ["0001/0001_001_15_0303morning_0006_2_ex.jpg 1"],
    "list_query.txt": ["0003/0003_000_01_0303noon_0006_2.jpg 3"],
    "list_gallery.txt": [
        "0003/0003_001_04_0303noon_0006_2.jpg 3",
        "0000/0000_001_05_0303noon_0006_2.jpg 0",
    ],
}
RELEASES = {
    "MSMT17_V1": ("train", "test"),
    "MSMT17_V2": ("mask_train_v2", "mask_test_v2"),
    "MSMT17": ("train", "test"),
}


def write_release(root, name):
    train, test = RELEASES[name]
    for file, lines in LINES.items():
        folder = train if file in ("list_train.txt", "list_val.txt") else test
        for line in lines:
            image = root / name / folder / line.split()[0]
            image.parent.mkdir(parents=True, exist_ok=True)
            image.touch()
        (root / name / file).write_text("".join(f"{line}\n" for line in lines))
    return root / name


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", RELEASES)
def test_every_release_is_read(tmp_path, name, inside):
    folder = write_release(tmp_path, name)
    dataset = MSMT17(str(folder if inside else tmp_path))
    assert [item[1:3] for item in dataset.train] == [(1, 11), (0, 14)]  # train and val, relabelled
    assert [item[1:3] for item in dataset.query] == [(3, 0)]
    assert [item[1:3] for item in dataset.gallery] == [(3, 3), (0, 4)]
    assert dataset.train[0][0].startswith(str(folder / RELEASES[name][0]))
    assert "train has 2 images instead of 32,621" in dataset.unofficial


def test_torchreids_own_loader_finds_the_same_test_images(tmp_path):
    write_release(tmp_path / "msmt17", "MSMT17_V2")
    ours, theirs = (
        torchreid_data.datasets.init_image_dataset(name, root=str(tmp_path), verbose=False)
        for name in ("dcs_msmt17", "msmt17")
    )
    assert ours.query == theirs.query and ours.gallery == theirs.gallery


def test_two_releases_under_one_root_are_refused(tmp_path):
    write_release(tmp_path, "MSMT17_V1"), write_release(tmp_path, "MSMT17_V2")
    with pytest.raises(InputError, match="contains MSMT17_V1 and MSMT17_V2: pass one"):
        MSMT17(str(tmp_path))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="MSMT17 is not under .*list_train.txt.*pkuvmc"):
        MSMT17(str(tmp_path))
    folder = write_release(tmp_path, "MSMT17_V1")
    image = folder / "test" / LINES["list_query.txt"][0].split()[0]
    image.unlink()
    with pytest.raises(InputError, match=rf"1 missing file\(s\) in MSMT17, such as {image}"):
        MSMT17(str(tmp_path))
    shutil.rmtree(folder / "test")
    with pytest.raises(InputError, match="lacks test/"):
        MSMT17(str(tmp_path))
    (folder / "list_val.txt").unlink()
    with pytest.raises(InputError, match="lacks list_val.txt"):
        MSMT17(str(tmp_path))


def test_a_malformed_line_is_named(tmp_path):
    folder = write_release(tmp_path, "MSMT17_V1")
    with open(folder / "list_gallery.txt", "a") as file:
        file.write("0000/cat.jpg 0\n")
    with pytest.raises(InputError, match=r"1 misnamed .*list_gallery.txt: '0000/cat.jpg 0'"):
        MSMT17(str(tmp_path))


@pytest.mark.slow
def test_the_official_lists_have_the_official_counts(shared, tmp_path, monkeypatch):
    for name in LISTS:
        shutil.copy(shared / "data/splits/msmt17" / name, tmp_path / name)
    (tmp_path / "train").mkdir(), (tmp_path / "test").mkdir()
    monkeypatch.setattr(msmt17, "_ExistingFiles", lambda folder: _AllFiles())  # no images here
    listing = MSMT17.list_files(tmp_path)
    assert listing.unofficial() is None and not listing.misnamed
    paths = [path for items in listing.splits.values() for path, *_ in items]
    assert len(set(paths)) == len(paths) == 126_441
    trained = {pid for _, pid, _ in listing.train}
    tested = {pid for _, pid, _ in listing.query + listing.gallery}
    assert len(trained) == 1_041 and len(tested) == 3_060 and not trained & tested


class _AllFiles:
    def __contains__(self, path):
        return True
