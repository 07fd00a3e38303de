"""An annotation file in COCO's format: what training and evaluation read of it, and its faults."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeGuard

from reid_dcs.errors import InputError
from reid_dcs.files import regular
from reid_dcs.tasks.detection.data.masks import Segmentation, is_segmentation

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""


class Category(NamedTuple):
    """A class of objects. Labels of a network are 1, 2, ... in the order of the ids."""

    id: int
    name: str


LEAST_SIDE = 0.01
"""Of a box, in pixels; a smaller side can be 0 in the float32 of a network."""


class Thing(NamedTuple):
    """An annotated object."""

    id: int
    label: int
    box: Box
    """Cut off at the border of the image."""
    segmentation: Segmentation | None
    """None: only the box is known."""
    area: float
    """Of the mask, as the file states it; it decides the size class of the evaluation."""
    crowd: bool
    """Several objects in one annotation: not trained on, and no miss in the evaluation."""


@dataclass
class AnnotatedImage:
    """An image and its objects."""

    id: int
    path: Path
    height: int
    width: int
    things: list[Thing] = field(default_factory=list)


FATAL = {
    "no_category": "files without categories",
    "malformed": "entries without the fields of COCO's format",
    "image_twice": "image ids given twice",
    "annotation_twice": "annotation ids given twice",
    "unknown_image": "annotations of an image that is not listed",
    "unknown_category": "annotations of a category that is not listed",
    "missing": "images that are not there",
}
"""Faults that no training or evaluation starts with."""
HANDLED = {
    "outside": "boxes that reach outside their image: cut off at its border",
    "no_area": "boxes of hardly any area within their image: left out",
    "no_mask": "masks without polygons or run lengths: trained on as boxes alone",
}
"""Faults that are put right as they are read."""
COUNTED = {
    "crowd": "crowds: not trained on",
    "no_boxes": "images without boxes: trained on as background",
}
"""Not faults, but worth a number."""


@dataclass
class Annotations:
    """The content of an annotation file.

    Attributes:
        file: the JSON file.
        categories: sorted by id.
        images: in the order of the file.
        findings: places by fault, with the keys of :data:`FATAL`, :data:`HANDLED` and
            :data:`COUNTED`.
    """

    file: Path
    categories: list[Category]
    images: list[AnnotatedImage]
    findings: dict[str, list[str]]

    @property
    def faults(self) -> dict[str, list[str]]:
        """The findings that no training or evaluation starts with."""
        return {fault: places for fault in FATAL if (places := self.findings.get(fault))}

    def require_valid(self) -> "Annotations":
        """Refuse a file with faults that cannot be put right.

        Raises:
            InputError: it has some; the message names the first places.
        """
        for fault, places in self.faults.items():
            shown = ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
            raise InputError(
                f"{self.file}: {len(places)} {FATAL[fault]}: {shown}; reid-dcs detect check lists "
                "all"
            )
        return self


def check_trainable(train: Annotations, evaluated: Annotations) -> None:
    """Check that a training can start with two splits, each valid.

    Raises:
        InputError: their categories differ, there are no images, or no objects to evaluate on.
    """
    if train.categories != evaluated.categories:
        raise InputError(
            f"{evaluated.file} has other categories than {train.file}: give both the same"
        )
    if not train.images:
        raise InputError(f"{train.file} lists no images")
    check_evaluable(evaluated)


def check_evaluable(annotations: Annotations) -> None:
    """Check that an evaluation can start with a valid split.

    Raises:
        InputError: there are no objects but crowds.
    """
    if all(thing.crowd for image in annotations.images for thing in image.things):
        raise InputError(f"{annotations.file} has no objects to evaluate on: annotate some")


def read_annotations(file: Path, folders: list[Path]) -> Annotations:
    """Read an annotation file.

    Args:
        file: JSON in COCO's format for object detection.
        folders: where its images may be; the first that has its first image is taken.

    Raises:
        InputError: not a readable JSON object with the lists ``images``, ``annotations`` and
            ``categories``. Faults of their entries are findings.
    """
    content = _read_json(file)
    findings: dict[str, list[str]] = defaultdict(list)
    categories = _read_categories(content["categories"], findings)
    images = _read_images(content["images"], folders, findings)
    labels = {category.id: label for label, category in enumerate(categories, start=1)}
    seen: set[int] = set()
    for place, entry in _entries(content["annotations"], "annotation", findings):
        thing = _read_thing(place, entry, images, labels, findings)
        if thing is None:
            continue
        if thing.id in seen:
            findings["annotation_twice"].append(place)
        seen.add(thing.id)
        images[entry["image_id"]].things.append(thing)
    if not categories:
        findings["no_category"].append(file.name)
    empty = [image.path.name for image in images.values() if not image.things]
    findings["no_boxes"] += empty
    return Annotations(file, categories, list(images.values()), dict(findings))


def _read_json(file: Path) -> dict[str, list]:
    try:
        regular(file)
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise InputError(f"{file} is not in COCO's format: it needs the lists {', '.join(lists)}")
    return content


def _entries(
    entries: list[Any], kind: str, findings: dict[str, list[str]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries that are mappings with a whole number as their id, and how messages name each."""
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping) and type(entry.get("id")) is int:
            yield f"{kind} {entry['id']}", entry
        else:
            findings["malformed"].append(f"{kind} number {number + 1} (id)")


def _read_categories(entries: list[Any], findings: dict[str, list[str]]) -> list[Category]:
    found: dict[int, Category] = {}
    for place, entry in _entries(entries, "category", findings):
        name = entry.get("name")
        if not isinstance(name, str) or not name.isprintable():
            findings["malformed"].append(f"{place} (name)")
        elif entry["id"] in found:
            findings["malformed"].append(f"{place} (its id is given twice)")
        elif any(name == category.name for category in found.values()):
            findings["malformed"].append(f"{place} (its name {name} is given twice)")
        else:
            found[entry["id"]] = Category(entry["id"], name)
    return [found[key] for key in sorted(found)]


def _read_images(
    entries: list[Any], folders: list[Path], findings: dict[str, list[str]]
) -> dict[int, AnnotatedImage]:
    images: dict[int, AnnotatedImage] = {}
    folder: Path | None = None
    for place, entry in _entries(entries, "image", findings):
        name, height, width = (entry.get(key) for key in ("file_name", "height", "width"))
        if not isinstance(name, str) or not _is_inside(name):
            findings["malformed"].append(f"{place} (file_name)")
            continue
        if not (_is_side(height) and _is_side(width)):
            findings["malformed"].append(f"{place} (height, width)")
            continue
        if entry["id"] in images:
            findings["image_twice"].append(place)
            continue
        if folder is None:
            folder = next((each for each in folders if os.path.isfile(each / name)), folders[0])
        path = folder / name
        if not os.path.isfile(path):  # not of pathlib, which raises where a name is too long
            findings["missing"].append(str(path))
        images[entry["id"]] = AnnotatedImage(entry["id"], path, height, width)
    return images


def _is_side(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value < 2**20


def _is_inside(name: str) -> bool:
    """Whether a name is a path that stays below the folder it is read from."""
    if not name or "\0" in name or len(name) > 1000:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _read_thing(
    place: str,
    entry: Mapping[str, Any],
    images: Mapping[int, AnnotatedImage],
    labels: Mapping[int, int],
    findings: dict[str, list[str]],
) -> Thing | None:
    image_id = entry.get("image_id")
    image = images.get(image_id) if type(image_id) is int else None
    if image is None:
        findings["unknown_image"].append(place)
        return None
    place = f"{place} of {image.path.name}"
    if type(entry.get("category_id")) is not int or entry["category_id"] not in labels:
        findings["unknown_category"].append(place)
        return None
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        findings["malformed"].append(f"{place} (bbox)")
        return None
    x, y, width, height = map(float, box)
    cut = (max(x, 0.0), max(y, 0.0), min(x + width, image.width), min(y + height, image.height))
    if min(width, height, cut[2] - cut[0], cut[3] - cut[1]) < LEAST_SIDE:
        findings["no_area"].append(place)
        return None
    if min(x, y) < -1 or x + width > image.width + 1 or y + height > image.height + 1:
        findings["outside"].append(place)
    crowd = entry.get("iscrowd", 0) in (1, True)
    if crowd:
        findings["crowd"].append(place)
    segmentation = entry.get("segmentation")
    if not is_segmentation(segmentation, image.height, image.width):
        findings["no_mask"].append(place)
        segmentation = None
    area = entry.get("area")
    if not _is_number(area) or area <= 0:
        area = (cut[2] - cut[0]) * (cut[3] - cut[1])
    label = labels[entry["category_id"]]
    return Thing(entry["id"], label, cut, segmentation, float(area), crowd)


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**30  # neither NaN nor infinite
