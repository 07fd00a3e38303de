"""Market-1501's layout on disk, which the field copies: three folders, the rest in file names.

``bounding_box_train``, ``query`` and ``bounding_box_test`` hold files such as
``0002_c1s1_000451_03.jpg``: identity 2, camera 1. Identity -1 is junk, 0 a distractor.
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
    """The three split folders of ``folder``.

    Raises:
        InputError: a split's folder is not there, or holds no image.
    """
    misnamed: list[str] = []
    splits = {
        split: list_named_images(folder / name, misnamed, suffix) for split, name in SPLITS.items()
    }
    return Listing(**splits, misnamed=misnamed, official=official)


def list_named_images(folder: Path, misnamed: list[str], suffix: str = ".jpg") -> list[Item]:
    """The images of one folder by name, junk left out; adds to ``misnamed``.

    A file of another kind, such as Thumbs.db, is no image; an image under another suffix is
    misnamed.

    Raises:
        InputError: no such folder, or no image in it.
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
        raise InputError(f"no images in {folder}: expected such as 0002_c1s1_000451_03{suffix}")
    return items
