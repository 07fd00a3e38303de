"""The data of a classification run: classes, images of both splits, fingerprints."""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from reid_dcs.data.store import ImageStore, store_file, store_prefix
from reid_dcs.errors import InputError
from reid_dcs.files import check_outside
from reid_dcs.runtime import distributed
from reid_dcs.tasks.classification.settings import ImageFolderConfig, TrainDataConfig
from reid_dcs.tasks.classification.shards import ShardImages, list_shards, with_classes
from reid_dcs.tasks.classification.sources import (
    VALIDATION,
    LabelledImages,
    StoredImages,
    check_same_classes,
    chosen_classes,
    class_names,
    list_folder,
    read_label_map,
    split_folder,
)
from reid_dcs.tasks.classification.transforms import Transform, evaluation_transform
from reid_dcs.weights import Preprocessing


class ClassificationData(NamedTuple):
    """Images of both splits, with the same classes."""

    train: LabelledImages
    val: LabelledImages


def list_images(data: TrainDataConfig, seed: int) -> ClassificationData:
    """List the images of a training and of its evaluations.

    Args:
        seed: draws the subset of ``data.classes``.

    Raises:
        InputError: missing folders or files, classes without images or with other names.
    """
    if data.shards or data.val_shards:
        return _list_shards(data, seed)
    folder, val = split_folder(data.root, "train"), split_folder(data.root, "val")
    found, others = class_names(folder), class_names(val)
    check_same_classes(val, found, others)
    names = _mapped_classes(data, found)
    classes = chosen_classes(names, data.classes, seed)
    return ClassificationData(list_folder(folder, classes), list_folder(val, classes))


def list_evaluation_images(data: ImageFolderConfig, classes: Sequence[str]) -> LabelledImages:
    """List the images of an evaluation.

    Args:
        classes: names of the weights' classes; without, those of the folders or the label map.

    Raises:
        InputError: missing folders or files, or a class that has none.
    """
    if data.val_shards:
        images = list_shards(data.val_shards, "data.val_shards", _label_map(data))
        missing = [name for name in classes if name not in images.classes]
        if missing:
            raise InputError(
                f"data.val_shards={data.val_shards}: no images of the class {missing[0]!r} of the "
                "weights: pass data.label_map=FILE with the names of the labels"
            )
        _report_left_out(data.val_shards, images.classes, classes)
        return with_classes(images, classes) if classes else images
    folder = split_folder(data.root, "val")
    found = class_names(folder)
    listed = list_folder(folder, classes or _mapped_classes(data, found))
    _report_left_out(folder, found, classes)
    return listed


def _report_left_out(place: object, found: Sequence[str], classes: Sequence[str]) -> None:
    left_out = sorted(set(found) - set(classes)) if classes else []
    if left_out and distributed.is_main():
        print(
            f"warning: {place}: {len(left_out)} class(es) that the weights lack are left out, such "
            f"as {left_out[0]!r}",
            file=sys.stderr,
        )


def stored(
    images: LabelledImages, data: ImageFolderConfig, split: str, pixels: Preprocessing
) -> LabelledImages:
    """The images as ``data.storage`` has them: decoded each time, in memory, or mapped.

    Raises:
        InputError: shards, which are not stored, or unreadable images.
    """
    if data.storage == "files":
        return images
    if isinstance(images, ShardImages):
        raise InputError(f"data.storage={data.storage}: shards are read as they are: use files")
    size = (pixels.height, pixels.width)
    items = [
        (n, label, 0, 0) for n, label in zip(images.names, images.labels.tolist(), strict=True)
    ]
    if data.storage == "memory":
        store = ImageStore.decode(items, *size, split, pixels.interpolation, pixels.center_crop)
    else:
        options = {"classes": len(images.classes), "crop": pixels.center_crop}
        prefix = store_prefix(data.root, "images", options)
        file = store_file(prefix, split, *size, pixels.interpolation)
        with distributed.main_first():  # rank 0 writes it, the other processes read it
            store = ImageStore.mapped(items, *size, file, pixels.interpolation, pixels.center_crop)
    return StoredImages(images.classes, store)


def as_evaluated(images: LabelledImages, pixels: Preprocessing) -> Transform:
    """What an evaluation does with an image of ``images``; stored ones are cropped already."""
    if isinstance(images, StoredImages):
        pixels = replace(pixels, center_crop=0.0)
    return evaluation_transform(pixels)


def fingerprint(images: LabelledImages) -> dict[str, Any]:
    """Digest of names, labels and sizes of all images, and their number."""
    digest = hashlib.blake2b(digest_size=16)
    names = list(images.names)
    folder = os.path.dirname(os.path.commonprefix(names))
    sizes = [member.size for member in images.members] if isinstance(images, ShardImages) else None
    for i, (name, label) in enumerate(zip(names, images.labels.tolist(), strict=True)):
        size = sizes[i] if sizes else _size(name)
        line = f"\n{name.removeprefix(folder)} {label} {size}"
        digest.update(line.encode(errors="surrogateescape"))
    return {"digest": digest.hexdigest(), "images": len(names), "classes": len(images.classes)}


def check_outside_splits(output: str | Path, data: ImageFolderConfig) -> None:
    """Check that the output folder is in no folder of images. An evaluation may lack ``train``.

    Raises:
        InputError: it is.
    """
    folders = [Path(data.root, name) for name in ("train", *VALIDATION)]
    if not (getattr(data, "shards", "") or data.val_shards):
        check_outside(output, [folder for folder in folders if folder.is_dir()])


def _list_shards(data: TrainDataConfig, seed: int) -> ClassificationData:
    for setting in ("shards", "val_shards"):
        if not getattr(data, setting):
            raise InputError(f"data.{setting} is missing: training and evaluation need both")
    names = _label_map(data)
    train = list_shards(data.shards, "data.shards", names)
    val = list_shards(data.val_shards, "data.val_shards", names)
    if train.classes != val.classes:
        raise InputError(
            f"data.val_shards={data.val_shards}: {len(val.classes)} classes, but the training "
            f"images have {len(train.classes)}"
        )
    classes = chosen_classes(train.classes, data.classes, seed)
    return ClassificationData(with_classes(train, classes), with_classes(val, classes))


def _label_map(data: ImageFolderConfig) -> list[str]:
    return read_label_map(data.label_map) if data.label_map else []


def _mapped_classes(data: ImageFolderConfig, found: Sequence[str]) -> list[str]:
    """The classes in the order of the label map, or as found; each needs its folder."""
    names = _label_map(data)
    unknown = sorted(set(found) - set(names)) if names else []
    if unknown:
        raise InputError(
            f"data.label_map={data.label_map} lacks {unknown[0]!r}, which has a folder"
        )
    return names or list(found)


def _size(name: str) -> int:
    try:
        return Path(name).stat().st_size
    except OSError:  # decoding names it
        return -1
