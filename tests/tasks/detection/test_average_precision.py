"""AP of boxes and masks, against counts made by hand and what the evaluator is given."""

import numpy as np
import pytest
import torch
from helpers.detection import activate, small_detector
from helpers.detection_run import tiny_scenes

from reid_dcs.tasks.detection.data.annotations import (
    AnnotatedImage,
    Annotations,
    Category,
    Thing,
)
from reid_dcs.tasks.detection.data.find import load_split
from reid_dcs.tasks.detection.data.masks import encode
from reid_dcs.tasks.detection.evaluation import as_results, average_precision, evaluate_detector

SIZE = (100, 120)
ONE = pytest.approx(1)


def rectangle(left, top, right, bottom):
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def thing(number, label, box, crowd=False, masked=True):
    left, top, right, bottom = box
    area = (right - left) * (bottom - top)
    mask = encode(rectangle(*box)) if masked else None
    return Thing(number, label, tuple(map(float, box)), mask, float(area), crowd)


def found(label, box, score, image=1, mask=None):
    left, top, right, bottom = box
    return {
        "image_id": image,
        "category_id": (5, 9)[label - 1],
        "bbox": [left, top, right - left, bottom - top],
        "score": score,
        "segmentation": encode(rectangle(*(mask or box))),
    }


def annotations(tmp_path, *things):
    categories = [Category(5, "cat"), Category(9, "dog")]
    image = AnnotatedImage(1, tmp_path / "1.jpg", *SIZE, list(things))
    return Annotations(tmp_path / "a.json", categories, [image], {})


A, B, C = (10, 10, 50, 50), (60, 10, 90, 40), (10, 60, 30, 80)


def test_what_is_found_exactly_has_an_ap_of_1_in_its_class_and_size(tmp_path):
    truth = annotations(tmp_path, thing(1, 1, A), thing(2, 2, B))
    metrics = average_precision(truth, [found(1, A, 0.9), found(2, B, 0.3)])
    for name in ("box_AP", "mask_AP", "box_AP_small", "box_AP_medium"):  # 30 x 30 is small
        assert metrics[name] == ONE
    assert metrics["box_AP_large"] is None
    assert metrics["classes"] == {
        "cat": {"box_AP": ONE, "mask_AP": ONE},
        "dog": {"box_AP": ONE, "mask_AP": ONE},
    }


def test_ids_of_the_file_do_not_matter(tmp_path):
    """A hit on an id 0 is a miss for COCO's evaluator."""
    truth = annotations(tmp_path, thing(0, 1, A), thing(-3, 1, B))
    metrics = average_precision(truth, [found(1, A, 0.9), found(1, B, 0.8)])
    assert (metrics["box_AP"], metrics["mask_AP"]) == (ONE, ONE)


def test_a_missing_class_counts_as_0_and_one_that_is_nowhere_not_at_all(tmp_path):
    both = annotations(tmp_path, thing(1, 1, A), thing(2, 2, B))
    metrics = average_precision(both, [found(1, A, 0.9)])
    assert metrics["box_AP"] == pytest.approx(0.5) and metrics["classes"]["dog"]["box_AP"] == 0
    cats = annotations(tmp_path, thing(1, 1, A))
    metrics = average_precision(cats, [found(1, A, 0.9)])
    assert metrics["box_AP"] == ONE and metrics["classes"]["dog"]["box_AP"] is None
    assert average_precision(cats, [])["box_AP"] == 0


def test_an_error_before_the_hit_halves_the_precision(tmp_path):
    truth = annotations(tmp_path, thing(1, 1, A))
    metrics = average_precision(truth, [found(1, B, 0.9), found(1, A, 0.8)])
    assert metrics["box_AP"] == pytest.approx(0.5)


def test_boxes_count_up_to_the_threshold_that_they_overlap_by(tmp_path):
    """An IoU of 0.8 is a hit at 0.5, 0.55, ..., 0.8: at seven of ten thresholds."""
    truth = annotations(tmp_path, thing(1, 1, A))
    shorter = (10, 10, 50, 42)
    metrics = average_precision(truth, [found(1, shorter, 0.9)])
    assert metrics["box_AP"] == pytest.approx(0.7)
    assert (metrics["box_AP50"], metrics["box_AP75"]) == (ONE, ONE)
    metrics = average_precision(truth, [found(1, A, 0.9, mask=shorter)])
    assert (metrics["box_AP"], metrics["mask_AP"]) == (ONE, pytest.approx(0.7))


def test_crowds_are_no_misses_and_what_is_found_in_them_no_error(tmp_path):
    truth = annotations(tmp_path, thing(1, 1, A), thing(2, 1, B, crowd=True))
    inside = (62, 12, 80, 30)
    metrics = average_precision(truth, [found(1, inside, 0.9), found(1, A, 0.8)])
    assert (metrics["box_AP"], metrics["mask_AP"]) == (ONE, ONE)


def test_an_object_of_which_only_the_box_is_known_counts_for_boxes_alone(tmp_path):
    truth = annotations(tmp_path, thing(1, 1, A), thing(2, 1, B, masked=False))
    metrics = average_precision(truth, [found(1, A, 0.9)])
    assert metrics["mask_AP"] == ONE
    assert metrics["box_AP"] == pytest.approx(51 / 101)  # half of the recall levels
    metrics = average_precision(truth, [found(1, B, 0.9), found(1, A, 0.8)])
    assert (metrics["box_AP"], metrics["mask_AP"]) == (ONE, ONE)


def test_results_have_cocos_fields_and_plain_values():
    detections = {
        "boxes": torch.tensor([[1.0, 2.0, 11.0, 22.0]]),
        "labels": torch.tensor([2]),
        "scores": torch.tensor([0.75]),
        "masks": torch.full((1, 1, 30, 40), 0.7),
    }
    (result,) = as_results(17, detections, [5, 9])
    assert result["image_id"] == 17 and result["category_id"] == 9
    assert result["bbox"] == [1, 2, 10, 20] and result["score"] == 0.75
    assert result["segmentation"] == encode(np.ones((30, 40)))


def test_a_detector_is_evaluated_as_it_is_and_left_in_its_mode(tmp_path):
    truth = load_split("scenes", tiny_scenes(tmp_path), "val")
    detector = activate(small_detector(num_classes=2)).train()
    one_by_one = evaluate_detector(detector, truth, batch_size=1)
    assert detector.training and detector.backbone.training
    assert one_by_one["classes"].keys() == {"person", "bicycle"}
    assert set(one_by_one) == {
        *(f"{k}_{n}" for k in ("box", "mask") for n in NAMES),
        "classes",
    }


NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
