"""Market-1501's layout on disk, which the field copies: three folders, the rest in file names.

``bounding_box_train``, ``query`` and ``bounding_box_test`` hold files such as
``0002_c1s1_000451_03.jpg``: identity 2, camera 1. Identity -1 is junk, 0 a distractor.
"""

import re
from pathlib import Path

from torchreid import data as torchreid_data

from reid_dcs.errors import InputError

Item = tuple[str, int, int]
"""Path, identity, camera (from 0)."""

SPLITS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_NAME = re.compile(r"(?P<pid>-?\d+)_c(?P<camera>\d+)")


class MarketLayout(torchreid_data.ImageDataset):
    """A torchreid data set read from a folder in Market-1501's layout.

    Training identities are relabelled from 0 in the order of their numbers; junk (-1) is dropped.

    Args:
        folder: holds the three split folders.
        kwargs: torchreid's (``transform``, ``mode``, ``combineall``, ...).

    Raises:
        InputError: a split folder is missing, empty or holds a misnamed file.
    """

    _junk_pids = [0, -1]

    def __init__(self, folder: Path, **kwargs) -> None:
        splits = {split: read_split(folder / name) for split, name in SPLITS.items()}
        pids = sorted({pid for _, pid, _ in splits["train"]})
        label = {pid: i for i, pid in enumerate(pids)}
        train = [(path, label[pid], camera) for path, pid, camera in splits["train"]]
        super().__init__(train, splits["query"], splits["gallery"], **kwargs)


def read_split(folder: Path) -> list[Item]:
    """The images of one split, junk left out, sorted by name.

    Raises:
        InputError: see :class:`MarketLayout`.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: put the split's images there")
    paths = sorted(folder.glob("*.jpg"))  # .jpg.jpg too, which Market-1501 has
    names = {path: _NAME.match(path.name) for path in paths}
    misnamed = [path.name for path, name in names.items() if name is None]
    if misnamed:
        raise InputError(
            f"{len(misnamed)} misnamed file(s) in {folder}, such as {misnamed[0]}: "
            "names start with IDENTITY_cCAMERA, as in 0002_c1s1_000451_03.jpg"
        )
    items = [
        (str(path), int(name["pid"]), int(name["camera"]) - 1)
        for path, name in names.items()
        if int(name["pid"]) != -1
    ]
    if not items:
        raise InputError(f"no images in {folder}: expected files such as 0002_c1s1_000451_03.jpg")
    return items
