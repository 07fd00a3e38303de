"""A set of the user's own: three folders of images named as in Market-1501, or three CSV files."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import Item, Listing
from reid_dcs.data.datasets.market_layout import IMAGE_SUFFIXES, SPLITS
from reid_dcs.errors import InputError

_NAME = re.compile(r"(?P<identity>-?\d+)(?:_c(?P<camera>\d+))?")
_COLUMNS = {"path", "identity", "camera"}


class Row(NamedTuple):
    """One image as the user describes it; an empty camera is an unknown one."""

    path: Path
    identity: str
    camera: str


class Folder(ListedDataset):
    """Any set, laid out in one of two ways under ``root``.

    ``train.csv``, ``query.csv`` and ``gallery.csv`` with the columns ``path`` (from the CSV's
    folder), ``identity`` and, if known, ``camera``: any words. Or the folders ``train/``
    (or ``bounding_box_train/``), ``query/`` and ``gallery/`` (or ``bounding_box_test/``) of images
    named ``IDENTITY_cCAMERA...`` or, if no camera is known, ``IDENTITY_...``; identity -1 is junk.

    Cameras are known for all images or for none. Where they are not, no image is left out of a
    ranking for its camera, and evaluation says so.

    Args:
        root: the folder.
        kwargs: torchreid's; see :class:`ListedDataset`.
    """

    title = "folder"
    terms = "yours to know: photographs of people are theirs too"
    example = "0002_c1.jpg"

    @classmethod
    def list_files(cls, root: Path) -> Listing:
        tables = {split: root / f"{split}.csv" for split in SPLITS}
        folders = {split: _folder(root, split) for split in SPLITS}
        misnamed: list[str] = []
        if any(table.is_file() for table in tables.values()):
            _refuse_absent(root, list(tables.values()))
            rows = {split: list(_read_csv(table)) for split, table in tables.items()}
        else:
            _refuse_absent(root, list(folders.values()))
            rows = {split: list(_read_names(f, misnamed)) for split, f in folders.items()}
        missing = [str(row.path) for own in rows.values() for row in own if not row.path.is_file()]
        known = _cameras_known(root, rows)
        if not known:
            _refuse_self_matches(rows)
        return Listing(
            **_numbered(rows, known), misnamed=misnamed, missing=missing, cameras_known=known
        )


def _folder(root: Path, split: str) -> Path:
    market = root / SPLITS[split]
    return market if market.is_dir() else root / split


def _refuse_absent(root: Path, needed: list[Path]) -> None:
    absent = [path.name for path in needed if not path.exists()]
    if absent:
        raise InputError(
            f"{root.resolve()} lacks {', '.join(absent)}: a data set of your own is train/, "
            "query/ and gallery/, or train.csv, query.csv and gallery.csv (datasets/README.md)"
        )


def _read_csv(table: Path) -> Iterator[Row]:
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = set(reader.fieldnames or ())
            if not {"path", "identity"} <= columns <= _COLUMNS:
                raise InputError(
                    f"{table}: the first line must name the columns path, identity and, if "
                    f"known, camera, not {', '.join(reader.fieldnames or ['nothing'])}"
                )
            for row in reader:
                path, identity = (row["path"] or "").strip(), (row["identity"] or "").strip()
                if not path or not identity or None in row:
                    raise InputError(f"{table}, line {reader.line_num}: not path,identity[,camera]")
                yield Row(table.parent / path, identity, (row.get("camera") or "").strip())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {table}: {error}") from error


def _read_names(folder: Path, misnamed: list[str]) -> Iterator[Row]:
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES):
        name = _NAME.match(path.name)
        if name is None:
            misnamed.append(str(path))
        elif int(name["identity"]) != -1:
            yield Row(path, str(int(name["identity"])), name["camera"] or "")


def _cameras_known(root: Path, rows: dict[str, list[Row]]) -> bool:
    """All or nothing."""
    everyone = [row for own in rows.values() for row in own]
    without = [row.path for row in everyone if not row.camera]
    if 0 < len(without) < len(everyone):
        raise InputError(
            f"{len(without):,} of {len(everyone):,} images in {root} have no camera, such as "
            f"{without[0]}: name the camera of all or of none"
        )
    return not without


def _refuse_self_matches(rows: dict[str, list[Row]]) -> None:
    both = {row.path for row in rows["query"]} & {row.path for row in rows["gallery"]}
    if both:
        raise InputError(
            f"{len(both):,} image(s) are in query and gallery, such as {min(both)}: without "
            "cameras each would find itself; keep them in one of the two"
        )


def _numbered(rows: dict[str, list[Row]], cameras_known: bool) -> dict[str, list[Item]]:
    """Identities and cameras as numbers, the same over all splits."""
    everyone = [row for own in rows.values() for row in own]
    pids = _numbers({row.identity for row in everyone})
    cameras = {word: i for i, word in enumerate(sorted({r.camera for r in everyone}, key=_natural))}
    apart = {"train": 0, "query": 0, "gallery": 1}
    return {
        split: [
            (str(r.path), pids[r.identity], cameras[r.camera] if cameras_known else apart[split])
            for r in own
        ]
        for split, own in rows.items()
    }


def _numbers(words: set[str]) -> dict[str, int]:
    """Words that are numbers keep them; others are counted."""
    if all(word.isascii() and word.isdigit() for word in words):
        return {word: int(word) for word in words}
    return {word: i for i, word in enumerate(sorted(words))}


def _natural(word: str) -> tuple[int, str]:
    """Numbers by value, before words."""
    return (int(word) if word.isascii() and word.isdigit() else 2**63, word)
