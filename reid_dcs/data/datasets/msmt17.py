"""MSMT17 (Wei et al., CVPR 2018): 4,101 identities, 15 cameras, four list files.

A line of a list file is a path under the split's folder and an identity. The third field of the
file name is the camera, here 12: ``0000/0000_045_12_0303morning_0006_2.jpg 0``.
"""

import os
import re
from collections.abc import Collection
from pathlib import Path

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import SPLITS, Counts, Item, Listing
from reid_dcs.data.datasets.places import locate
from reid_dcs.errors import InputError
from reid_dcs.files import read_text

OFFICIAL = {
    "train": Counts(32_621, 1_041, 15),  # list_train (30,248) and list_val (2,373)
    "query": Counts(11_659, 3_060, 15),
    "gallery": Counts(82_161, 3_060, 15),
}
SPLIT_LISTS = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}
LISTS = tuple(name for names in SPLIT_LISTS.values() for name in names)
TEST_IDENTITIES = 3_060  # training identities are other people: they are numbered after these
_RELEASES = ("MSMT17_V1", "MSMT17_V2", "MSMT17")
_LINE = re.compile(
    r"(?P<path>\S*?[^/_\s]+_[^/_\s]+_(?P<camera>\d{1,9})_\S+) (?P<pid>\d{1,18})", re.ASCII
)


class MSMT17(ListedDataset):
    """MSMT17 in its official split. Never downloaded: see datasets/README.md.

    The training split is ``list_train`` plus ``list_val``, 32,621 images, as its authors and most
    papers use it; torchreid's own loader trains on ``list_train`` only.

    Args:
        root: ``MSMT17_V1``, ``MSMT17_V2`` (blurred faces) or ``MSMT17`` itself, or a folder that
            contains one of them (directly or, as in torchreid, in ``msmt17/``).
        kwargs: see :class:`ListedDataset`.
    """

    title = "MSMT17"
    terms = "for research only, not to be distributed"
    example = "0000/0000_045_12_0303morning_0006_2.jpg 0"

    @classmethod
    def list_files(cls, root: Path, required: Collection[str] = SPLITS) -> Listing:
        folder, train, test = _release(cls.title, root, required)
        faults: dict[str, list[str]] = {"misnamed": [], "missing": []}
        items: dict[str, list[Item]] = {}
        for split, names in SPLIT_LISTS.items():
            images, first_pid = (train, TEST_IDENTITIES) if split == "train" else (test, 0)
            given = split in required or (images.is_dir() and (folder / names[0]).is_file())
            items[split] = [
                item
                for name in names * given
                for item in read_list(folder / name, images, faults, first_pid)
            ]
        return Listing(
            items["train"],
            items["query"],
            items["gallery"],
            official=OFFICIAL,
            misnamed=faults["misnamed"],
            missing=faults["missing"],
        )


def read_list(
    path: Path, folder: Path, faults: dict[str, list[str]], first_pid: int = 0
) -> list[Item]:
    """Read a list file.

    Args:
        path: list file.
        folder: folder of the images it names.
        faults: lists ``misnamed`` and ``missing``, to which faulty entries are appended.
        first_pid: number added to the identities.

    Raises:
        InputError: the list file cannot be read.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    items, existing = [], _ExistingFiles(folder)
    for line in filter(None, lines):
        parts = _LINE.fullmatch(line.strip())
        if parts is None or int(parts["camera"]) < 1:
            faults["misnamed"].append(f"{path}: {line!r}")
            continue
        image = str(folder / parts["path"])
        if parts["path"] not in existing:
            faults["missing"].append(image)
        items.append((image, first_pid + int(parts["pid"]), int(parts["camera"]) - 1))
    return items


def _release(title: str, root: Path, required: Collection[str]) -> tuple[Path, Path, Path]:
    """Find the release under ``root``: its folder, its training images, its test images."""
    lists = [name for split in SPLIT_LISTS if split in required for name in SPLIT_LISTS[split]]
    names = (*_RELEASES, *(f"msmt17/{name}" for name in _RELEASES), "msmt17")
    obtain = "ask its authors for it (www.pkuvmc.com/dataset.html)"
    present = [name for name in names if (root / name / lists[0]).is_file()]
    if len(present) > 1 and not (root / lists[0]).is_file():
        raise InputError(f"{root} contains {' and '.join(present)}: pass one of them as --root")
    folder = locate(title, root, names, lists, obtain)
    blurred = any((folder / name).is_dir() for name in ("mask_train_v2", "mask_test_v2"))
    train, test = ("mask_train_v2", "mask_test_v2") if blurred else ("train", "test")
    folders = [f"{train}/"] * ("train" in required)
    folders += [f"{test}/"] * bool({"query", "gallery"} & {*required})
    locate(title, folder, (folder.name,), (*lists, *folders), obtain)
    return folder, folder / train, folder / test


class _ExistingFiles:
    """Set of the existing files under a root: lists each folder once instead of 126,441 stats."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names_by_folder: dict[str, set[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self.names_by_folder:
            directory = self.root / folder
            names = os.listdir(directory) if directory.is_dir() else ()
            self.names_by_folder[folder] = set(names)
        return name in self.names_by_folder[folder]
