"""Mask AP of true boxes with true masks reduced to 28x28 cells, the resolution of the mask head.

    python benchmarks/studies/mask_resolution.py --root DIR [--dataset scenes]

Every object of the validation split is found, with its true box and score 1; its mask is the true
one, averaged over the 28x28 cells of the box, and pasted back as the masks of a detector are.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import roi_align

from reid_dcs.tasks.detection.data.batches import load_target
from reid_dcs.tasks.detection.data.find import load_split
from reid_dcs.tasks.detection.evaluation import as_results, average_precision
from reid_dcs.tasks.detection.results import table

CELLS = 28


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--dataset", default="scenes", choices=("scenes", "coco"))
    options = parser.parse_args()
    annotations = load_split(options.dataset, options.root, "val")
    ids = [category.id for category in annotations.categories]
    results, overlaps = [], {category.name: [] for category in annotations.categories}
    for image in annotations.images:
        target = load_target(image)
        boxes, masks = target["boxes"], target["masks"].float()  # (n, 4), (n, H, W)
        if not len(boxes):
            continue
        each = [box[None] for box in boxes]
        cells = roi_align(masks[:, None], each, CELLS, sampling_ratio=4)  # (n, 1, 28, 28)
        pasted = paste_masks_in_image(cells, boxes, masks.shape[1:])  # (n, 1, H, W)
        found = {"boxes": boxes, "labels": target["labels"], "masks": pasted}
        results += as_results(image.id, found | {"scores": torch.ones(len(boxes))}, ids)
        inside, true = pasted[:, 0] > 0.5, masks > 0.5
        both, either = (inside & true).sum((1, 2)), (inside | true).sum((1, 2))
        for label, overlap in zip(target["labels"].tolist(), (both / either).tolist(), strict=True):
            overlaps[annotations.categories[label - 1].name].append(overlap)
    print(table(average_precision(annotations, results)))
    for name, values in overlaps.items():
        print(f"{name}: {len(values)} objects, mean IoU of the masks {np.mean(values):.2f}")


if __name__ == "__main__":
    main()
