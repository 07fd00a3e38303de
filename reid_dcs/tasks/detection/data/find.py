"""The files of a data set in COCO's layout, or of the generated one."""

import os
from pathlib import Path
from typing import Literal

from reid_dcs.errors import InputError
from reid_dcs.files import check_outside
from reid_dcs.tasks.detection.data.annotations import Annotations, read_annotations
from reid_dcs.tasks.detection.data.scenes import draw_scenes

Split = Literal["train", "val"]


def load_split(name: str, root: Path, split: Split) -> Annotations:
    """Find and read the annotations of a split.

    Annotations are in ``root/annotations/instances_<split>*.json``; their images in one of
    ``root/images/<split>*``, ``root/<split>*``, ``root/images`` and ``root``, where ``<split>*`` is
    the name of the annotation file without ``instances_``.

    Args:
        name: ``coco`` for any data set in COCO's layout; ``scenes`` for the generated one in
            ``root/scenes``, which is drawn if it is not there.
        root: folder of the data set, or the one that contains ``scenes``.
        split: ``train`` or ``val``.

    Raises:
        InputError: no such file, or several, or none that can be read.
    """
    if name == "scenes":
        root = draw_scenes(Path(root) / "scenes")
    file = find_annotations(Path(root), split)
    stem = file.stem.removeprefix("instances_")
    places = (f"images/{stem}", stem, f"images/{split}", split, "images", "")
    return read_annotations(file, [Path(root) / place for place in places])


def find_annotations(root: Path, split: Split) -> Path:
    """The annotation file of a split.

    Raises:
        InputError: there is none, or several.
    """
    pattern = f"instances_{split}*.json"
    found = sorted((root / "annotations").glob(pattern))
    if not found:
        raise InputError(
            f"no {pattern} in {root / 'annotations'}: --root DIR must hold "
            f"annotations/{pattern} and a folder images"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{root / 'annotations'} has {names}: keep one file of each split there")
    return found[0]


def check_outside_split(output: str | Path, name: str, annotations: Annotations) -> None:
    """Check that an output folder is not in a folder of the data set.

    These are the folders in its root that hold the annotations and images of a split, wherever
    links lead, or the root itself if images are there; of the generated set, its folder.

    Args:
        output: the output folder.
        name: see :func:`load_split`.
        annotations: of the split.

    Raises:
        InputError: it is.
    """
    root = annotations.file.parent.parent
    if name == "scenes":
        return check_outside(output, [root])
    parents = {Path(os.path.dirname(image.path)) for image in annotations.images}
    holding = {root.joinpath(*parent.relative_to(root).parts[:1]) for parent in parents}
    check_outside(output, sorted({annotations.file.parent, *holding, *parents}))
