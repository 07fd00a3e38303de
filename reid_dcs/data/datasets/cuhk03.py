"""CUHK03 (Li et al., CVPR 2014): 1,467 identities, five pairs of cameras, two kinds of boxes.

The new protocol (Zhong et al., CVPR 2017) has one split of 767 and 700 identities; the classic one
20 test sets of 100. An image's name is ``1_001_2_06.png``: camera pair 1, person 1 of the pair,
view 2, image 6.
"""

import json
import re
from pathlib import Path

from scipy.io import loadmat

from reid_dcs.data.datasets.cuhk03_raw import RAW_FILES, extract_images, read_test_sets
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import Counts, Item, Listing
from reid_dcs.data.datasets.market_layout import FOLDERS, list_market_layout
from reid_dcs.data.datasets.places import locate
from reid_dcs.errors import InputError

OFFICIAL = {  # a person's two views are the two cameras
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
_NAME = re.compile(r"(?P<pair>[1-5])_(?P<person>\d{3})_(?P<view>[12])_\d{2}\.png")


class CUHK03(ListedDataset):
    """CUHK03, by default the new protocol on detected boxes. Never downloaded.

    Images come from ``images_detected/`` or ``images_labeled/``; where those are not there yet
    they are extracted from ``cuhk-03.mat``. ``detected/`` and ``labeled/`` in Market-1501's
    layout, as CUHK03-NP is handed around, serve the new protocol too.

    Args:
        root: ``cuhk03`` itself, or the folder that holds it.
        split_id: which of the 20 classic splits, from 0.
        cuhk03_labeled: boxes drawn by hand instead of detected ones.
        cuhk03_classic_split: the classic protocol: 100 test identities, all others train; every
            test image is a query and in the gallery.
        kwargs: torchreid's; see :class:`ListedDataset`.
    """

    title = "CUHK03"
    terms = "for research only, not to be distributed"
    example = "1_001_2_06.png"

    @classmethod
    def list_files(
        cls,
        root: Path,
        *,
        split_id: int = 0,
        cuhk03_labeled: bool = False,
        cuhk03_classic_split: bool = False,
    ) -> Listing:
        kind = "labeled" if cuhk03_labeled else "detected"
        folder = _home(root, kind)
        if cuhk03_classic_split:
            test_set = _test_set(folder, kind, split_id)
            return _classic(_images(folder, kind), test_set, IMAGES[kind])
        if all((folder / kind / name).is_dir() for name in FOLDERS):
            return list_market_layout(folder / kind, OFFICIAL[kind], suffix=".png")
        protocol = f"cuhk03_new_protocol_config_{kind}.mat"
        locate(cls.title, folder, (folder.name,), (protocol, "."), _OBTAIN)
        return _new(_images(folder, kind), folder / protocol, OFFICIAL[kind])


def _home(root: Path, kind: str) -> Path:
    names = ("cuhk03", "CUHK03", "cuhk03-np", "CUHK03-NP")
    holders = (f"images_{kind}", kind, *RAW_FILES)
    for place in (root, *(root / name for name in names)):
        if any((place / holder).exists() for holder in holders):
            return place
    parts = (f"images_{kind}/", f"{kind}/", *RAW_FILES)
    return locate("CUHK03", root, names, parts, _OBTAIN)  # which says what is not there


def _images(folder: Path, kind: str) -> Path:
    """The folder of all images of a kind; extracted first where only the raw file is there."""
    images = folder / f"images_{kind}"
    if images.is_dir():
        return images
    raw = next((folder / name for name in RAW_FILES if (folder / name).is_file()), None)
    if raw is None:
        raise InputError(f"CUHK03 in {folder} lacks images_{kind}/ and {RAW_FILES[0]}; {_OBTAIN}")
    extract_images(raw, kind, images)
    return images


def _new(images: Path, protocol: Path, official: dict[str, Counts]) -> Listing:
    """The protocol's file numbers all images from 1 and says which are whose."""
    try:
        content = loadmat(protocol)
        names = [str(name[0]) for name in content["filelist"].flatten()]
        pids = content["labels"].flatten().tolist()
        index = {
            split: (content[f"{split}_idx"].flatten().astype(int) - 1).tolist()
            for split in ("train", "query", "gallery")
        }
        views = [int(name.split("_")[2]) for name in names]
        splits = {
            split: [(str(images / names[i]), pids[i], views[i] - 1) for i in chosen]
            for split, chosen in index.items()
        }
    except Exception as error:  # a damaged MATLAB file fails in as many ways as it has parts
        raise InputError(f"{protocol} is no split of CUHK03's new protocol: {error}") from error
    there = {path.name for path in images.iterdir()}
    missing = [str(images / names[i]) for i in sum(index.values(), []) if names[i] not in there]
    return Listing(**splits, missing=missing, official=official)


def _classic(images: Path, test_set: set[tuple[int, int]], total: int) -> Listing:
    """Everyone in ``images`` trains but the test set's (pair, person)."""
    train: list[Item] = []
    test: list[Item] = []
    misnamed = []
    for path in sorted(images.glob("*.png")):
        name = _NAME.fullmatch(path.name)
        if name is None:
            misnamed.append(str(path))
            continue
        pair, person, view = (int(name[part]) for part in ("pair", "person", "view"))
        split = test if (pair, person) in test_set else train
        split.append((str(path), 1000 * pair + person, view - 1))
    tested = Counts(len(test), CLASSIC_TEST_IDENTITIES, 2)  # each set has images of its own number
    trained = Counts(total - len(test), IDENTITIES - CLASSIC_TEST_IDENTITIES, 2)
    official = {"train": trained, "query": tested, "gallery": tested}
    return Listing(train, test, list(test), misnamed, official=official)


def _test_set(folder: Path, kind: str, split_id: int) -> set[tuple[int, int]]:
    """(pair, person) of one classic test set: of the raw file, or of torchreid's record of it."""
    raw = next((folder / name for name in RAW_FILES if (folder / name).is_file()), None)
    record = folder / f"splits_classic_{kind}.json"
    if raw is not None:
        test_sets = read_test_sets(raw)
    elif record.is_file():
        test_sets = _read_record(record)
    else:
        raise InputError(
            f"CUHK03 in {folder} lacks {RAW_FILES[0]} or {record.name}, which hold the classic "
            f"test sets; {_OBTAIN}"
        )
    if not 0 <= split_id < len(test_sets):
        raise InputError(f"split_id={split_id}: CUHK03 has the splits 0 to {len(test_sets) - 1}")
    return test_sets[split_id]


def _read_record(record: Path) -> list[set[tuple[int, int]]]:
    try:
        splits = json.loads(record.read_text())
        names = [[_NAME.search(path) for path, *_ in split["query"]] for split in splits]
        return [{(int(n["pair"]), int(n["person"])) for n in own} for own in names]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record} does not hold CUHK03's classic splits: {error}") from error
