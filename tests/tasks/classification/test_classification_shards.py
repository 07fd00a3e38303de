"""Webdataset's tar files give the images and labels of the folders that they were made from."""

import io
import tarfile

import numpy as np
import pytest

from reid_dcs import InputError
from reid_dcs.config import compose
from reid_dcs.tasks.classification.data import list_evaluation_images, list_images
from reid_dcs.tasks.classification.settings import ClassifyTrainRun


def add(tar, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def shards(pictures, tmp_path_factory):
    """Two shards of each split."""
    folder = tmp_path_factory.mktemp("shards")
    for split, images in list_images(data(pictures), 1)._asdict().items():
        for part in (0, 1):
            with tarfile.open(folder / f"{split}-{part}.tar", "w") as tar:
                for i in range(part, len(images.names), 2):
                    label = int(images.labels[i])
                    add(tar, f"{i:05}.png", open(images.names[i], "rb").read())
                    add(tar, f"{i:05}.cls", str(label).encode())
    return folder


def data(root, **settings):
    return compose(ClassifyTrainRun, {"data": {"root": str(root)} | settings}).data


def of(folder, **more):
    return data("none", shards=f"{folder}/train-*.tar", val_shards=f"{folder}/val-*.tar", **more)


def content(images):
    """Label and pixels of every image, sorted."""
    pixels = [np.asarray(images.read(i)).tobytes() for i in range(len(images.names))]
    return sorted(zip((images.classes[label] for label in images.labels), pixels, strict=True))


def test_they_hold_what_the_folders_hold(shards, pictures, tmp_path):
    folders = list_images(data(pictures), 1)
    (tmp_path / "map.txt").write_text("\n".join(folders.train.classes))
    found = list_images(of(shards, label_map=str(tmp_path / "map.txt")), 1)
    assert content(found.train) == content(folders.train)
    assert content(found.val) == content(folders.val)
    assert list_images(of(shards), 1).train.classes == ["0", "1", "2", "3"]


def test_a_subset_has_the_labels_of_its_classes(shards):
    found = list_images(of(shards, classes=2), 1)
    assert len(found.train.classes) == 2 and len(found.train.names) == 16
    whole = content(list_images(of(shards), 1).train)
    assert content(found.train) == [each for each in whole if each[0] in found.train.classes]
    again = list_evaluation_images(of(shards), found.train.classes)
    assert content(again) == content(found.val)


def harmed(tmp_path, members):
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for name, text in members.items():
            add(tar, name, text)
    return data("none", shards=f"{tmp_path}/train-*.tar", val_shards=f"{tmp_path}/train-*.tar")


@pytest.mark.parametrize(
    "members, said",
    [
        ({}, "no images with labels: expected"),
        ({"a.jpg": b"x"}, "a has no label a.cls"),
        ({"a.jpg": b"x", "a.cls": b"cat"}, "a.cls holds no class number"),
        ({"a.jpg": b"x", "a.cls": b"-1"}, "a has no label a.cls of 0 or more"),
        ({"a.jpg": b"x", "a.cls": b"1"}, "the class 0 has no images"),
        ({"a.jpg": b"x", "a.cls": b"0"}, "two classes or more"),
    ],
)
def test_wrong_members_are_one_line(tmp_path, members, said):
    with pytest.raises(InputError, match=said) as error:
        list_images(harmed(tmp_path, members), 1)
    assert "\n" not in str(error.value)


def test_wrong_files_are_one_line(shards, tmp_path):
    with pytest.raises(InputError, match="no files match it"):
        list_images(of(tmp_path), 1)
    (tmp_path / "train-0.tar").write_bytes(b"no tar file")
    with pytest.raises(InputError, match="train-0.tar is not a tar file, or it is damaged"):
        list_images(of(tmp_path), 1)
    with pytest.raises(InputError, match="data.val_shards is missing"):
        list_images(data("none", shards=f"{shards}/train-*.tar"), 1)
    (tmp_path / "map.txt").write_text("red\nblue\n")
    with pytest.raises(InputError, match="label 3 has no name among the 2 of data.label_map"):
        list_images(of(shards, label_map=str(tmp_path / "map.txt")), 1)
