"""CUHK03 (Li et al., CVPR 2014): 1,467 identities, five camera pairs, detected or labeled boxes.

The new protocol (Zhong et al., CVPR 2017) has one split of 767 training and 700 test identities.
The classic protocol has 20 test sets of 100 identities. An image is named ``1_001_2_06.png``:
camera pair 1, person 1 of that pair, view 2, image 6.
"""

import json
import re
from collections.abc import Collection
from pathlib import Path

from scipy.io import loadmat

from reid_dcs.data.datasets.cuhk03_raw import RAW_FILES, check_mat, extract_images, read_test_sets
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import SPLITS, Counts, Item, Listing
from reid_dcs.data.datasets.market_layout import list_market_layout, required_folders
from reid_dcs.data.datasets.names import Ignored, images_among
from reid_dcs.data.datasets.places import locate
from reid_dcs.data.generated import generating
from reid_dcs.errors import InputError
from reid_dcs.files import read_text

OFFICIAL = {  # the two views of a person are the two cameras
    "detected": {
        "train": Counts(7_365, 767, 2),
        "query": Counts(1_400, 700, 2),
        "gallery": Counts(5_332, 700, 2),
    },
    "labeled": {
        "train": Counts(7_368, 767, 2),
        "query": Counts(1_400, 700, 2),
        "gallery": Counts(5_328, 700, 2),
    },
}
IMAGES = {"detected": 14_097, "labeled": 14_096}
IDENTITIES, CLASSIC_TEST_IDENTITIES, CLASSIC_SPLITS = 1_467, 100, 20
_OBTAIN = (
    "obtain cuhk-03.mat from www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html and the new "
    "protocol's .mat files from github.com/zhunzhong07/person-re-ranking"
)
_NAME = re.compile(r"(?P<pair>[1-5])_(?P<person>\d{3})_(?P<view>[12])_\d{2}\.png", re.ASCII)


class CUHK03(ListedDataset):
    """CUHK03, by default with the new protocol and detected boxes. Never downloaded.

    Images are read from ``images_detected/`` or ``images_labeled/``, and first extracted from
    ``cuhk-03.mat`` if that folder does not exist. For the new protocol, ``detected/`` and
    ``labeled/`` in Market-1501's layout, as CUHK03-NP is distributed, are read too.

    Args:
        root: ``cuhk03`` itself, or a folder that contains it.
        split_id: number of the classic split, from 0 to 19; the new protocol has only one.
        cuhk03_labeled: use manually labeled boxes instead of detected ones.
        cuhk03_classic_split: use the classic protocol: 100 test identities, all others for
            training; all test images are both queries and gallery.
        kwargs: see :class:`ListedDataset`.
    """

    title = "CUHK03"
    terms = "for research only, not to be distributed"
    example = "1_001_2_06.png"

    @classmethod
    def list_files(
        cls,
        root: Path,
        required: Collection[str] = SPLITS,
        *,
        split_id: int = 0,
        cuhk03_labeled: bool = False,
        cuhk03_classic_split: bool = False,
    ) -> Listing:
        kind = "labeled" if cuhk03_labeled else "detected"
        folder = _find_folder(root, kind)
        if cuhk03_classic_split:
            test_set = _test_set(folder, kind, split_id)
            return _classic_listing(_images(folder, kind), test_set, IMAGES[kind])
        if split_id:
            raise InputError(
                f"data.options.split_id={split_id} is a split of CUHK03's classic protocol: add "
                "data.options.cuhk03_classic_split=true"
            )
        if all((folder / kind / name).is_dir() for name in required_folders(required)):
            return list_market_layout(folder / kind, required, OFFICIAL[kind], suffix=".png")
        protocol = f"cuhk03_new_protocol_config_{kind}.mat"
        locate(cls.title, folder, (folder.name,), (protocol, "."), _OBTAIN)
        return _new_listing(_images(folder, kind), folder / protocol, OFFICIAL[kind])


def _find_folder(root: Path, kind: str) -> Path:
    """The folder of the data set: the first that contains images of this kind in any form."""
    names = ("cuhk03", "CUHK03", "cuhk03-np", "CUHK03-NP")
    sources = (f"images_{kind}/", f"{kind}/", *RAW_FILES)
    for folder in (root, *(root / name for name in names)):
        if any((folder / source).exists() for source in sources):
            return folder
    return locate("CUHK03", root, names, sources, _OBTAIN)  # raises: nothing was found


def _images(folder: Path, kind: str) -> Path:
    """The folder of the images of one kind, extracted from the raw file if necessary."""
    images = folder / f"images_{kind}"
    if images.is_dir():
        return images
    raw = next((folder / name for name in RAW_FILES if (folder / name).is_file()), None)
    if raw is None:
        raise InputError(f"CUHK03 in {folder} lacks images_{kind}/ and {RAW_FILES[0]}; {_OBTAIN}")
    with generating(images):
        if not images.is_dir():  # no other process has extracted them meanwhile
            extract_images(raw, kind, images)
    return images


def _new_listing(images: Path, protocol: Path, official: dict[str, Counts]) -> Listing:
    """List the new protocol; its file gives names, identities and 1-based indices of the splits."""
    try:
        check_mat(protocol)
        content = loadmat(protocol)
        names = [str(name[0]) for name in content["filelist"].flatten()]
        pids = content["labels"].flatten().tolist()
        index = {
            split: (content[f"{split}_idx"].flatten().astype(int) - 1).tolist()
            for split in ("train", "query", "gallery")
        }
        views = [int(name.split("_")[2]) for name in names]
        train, query, gallery = (
            [(str(images / names[i]), pids[i], views[i] - 1) for i in indices]
            for indices in index.values()
        )
    except Exception as error:  # loadmat raises many types of errors on damaged files
        reason = " ".join(str(error).split())
        raise InputError(
            f"{protocol} is not a split of CUHK03's new protocol: {reason}; {_OBTAIN}"
        ) from error
    existing = {path.name for path in images.iterdir()}
    missing = [str(images / names[i]) for i in sum(index.values(), []) if names[i] not in existing]
    return Listing(train, query, gallery, missing=missing, official=official)


def _classic_listing(images: Path, test_set: set[tuple[int, int]], total: int) -> Listing:
    """List the classic protocol: all people train except the (pair, person) of the test set.

    Args:
        images: folder of the images.
        test_set: the test identities.
        total: official number of images.
    """
    train: list[Item] = []
    test: list[Item] = []
    misnamed, ignored = [], Ignored(list)
    for path in images_among(images.iterdir(), ignored):
        name = _NAME.fullmatch(path.name)
        if name is None:
            misnamed.append(str(path))
            continue
        pair, person, view = (int(name[part]) for part in ("pair", "person", "view"))
        split = test if (pair, person) in test_set else train
        split.append((str(path), 1000 * pair + person, view - 1))
    test_counts = Counts(len(test), CLASSIC_TEST_IDENTITIES, 2)  # image numbers vary by test set
    train_counts = Counts(total - len(test), IDENTITIES - CLASSIC_TEST_IDENTITIES, 2)
    official = {"train": train_counts, "query": test_counts, "gallery": test_counts}
    return Listing(train, test, list(test), misnamed, ignored=ignored, official=official)


def _test_set(folder: Path, kind: str, split_id: int) -> set[tuple[int, int]]:
    """The (pair, person) of one classic test set, from the raw file or torchreid's split file."""
    raw = next((folder / name for name in RAW_FILES if (folder / name).is_file()), None)
    split_file = folder / f"splits_classic_{kind}.json"
    if raw is not None:
        test_sets = read_test_sets(raw)
    elif split_file.is_file():
        test_sets = _read_split_file(split_file)
    else:
        raise InputError(
            f"CUHK03 in {folder} lacks {RAW_FILES[0]} or {split_file.name}, which contain the "
            f"classic test sets; {_OBTAIN}"
        )
    if not 0 <= split_id < len(test_sets):
        raise InputError(
            f"data.options.split_id={split_id}: CUHK03 has splits 0 to {len(test_sets) - 1}"
        )
    return test_sets[split_id]


def _read_split_file(path: Path) -> list[set[tuple[int, int]]]:
    """Read the classic test sets from the query images in torchreid's JSON file."""
    try:
        splits = json.loads(read_text(path))
        return [{_pair_and_person(image) for image, *_ in split["query"]} for split in splits]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not contain CUHK03's classic splits: {error}; remove it and {_OBTAIN}"
        ) from error


def _pair_and_person(image: str) -> tuple[int, int]:
    name = _NAME.search(image)
    if name is None:
        raise ValueError(f"{image} is not named as in {CUHK03.example}")
    return int(name["pair"]), int(name["person"])
