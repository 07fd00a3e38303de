"""Labelled images of a split: files in folders by class, or decoded images in a store."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from reid_dcs.data.datasets.names import SYSTEM, why_ignored
from reid_dcs.data.decode import read_rgb
from reid_dcs.data.image_files import IMAGE_SUFFIXES
from reid_dcs.data.store import ImageStore
from reid_dcs.errors import InputError
from reid_dcs.files import read_text

VALIDATION = ("val", "test")
"""Names of the folder of the evaluation's images, in this order."""


class LabelledImages(Protocol):
    """Images with labels, read one at a time by the workers of a loader."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes; a label is an index of it."""
        ...

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """N names of images, such as paths."""
        ...

    def read(self, index: int) -> Image.Image:
        """The image, RGB.

        Raises:
            OSError: unreadable or truncated, or not decoded; the message is the reason.
        """
        ...


@dataclass(frozen=True)
class FolderImages:
    """Image files in folders by class, as torchvision's ``ImageFolder``: see LabelledImages."""

    classes: Sequence[str]
    labels: Tensor
    names: Sequence[str]

    def read(self, index: int) -> Image.Image:
        """Decode a file."""
        return read_rgb(self.names[index])


@dataclass(frozen=True)
class StoredImages:
    """Decoded images of one size, in memory or mapped: see LabelledImages."""

    classes: Sequence[str]
    store: ImageStore

    @property
    def labels(self) -> Tensor:
        return self.store.pids

    @property
    def names(self) -> Sequence[str]:
        return self.store.paths

    def read(self, index: int) -> Image.Image:
        """The decoded image."""
        return Image.fromarray(self.store.images[index].numpy())


def split_folder(root: str | Path, split: str) -> Path:
    """Folder of a split, ``train`` or ``val``; the latter may be named ``test``.

    Raises:
        InputError: there is none.
    """
    names = ("train",) if split == "train" else VALIDATION
    for name in names:
        if (folder := Path(root, name)).is_dir():
            return folder
    raise InputError(
        f"data.root={root}: no folder {' or '.join(names)} in it: expected train/CLASS/*.jpg and "
        "val/CLASS/*.jpg"
    )


def class_names(folder: Path) -> list[str]:
    """Names of the folders of the classes, sorted.

    Raises:
        InputError: fewer than two, or the folder cannot be read.
    """
    try:
        found = sorted(
            entry.name
            for entry in folder.iterdir()
            if entry.is_dir() and why_ignored(entry) != SYSTEM
        )
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error
    if len(found) < 2:
        what = f"only the class {found[0]}" if found else "no folder of a class"
        raise InputError(f"{folder}: {what}: a classification needs two classes or more")
    return found


def chosen_classes(names: Sequence[str], count: int, seed: int) -> list[str]:
    """A subset of the classes, drawn by a seed, in the order of ``names``; all if ``count`` is 0.

    Raises:
        InputError: there are not as many, or one is asked for.
    """
    if not count:
        return list(names)
    if not 2 <= count <= len(names):
        raise InputError(
            f"data.classes={count}: the data set has {len(names)}; use a number from 2 to that, "
            "or 0 for all"
        )
    drawn = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))[:count]
    return [names[i] for i in sorted(drawn.tolist())]


def list_folder(folder: Path, classes: Sequence[str]) -> FolderImages:
    """List the images of some classes, each class sorted by path.

    Raises:
        InputError: a class has no folder, or no images, or a folder cannot be read.
    """
    _check_present(folder, classes)
    labels: list[int] = []
    names: list[str] = []
    for label, name in enumerate(classes):
        found = sorted(_images_below(folder / name))
        if not found:
            raise InputError(f"{folder / name}: the class has no images: add some, or remove it")
        labels += [label] * len(found)
        names += found
    return FolderImages(list(classes), torch.tensor(labels, dtype=torch.int64), names)


def _images_below(folder: Path) -> Iterator[str]:
    """Images in a folder and those below, without hidden ones and the thumbnails of systems.

    Linked folders are read, unless a link leads into a folder that is read anyway, or to one above
    it: it would give its images again, or never end.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error

    def is_new(path: Path) -> bool:
        if not path.is_symlink():
            return True
        target = path.resolve()
        if any(target.is_relative_to(read) or read.is_relative_to(target) for read in places):
            return False
        places.append(target)
        return True

    suffixes, places = tuple(IMAGE_SUFFIXES), [folder.parent.resolve(), folder.resolve()]
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        below = [(name, Path(place, name)) for name in folders]
        folders[:] = [name for name, path in below if why_ignored(path) != SYSTEM and is_new(path)]
        for name in names:
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield os.path.join(place, name)


def check_same_classes(folder: Path, trained: Collection[str], found: Collection[str]) -> None:
    """Check that the folder of the evaluation has the classes of the training and no others.

    Raises:
        InputError: it has not; the message names the first difference.
    """
    _check_present(folder, [name for name in trained if name not in found])
    unknown = sorted(set(found) - set(trained))
    if unknown:
        raise InputError(
            f"{folder / unknown[0]}: the training images have no class {unknown[0]!r}: rename or "
            "remove it"
        )


def _check_present(folder: Path, classes: Sequence[str]) -> None:
    missing = [name for name in classes if not (folder / name).is_dir()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder}: no folder of the class {missing[0]!r}{more}: add it")


def read_label_map(path: str, classes: int | None = None) -> list[str]:
    """Read names of classes, one a line, in the order of the outputs.

    Args:
        path: a text file.
        classes: number of outputs of the weights, if known.

    Raises:
        InputError: the file is missing, has a name twice, or does not fit the weights.
    """
    try:
        names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"data.label_map={path} cannot be read: {error}") from error
    repeated = sorted({name for name in names if names.count(name) > 1}) if names else []
    if repeated:
        raise InputError(f"data.label_map={path}: {repeated[0]!r} stands there twice")
    if len(names) < 2 or classes not in (None, len(names)):
        outputs = f"the weights have {classes} outputs" if classes else "two or more are needed"
        raise InputError(f"data.label_map={path} has {len(names)} names: {outputs}")
    return names
