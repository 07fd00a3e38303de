"""Market-1501's file layout, which other data sets share: three folders, labels in file names.

``bounding_box_train``, ``query`` and ``bounding_box_test`` contain files such as
``0002_c1s1_000451_03.jpg``: identity 2, camera 1. Identity -1 is junk, identity 0 a distractor.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from reid_dcs.data.datasets.listing import SPLITS, Counts, Item, Listing
from reid_dcs.data.datasets.names import JUNK, Ignored, images_among
from reid_dcs.errors import InputError

FOLDERS = {"train": "bounding_box_train/", "query": "query/", "gallery": "bounding_box_test/"}
_NAME = re.compile(r"(?P<pid>-1|\d{1,18})_c(?P<camera>0*[1-9]\d{0,8})(?!\d)", re.ASCII)


def required_folders(required: Collection[str]) -> list[str]:
    """The folders of the splits that a command needs."""
    return [FOLDERS[split] for split in SPLITS if split in required]


def list_market_layout(
    folder: Path,
    required: Collection[str],
    official: Mapping[str, Counts] | None = None,
    suffix: str = ".jpg",
) -> Listing:
    """List the three split folders.

    Args:
        folder: folder that contains them.
        required: splits whose folders must exist; others may be missing.
        official: counts of the official split, if there is one.
        suffix: suffix of correctly named images.

    Raises:
        InputError: a split folder is missing or contains no images.
    """
    misnamed: list[str] = []
    ignored = Ignored(list)
    train, query, gallery = (
        list_named_images(folder / name, misnamed, ignored, suffix)
        if split in required or (folder / name).is_dir()
        else []
        for split, name in FOLDERS.items()
    )
    return Listing(train, query, gallery, misnamed, ignored=ignored, official=official)


def list_named_images(
    folder: Path, misnamed: list[str], ignored: Ignored, suffix: str = ".jpg"
) -> list[Item]:
    """List the images of one folder, without junk. Images with another suffix are misnamed.

    Args:
        folder: folder of images.
        misnamed: list to which misnamed files are appended.
        ignored: lists to which junk and files that are no images are appended.
        suffix: suffix of correctly named images.

    Raises:
        InputError: the folder is missing or contains no images.
    """
    try:
        paths = images_among(folder.iterdir(), ignored)
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error
    items = []
    for path in paths:
        name = _NAME.match(path.name)
        if name is None or path.suffix != suffix:
            misnamed.append(str(path))
        elif int(name["pid"]) == -1:
            ignored[JUNK].append(str(path))
        else:
            items.append((str(path), int(name["pid"]), int(name["camera"]) - 1))
    if not paths:
        raise InputError(f"no images in {folder}: expected files like 0002_c1s1_000451_03{suffix}")
    return items
