"""Average precision of boxes and masks by COCO's reference evaluator."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from tqdm import tqdm

from reid_dcs.runtime import distributed
from reid_dcs.runtime.hooks import evaluating, weight_of
from reid_dcs.tasks.detection.data.annotations import AnnotatedImage, Annotations
from reid_dcs.tasks.detection.data.batches import load_image
from reid_dcs.tasks.detection.data.masks import encode, run_lengths
from reid_dcs.tasks.detection.network import CascadeMaskRCNN

Result = dict[str, Any]
"""A detection in COCO's format: image_id, category_id, bbox, score, segmentation."""

KINDS = {"box": "bbox", "mask": "segm"}
"""Kinds of AP, and the evaluator's names for them."""
STATISTICS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
"""The first of the evaluator's statistics, in its order."""
MASK_THRESHOLD = 0.5  # probability of a pixel of a mask


def evaluate_detector(
    detector: CascadeMaskRCNN, annotations: Annotations, batch_size: int = 1
) -> dict[str, Any]:
    """Detect objects in all images, in all processes together, and compute AP.

    Returns:
        result of :func:`average_precision`.
    """
    part = annotations.images[distributed.rank_slice()]
    results = detect(detector, part, [c.id for c in annotations.categories], batch_size)
    of_all = [result for each in distributed.gathered(results) for result in each]
    return average_precision(annotations, of_all)


def detect(
    detector: CascadeMaskRCNN,
    images: Sequence[AnnotatedImage],
    category_ids: Sequence[int],
    batch_size: int = 1,
) -> list[Result]:
    """Detections of images, in COCO's format.

    Args:
        category_ids: id of the category of each label, 1, 2, ...
    """
    device = weight_of(detector).device
    results: list[Result] = []
    starts = range(0, len(images), batch_size)
    with evaluating(detector):
        for start in tqdm(starts, "detect", unit="batch", leave=False, disable=_silent()):
            batch = images[start : start + batch_size]
            pixels = [load_image(image).to(device).float() / 255 for image in batch]
            for image, found in zip(batch, detector(pixels), strict=True):
                results += as_results(image.id, found, category_ids)
    return results


@torch.inference_mode()
def detect_image(detector: CascadeMaskRCNN, image: Tensor) -> dict[str, Tensor]:
    """Detections of one image, (3, H, W) uint8, by a detector in evaluation mode."""
    (found,) = detector([image.to(weight_of(detector).device).float() / 255])
    return found


def as_results(
    image_id: int, found: Mapping[str, Tensor], category_ids: Sequence[int]
) -> list[Result]:
    """The detections of an image in COCO's format."""
    boxes = found["boxes"].tolist()
    masks = (found["masks"][:, 0] > MASK_THRESHOLD).byte().cpu().numpy()
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[label - 1],
            "bbox": [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
            "score": score,
            "segmentation": encode(mask),
        }
        for (x1, y1, x2, y2), label, score, mask in zip(
            boxes, found["labels"].tolist(), found["scores"].tolist(), masks, strict=True
        )
    ]


def average_precision(annotations: Annotations, results: Sequence[Result]) -> dict[str, Any]:
    """AP of boxes and masks at IoU 0.5 to 0.95, of all classes and of each.

    Args:
        annotations: what is there; crowds are no misses.
        results: detections in COCO's format.

    Returns:
        ``box_AP``, ``box_AP50``, ``box_AP75``, ``box_AP_small``, ``box_AP_medium``,
        ``box_AP_large``, the same of ``mask``, as fractions, None where nothing of a size is
        there; and ``classes``: ``box_AP`` and ``mask_AP`` by name of the category.
    """
    metrics: dict[str, Any] = {}
    classes: dict[str, dict[str, float | None]] = {c.name: {} for c in annotations.categories}
    for kind, name in KINDS.items():
        with contextlib.redirect_stdout(io.StringIO()):
            precision, statistics = _evaluate(annotations, results, name)
        for key, value in zip(STATISTICS, statistics, strict=False):
            metrics[f"{kind}_{key}"] = _known(value)
        for k, category in enumerate(annotations.categories):
            found = precision[:, :, k, 0, -1]  # of all sizes, with 100 detections
            values = found[found > -1]
            classes[category.name][f"{kind}_AP"] = float(values.mean()) if values.size else None
    return metrics | {"classes": classes}


def _evaluate(
    annotations: Annotations, results: Sequence[Result], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Precision (IoU, recall, class, size, detections) and statistics of the evaluator."""
    truth = COCO()
    truth.dataset = _content(annotations, name)
    truth.createIndex()
    found = COCO()
    found.dataset = {key: truth.dataset[key] for key in ("images", "categories")}
    found.dataset["annotations"] = [
        dict(result) | {"id": i, "iscrowd": 0, "area": result["bbox"][2] * result["bbox"][3]}
        for i, result in enumerate(results, start=1)
    ]
    if name == "segm":
        for each in found.dataset["annotations"]:
            each["area"] = float(coco_mask.area(each["segmentation"]))
    found.createIndex()
    evaluation = COCOeval(truth, found, name)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.eval["precision"], evaluation.stats


def _content(annotations: Annotations, name: str) -> dict[str, list]:
    """Annotations in COCO's format.

    Where masks are compared, an object of which only the box is known is a crowd: not found, it is
    no miss, and found, it is no error.
    """
    listed: list[dict[str, Any]] = []
    for image in annotations.images:
        for thing in image.things:
            x1, y1, x2, y2 = thing.box
            known = thing.segmentation is not None
            outline = thing.segmentation or [[x1, y1, x2, y1, x2, y2, x1, y2]]
            listed.append(
                {
                    "id": len(listed) + 1,  # the evaluator takes a hit on id 0 for a miss
                    "image_id": image.id,
                    "category_id": annotations.categories[thing.label - 1].id,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": thing.area,
                    "iscrowd": int(thing.crowd or (name == "segm" and not known)),
                    "segmentation": run_lengths(outline, image.height, image.width),
                }
            )
    return {
        "images": [
            {"id": image.id, "height": image.height, "width": image.width}
            for image in annotations.images
        ],
        "categories": [category._asdict() for category in annotations.categories],
        "annotations": listed,
    }


def _known(value: float) -> float | None:
    """The evaluator gives -1 where there is nothing to find."""
    return None if value < 0 else float(value)


def _silent() -> bool | None:
    return None if distributed.is_main() else True  # None: silent only without a terminal
