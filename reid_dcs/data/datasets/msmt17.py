"""MSMT17 (Wei et al., CVPR 2018): 4,101 identities, 15 cameras, four lists of its images.

A line of a list is a path under the split's folder and an identity; the third word of a file's
name is its camera: ``0000/0000_045_12_0303morning_0006_2.jpg 0``.
"""

import os
import re
from pathlib import Path

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import Counts, Item, Listing
from reid_dcs.data.datasets.places import locate
from reid_dcs.errors import InputError

OFFICIAL = {
    "train": Counts(32_621, 1_041, 15),  # list_train (30,248) and list_val (2,373)
    "query": Counts(11_659, 3_060, 15),
    "gallery": Counts(82_161, 3_060, 15),
}
LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
TEST_IDENTITIES = 3_060  # training people are others: they are numbered after these
_RELEASES = ("MSMT17_V1", "MSMT17_V2", "MSMT17")
_LINE = re.compile(r"(?P<path>\S*?[^/_\s]+_[^/_\s]+_(?P<camera>\d+)_\S+) (?P<pid>\d+)")


class MSMT17(ListedDataset):
    """MSMT17 in its official split. Never downloaded: see datasets/README.md.

    The training split is ``list_train`` and ``list_val`` together, 32,621 images, as its authors
    and most papers count it; torchreid's own loader trains on ``list_train`` alone.

    Args:
        root: ``MSMT17_V1``, ``MSMT17_V2`` (faces blurred) or ``MSMT17`` itself, or a folder that
            holds one of them (or holds it as torchreid does, in ``msmt17/``).
        kwargs: torchreid's; see :class:`ListedDataset`.
    """

    title = "MSMT17"
    terms = "for research only, not to be distributed"
    example = "0000/0000_045_12_0303morning_0006_2.jpg 0"

    @classmethod
    def list_files(cls, root: Path) -> Listing:
        folder, train, test = _release(cls.title, root)
        faults: dict[str, list[str]] = {"misnamed": [], "missing": []}
        first = TEST_IDENTITIES
        return Listing(
            train=read_list(folder / "list_train.txt", train, faults, first)
            + read_list(folder / "list_val.txt", train, faults, first),
            query=read_list(folder / "list_query.txt", test, faults),
            gallery=read_list(folder / "list_gallery.txt", test, faults),
            official=OFFICIAL,
            **faults,
        )


def read_list(
    path: Path, folder: Path, faults: dict[str, list[str]], first_pid: int = 0
) -> list[Item]:
    """The images that a list names, under ``folder``; adds to the ``misnamed`` and ``missing``.

    Raises:
        InputError: the list cannot be read.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    items, there = [], _Presence(folder)
    for line in filter(None, lines):
        parts = _LINE.fullmatch(line.strip())
        if parts is None or int(parts["camera"]) < 1:
            faults["misnamed"].append(f"{path}: {line!r}")
            continue
        if parts["path"] not in there:
            faults["missing"].append(str(folder / parts["path"]))
        image = str(folder / parts["path"])
        items.append((image, first_pid + int(parts["pid"]), int(parts["camera"]) - 1))
    return items


def _release(title: str, root: Path) -> tuple[Path, Path, Path]:
    """The release's folder, its training images, its test images."""
    names = (*_RELEASES, *(f"msmt17/{name}" for name in _RELEASES), "msmt17")
    obtain = "ask its authors for it (www.pkuvmc.com/dataset.html)"
    present = [name for name in names if (root / name / LISTS[0]).is_file()]
    if len(present) > 1 and not (root / LISTS[0]).is_file():
        raise InputError(f"{root} holds {' and '.join(present)}: pass one of them as --root")
    folder = locate(title, root, names, LISTS, obtain)
    train = "mask_train_v2" if (folder / "mask_train_v2").is_dir() else "train"
    test = "mask_test_v2" if train == "mask_train_v2" else "test"
    locate(title, folder, (folder.name,), (*LISTS, f"{train}/", f"{test}/"), obtain)
    return folder, folder / train, folder / test


class _Presence:
    """Whether files are there: one look at each folder instead of one at each of 126,441 files."""

    def __init__(self, root: Path) -> None:
        self.root, self.names = root, {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self.names:
            place = self.root / folder
            self.names[folder] = set(os.listdir(place)) if place.is_dir() else set()
        return name in self.names[folder]
