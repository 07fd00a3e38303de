"""Results of detection as text, and the fingerprint of its data."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from reid_dcs.data.unchanged import sample_files
from reid_dcs.tasks.detection.data.annotations import Annotations

COLUMNS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


def table(metrics: Mapping[str, Any]) -> str:
    """AP of boxes and masks in per cent, of all classes and, if there are few, of each."""
    lines = [" " * 6 + "".join(f"{name.replace('AP_', 'AP '):>10}" for name in COLUMNS)]
    for kind in ("box", "mask"):
        cells = "".join(f"{percent(metrics[f'{kind}_{name}']):>10}" for name in COLUMNS)
        lines.append(f"{kind:6}{cells}")
    classes = metrics["classes"]
    if 1 < len(classes) <= 20:
        width = max(map(len, classes))
        lines += [""] + [
            f"{name:{width}}  box {percent(each['box_AP']):>5}  mask {percent(each['mask_AP']):>5}"
            for name, each in classes.items()
        ]
    return "\n" + "\n".join(lines)


def percent(value: float | None) -> str:
    """A fraction in per cent; a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def fingerprint(annotations: Annotations) -> dict[str, Any]:
    """Digest of what is read of an annotation file, and of sizes and samples of its images."""
    sampled = sample_files(str(image.path) for image in annotations.images)
    content = [
        [
            [image.id, image.path.name, sampled[str(image.path)], image.height, image.width],
            [*map(list, image.things)],
        ]
        for image in annotations.images
    ]
    text = json.dumps([[*map(list, annotations.categories)], content])
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
        "images": len(annotations.images),
        "objects": sum(len(image.things) for image in annotations.images),
    }
