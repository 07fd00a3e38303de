"""Market-1501's file layout, which other data sets share: three folders, labels in file names.

``bounding_box_train``, ``query`` and ``bounding_box_test`` contain files such as
``0002_c1s1_000451_03.jpg``: identity 2, camera 1. Identity -1 is junk, identity 0 a distractor.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from reid_dcs.data.datasets.listing import Counts, Item, Listing
from reid_dcs.errors import InputError

SPLITS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
FOLDERS = tuple(f"{name}/" for name in SPLITS.values())
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_NAME = re.compile(r"(?P<pid>-?\d+)_c(?P<camera>[1-9]\d*)")


def list_market_layout(
    folder: Path, official: Mapping[str, Counts] | None = None, suffix: str = ".jpg"
) -> Listing:
    """List the three split folders.

    Args:
        folder: folder that contains them.
        official: counts of the official split, if there is one.
        suffix: suffix of correctly named images.

    Raises:
        InputError: a split folder is missing or contains no images.
    """
    misnamed: list[str] = []
    train, query, gallery = (
        list_named_images(folder / name, misnamed, suffix) for name in SPLITS.values()
    )
    return Listing(train, query, gallery, misnamed, official=official)


def list_named_images(folder: Path, misnamed: list[str], suffix: str = ".jpg") -> list[Item]:
    """List the images of one folder, without junk.

    Files that are not images, such as Thumbs.db, are skipped. Images with another suffix are
    misnamed.

    Args:
        folder: folder of images.
        misnamed: list to which misnamed files are appended.
        suffix: suffix of correctly named images.

    Raises:
        InputError: the folder is missing or contains no images.
    """
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error
    items = []
    for path in paths:
        name = _NAME.match(path.name)
        if name is None or path.suffix != suffix:
            misnamed.append(str(path))
        elif int(name["pid"]) != -1:
            items.append((str(path), int(name["pid"]), int(name["camera"]) - 1))
    if not paths:
        raise InputError(f"no images in {folder}: expected files like 0002_c1s1_000451_03{suffix}")
    return items
