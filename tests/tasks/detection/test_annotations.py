"""Annotation files in COCO's format: what is read, and what of it is refused, mended or counted."""

import json
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from helpers.detection import small_detector
from helpers.detection_run import tiny_scenes

from reid_dcs import InputError
from reid_dcs.tasks.detection.check import check
from reid_dcs.tasks.detection.data import masks
from reid_dcs.tasks.detection.data.annotations import read_annotations
from reid_dcs.tasks.detection.data.batches import load_image, load_target
from reid_dcs.tasks.detection.data.find import load_split
from reid_dcs.tasks.detection.data.masks import (
    _uncompressed,
    count_runs,
    decode,
    encode,
    is_segmentation,
)

SQUARE = [[10, 10, 30, 10, 30, 20, 10, 20]]


def content() -> dict:
    """Two images, categories with gaps between their ids, one crowd."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 40, "width": 60},
            {"id": 3, "file_name": "b.png", "height": 30, "width": 50},
        ],
        "categories": [{"id": 90, "name": "brush"}, {"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": 11,
                "image_id": 7,
                "category_id": 90,
                "bbox": [10, 10, 20, 10],
                "area": 200,
                "iscrowd": 0,
                "segmentation": SQUARE,
            },
            {
                "id": 12,
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 30, 30],
                "area": 5,
                "iscrowd": 1,
                "segmentation": {"size": [40, 60], "counts": [5, 5, 2390]},
            },
        ],
    }


def write(root, changed, split="train"):
    (root / "annotations").mkdir(exist_ok=True, parents=True)
    (root / "images").mkdir(exist_ok=True)
    for name, size in (("a.png", (40, 60)), ("b.png", (30, 50))):
        cv2.imwrite(str(root / "images" / name), np.full((*size, 3), 128, np.uint8))
    (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(changed))
    return root


def changed(kind, index=0, **fields):
    """The content with some fields of an entry replaced; `...` removes one."""
    new = content()
    new[kind][index] |= fields
    new[kind][index] = {k: v for k, v in new[kind][index].items() if v is not ...}
    return new


def test_labels_follow_the_ids_of_the_categories_and_crowds_are_not_trained_on(tmp_path):
    read = load_split("coco", write(tmp_path, content()), "train").require_valid()
    assert [(c.id, c.name) for c in read.categories] == [(1, "person"), (90, "brush")]
    first, second = read.images
    assert (first.id, first.path.name, first.height, first.width) == (7, "a.png", 40, 60)
    assert [(t.label, t.crowd) for t in first.things] == [(2, False), (1, True)]
    target = load_target(first)
    assert target["labels"].tolist() == [2]
    assert target["boxes"].tolist() == [[10, 10, 30, 20]]
    expected = torch.zeros(1, 40, 60, dtype=torch.uint8)
    expected[0, 10:20, 10:30] = 1
    assert torch.equal(target["masks"], expected)
    assert load_target(second)["masks"].shape == (0, 30, 50)
    assert set(read.findings) == {"crowd", "no_boxes"}
    assert load_image(first).shape == (3, 40, 60)


@pytest.mark.parametrize(
    ("broken", "fault", "place"),
    [
        (changed("images", 1, id=7), "image_twice", "image 7"),
        (changed("annotations", 1, id=11), "annotation_twice", "annotation 11"),
        (changed("annotations", 0, image_id=8), "unknown_image", "annotation 11"),
        (changed("annotations", 0, image_id=...), "unknown_image", "annotation 11"),
        (changed("annotations", 0, category_id=2), "unknown_category", "annotation 11 of a.png"),
        (changed("annotations", 0, category_id=...), "unknown_category", "annotation 11 of a.png"),
        (changed("images", 0, file_name="c.png"), "missing", "c.png"),
        (changed("images", 0, file_name="../a.png"), "malformed", "image 7 (file_name)"),
        (changed("images", 0, height=...), "malformed", "image 7 (height, width)"),
        (changed("images", 0, file_name="x" * 300), "missing", "xxx"),
        (changed("images", 1, file_name="x" * 300), "missing", "xxx"),
        (changed("categories", 0, name="person"), "malformed", "(its name person is given twice)"),
        (changed("annotations", 0, bbox=[10**400, 1, 2, 3]), "malformed", "annotation 11"),
        (changed("annotations", 0, bbox=[1, 2, 3]), "malformed", "annotation 11 of a.png (bbox)"),
        (changed("annotations", 0, bbox=[1, 2, 3, None]), "malformed", "annotation 11"),
        (changed("annotations", 0, id="x"), "malformed", "annotation number 1 (id)"),
        (content() | {"categories": []}, "no_category", "instances_train2017.json"),
    ],
)
def test_faults_that_cannot_be_mended_are_refused_in_one_line(tmp_path, broken, fault, place):
    read = load_split("coco", write(tmp_path, broken), "train")
    assert any(place in found for found in read.findings[fault])
    with pytest.raises(InputError) as caught:
        read.require_valid()
    message = str(caught.value)
    assert "\n" not in message and "instances_train2017.json" in message
    assert not check("coco", tmp_path).usable


@pytest.mark.parametrize(
    ("broken", "fault", "things"),
    [
        (changed("annotations", 0, bbox=[50, 10, 20, 10]), "outside", 2),
        (changed("annotations", 0, bbox=[70, 10, 20, 10]), "no_area", 1),
        (changed("annotations", 0, bbox=[10, 10, 0, 10]), "no_area", 1),
        (changed("annotations", 0, bbox=[10, 10, -5, 10]), "no_area", 1),
        (changed("annotations", 0, bbox=[50.3, 10, 1e-5, 10]), "no_area", 1),  # 0 in float32
        (changed("annotations", 0, bbox=[-10, 10, 10.001, 10]), "no_area", 1),
        (changed("annotations", 0, segmentation=[]), "no_mask", 2),
        (changed("annotations", 0, segmentation=...), "no_mask", 2),
        (changed("annotations", 0, segmentation=[[1, 2, 3, 4]]), "no_mask", 2),
        (
            changed("annotations", 0, segmentation={"size": [40, 60], "counts": [5, 9]}),
            "no_mask",
            2,
        ),
        (changed("annotations", 0, segmentation={"size": [9, 9], "counts": "00"}), "no_mask", 2),
        (changed("annotations", 0, segmentation={"size": [40, 60], "counts": "00"}), "no_mask", 2),
        (changed("annotations", 0, segmentation={"size": [40, 60], "counts": ""}), "no_mask", 2),
    ],
)
def test_faults_that_are_put_right_are_counted(tmp_path, broken, fault, things):
    read = load_split("coco", write(tmp_path, broken), "train").require_valid()
    assert len(read.findings[fault]) == 1
    assert len(read.images[0].things) == things
    target = load_target(read.images[0])
    boxes = target["boxes"]
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all() and (boxes <= torch.tensor([60, 40, 60, 40])).all()
    report = check("coco", tmp_path).splits["train"]
    assert report.usable and "handled: 1" in str(report)


def test_an_object_without_a_mask_trains_only_its_box(tmp_path):
    root = write(tmp_path, changed("annotations", 0, segmentation=[]))
    image = load_split("coco", root, "train").images[0]
    detector = small_detector(num_classes=2).train()
    losses = detector([load_image(image).float() / 255], [load_target(image)])
    assert losses["loss_mask"] == 0 and losses["loss_box_reg"] > 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": []}', "nul", '{"images": 1}'])
def test_files_that_are_not_annotations_are_refused(tmp_path, text):
    file = tmp_path / "instances_train.json"
    file.write_text(text)
    with pytest.raises(InputError, match="instances_train.json"):
        read_annotations(file, [tmp_path])


def test_missing_and_ambiguous_annotation_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no instances_train"):
        load_split("coco", tmp_path, "train")
    write(tmp_path, content())
    (tmp_path / "annotations/instances_train2014.json").write_text("{}")
    with pytest.raises(InputError, match="instances_train2014.json, instances_train2017.json"):
        load_split("coco", tmp_path, "train")


def test_an_image_of_another_size_or_a_damaged_one_is_named(tmp_path):
    root = write(tmp_path, changed("images", 0, height=41))
    read = load_split("coco", root, "train")
    with pytest.raises(InputError, match=r"a\.png has 40x60 pixels, and 41x60"):
        load_image(read.images[0])
    (root / "images/b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"b\.png"):
        load_image(read.images[1])
    report = check("coco", root)
    assert len(report.splits["train"].unreadable) == 2 and not report.usable


def test_a_check_refuses_what_a_training_would(tmp_path):
    root = write(tmp_path, content())
    assert check("coco", root).usable
    file = root / "annotations/instances_val.json"
    assert "eval.split=train" in str(check("coco", root))
    for changes, said in (
        ({"annotations": []}, "no objects to evaluate on"),
        ({"categories": content()["categories"][:1], "annotations": []}, "other categories than"),
    ):
        file.write_text(json.dumps(content() | changes))
        report = check("coco", root)
        assert report.splits["val"].usable and not report.usable and said in str(report)


@pytest.mark.parametrize("place", ["images/train2017", "train2017", "images/train", "images", ""])
def test_images_are_found_in_the_usual_folders(tmp_path, place):
    root = write(tmp_path, content())
    folder = root / place
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        (root / "images" / name).rename(folder / name)
    read = load_split("coco", root, "train").require_valid()
    assert [image.path for image in read.images] == [folder / "a.png", folder / "b.png"]


def test_masks_survive_all_their_forms():
    mask = np.random.default_rng(0).integers(0, 2, (7, 5)).astype(np.uint8)
    for each in (mask, np.zeros_like(mask), np.ones_like(mask)):
        assert (decode(count_runs(each), 7, 5) == each).all()
        assert (decode(encode(each), 7, 5) == each).all()


def test_of_compressed_masks_only_whole_ones_are_accepted(monkeypatch):
    random = np.random.default_rng(0)
    whole, cut, damaged = [], [], ["", "0", "o", "P" * 50, "o" * 100_000, "\udcff", "\0", "é"]
    for height, width in ((7, 5), (40, 60), (300, 200)):
        noise = random.random((height, width))
        stripes = np.arange(width) // max(1, width // 3) % 2 * np.ones((height, 1))
        for mask in (noise < 0.5, noise < 0.02, stripes, noise < 0, noise < 2):
            encoded = encode(mask)
            text = encoded["counts"]
            whole.append((text, (height, width)))
            cut += [(text[:end], (height, width)) for end in range(len(text))]
            assert is_segmentation(encoded, height, width)
            assert (decode(encoded, height, width) == mask).all()
            assert _uncompressed(text) == count_runs(mask)["counts"]
    monkeypatch.setattr(masks, "coco_mask", None)  # it gets no string before it was checked
    damaged += ["".join(map(chr, random.integers(32, 127, n))) for n in range(1, 200)]
    sizes = ((7, 5), (40, 60), (300, 200))
    damaged_ends = [(text + more, size) for text, size in whole for more in ("P", "o", "1", "é")]
    for text, size in damaged_ends + cut[:: len(cut) // 500] + list(product(damaged, sizes)):
        assert not is_segmentation({"size": [*size], "counts": text}, *size), text


def test_an_area_without_bounds_is_that_of_the_box(tmp_path):
    root = write(tmp_path, changed("annotations", 0, area=10**400))
    assert load_split("coco", root, "train").images[0].things[0].area == 200


# --- generated scenes ----------------------------------------------------------------------------


def test_boxes_of_generated_scenes_are_those_of_their_masks(tmp_path):
    read = load_split("scenes", tiny_scenes(tmp_path), "train").require_valid()
    count = 0
    for image in read.images:
        target = load_target(image)
        for box, mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
            rows, columns = mask.nonzero().T
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box == [v.item() for v in found]
            count += 1
        assert (target["masks"].sum(0) <= 1).all()  # what is hidden belongs to nobody else
    assert count > 10
    assert {c.name for c in read.categories} == {"person", "bicycle"}


def test_scenes_are_the_same_each_time_and_another_folder_is_not_replaced(tmp_path):
    first, second = (tiny_scenes(tmp_path / name) / "scenes" for name in ("first", "second"))
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) == 6 + 3 + 2 + 1
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()
    (tmp_path / "third/scenes").mkdir(parents=True)
    with pytest.raises(InputError, match="not a generated data set"):
        load_split("scenes", tmp_path / "third", "train")
