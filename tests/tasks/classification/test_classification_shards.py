"""Webdataset's tar files give the images and labels of the folders that they were made from."""

import io
import os
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


@pytest.mark.parametrize(
    "names, said",
    [
        (["a.jpg", "a.cls", "a.jpg"], "a.jpg: a has another image"),
        (["a.jpg", "a.cls", "a.png"], "a.png: a has another image"),
        (["a.jpg", "a.cls", "a.cls"], "a.cls: a has another label"),
    ],
)
def test_a_repeated_key_is_one_line(tmp_path, names, said):
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for name in names:
            add(tar, name, b"0")
    with pytest.raises(InputError, match=said):
        list_images(data("none", shards=f"{tmp_path}/*.tar", val_shards=f"{tmp_path}/*.tar"), 1)


def damage_a_header(content, start):
    return content[:start] + bytes(100 * [7]) + content[start + 100 :]


@pytest.mark.parametrize(
    "damage, said",
    [
        (damage_a_header, "no header of a member at byte"),
        (lambda content, start: content[: start + 100], "no header of a member at byte"),
        (lambda content, start: content[:start], "it is cut off"),
        (lambda content, start: content[:start] + bytes(512) + content[start:], "no header"),
        (lambda content, start: content + content, "no header of a member at byte"),
        (lambda content, start: content[: start + 600], "unexpected end of data"),
    ],
)
def test_no_image_of_a_damaged_shard_is_lost(shards, tmp_path, damage, said):
    """tarfile ends a listing at a damaged header without an error."""
    whole = shards / "train-0.tar"
    with tarfile.open(whole) as tar:
        start = tar.getmembers()[6].offset
    (tmp_path / "train-0.tar").write_bytes(damage(whole.read_bytes(), start))
    with pytest.raises(InputError, match=f"train-0.tar is not a tar file, or .*{said}") as error:
        list_images(data("none", shards=f"{tmp_path}/*.tar", val_shards=f"{tmp_path}/*.tar"), 1)
    assert "\n" not in str(error.value)


def test_the_end_of_a_shard_may_be_short(shards, tmp_path):
    content = (shards / "train-0.tar").read_bytes()
    for blocks in (1, 2, 3000):
        end = len(content.rstrip(b"\0")) // 512 * 512 + 512
        (tmp_path / "train-0.tar").write_bytes(content[:end] + bytes(512 * blocks))
        found = list_images(
            data("none", shards=f"{tmp_path}/*.tar", val_shards=f"{tmp_path}/*.tar"), 1
        )
        assert len(found.train.names) == 16


def test_a_pipe_among_the_shards_is_refused(tmp_path):
    os.mkfifo(tmp_path / "train-0.tar")
    with pytest.raises(InputError, match="train-0.tar is not a tar file.*not a regular file"):
        list_images(of(tmp_path), 1)


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
