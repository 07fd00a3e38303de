"""Custom data set: three folders of images named as in Market-1501, or three CSV files."""

import csv
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import Item, Listing
from reid_dcs.data.datasets.market_layout import IMAGE_SUFFIXES, SPLITS
from reid_dcs.errors import InputError
from reid_dcs.files import read_text

_NAME = re.compile(r"(?P<identity>-?\d+)(?:_c(?P<camera>\d+))?")
_COLUMNS = {"path", "identity", "camera"}


class Row(NamedTuple):
    """One image of a split.

    Attributes:
        path: image file.
        identity: identity label.
        camera: camera label; empty if unknown.
    """

    path: Path
    identity: str
    camera: str


class Folder(ListedDataset):
    """Custom data set in one of two layouts under ``root``.

    Tables: ``train.csv``, ``query.csv`` and ``gallery.csv`` with the columns ``path`` (relative to
    the CSV file), ``identity`` and optionally ``camera``. Identities and cameras are any strings.

    Folders: ``train/`` (or ``bounding_box_train/``), ``query/`` and ``gallery/`` (or
    ``bounding_box_test/``) with images named ``IDENTITY_cCAMERA...`` or, without cameras,
    ``IDENTITY_...``. Identity -1 is junk.

    Cameras must be given for all images or for none. Without cameras, rankings exclude no image
    of the query's camera, and evaluation prints a warning.

    Args:
        root: folder of the data set.
        kwargs: see :class:`ListedDataset`.
    """

    title = "folder"
    terms = "yours to check: the people shown have rights to their photographs"
    example = "0002_c1.jpg"

    @classmethod
    def list_files(cls, root: Path) -> Listing:
        tables = {split: root / f"{split}.csv" for split in SPLITS}
        folders = {split: _split_folder(root, split) for split in SPLITS}
        misnamed: list[str] = []
        if any(table.is_file() for table in tables.values()):
            _require(root, list(tables.values()))
            rows = {split: list(_read_csv(table)) for split, table in tables.items()}
        else:
            _require(root, list(folders.values()))
            rows = {split: list(_read_names(f, misnamed)) for split, f in folders.items()}
        all_rows = [row for split_rows in rows.values() for row in split_rows]
        cameras_known = _check_cameras(root, all_rows)
        if not cameras_known:
            _check_query_not_in_gallery(rows)
        items = _number_labels(rows, cameras_known)
        return Listing(
            items["train"],
            items["query"],
            items["gallery"],
            misnamed=misnamed,
            missing=[str(row.path) for row in all_rows if not row.path.is_file()],
            cameras_known=cameras_known,
        )


def _split_folder(root: Path, split: str) -> Path:
    market1501_name = root / SPLITS[split]
    return market1501_name if market1501_name.is_dir() else root / split


def _require(root: Path, paths: list[Path]) -> None:
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise InputError(
            f"{root.resolve()} lacks {', '.join(missing)}: a custom data set has train/, query/ "
            "and gallery/, or train.csv, query.csv and gallery.csv (datasets/README.md)"
        )


def _read_csv(table: Path) -> Iterator[Row]:
    """Yield the rows of a table; its header names the columns."""
    try:
        with StringIO(read_text(table, "utf-8-sig"), newline="") as file:
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
                    raise InputError(
                        f"{table}, line {reader.line_num}: expected path,identity[,camera]"
                    )
                yield Row(table.parent / path, identity, (row.get("camera") or "").strip())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {table}: {error}") from error


def _read_names(folder: Path, misnamed: list[str]) -> Iterator[Row]:
    """Yield the images of a folder, labeled by their names; append others to ``misnamed``."""
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES):
        name = _NAME.match(path.name)
        if name is None:
            misnamed.append(str(path))
        elif int(name["identity"]) != -1:
            yield Row(path, str(int(name["identity"])), name["camera"] or "")


def _check_cameras(root: Path, rows: list[Row]) -> bool:
    """True if all images have a camera, False if none has; otherwise an error."""
    without = [row.path for row in rows if not row.camera]
    if 0 < len(without) < len(rows):
        raise InputError(
            f"{len(without):,} of {len(rows):,} images in {root} have no camera, such as "
            f"{without[0]}: give the camera of all images or of none"
        )
    return not without


def _check_query_not_in_gallery(rows: dict[str, list[Row]]) -> None:
    both = {row.path for row in rows["query"]} & {row.path for row in rows["gallery"]}
    if both:
        raise InputError(
            f"{len(both):,} image(s) are in query and gallery, such as {min(both)}: without "
            "cameras a query would match itself; remove them from one of the two"
        )


def _number_labels(rows: dict[str, list[Row]], cameras_known: bool) -> dict[str, list[Item]]:
    """Replace identity and camera labels by numbers, consistently over the splits.

    Identities that are all numbers keep them. Unknown cameras are 0, in the gallery 1.
    """
    identities = {row.identity for split_rows in rows.values() for row in split_rows}
    if all(_is_number(identity) for identity in identities):
        pids = {identity: int(identity) for identity in identities}
    else:
        pids = {identity: pid for pid, identity in enumerate(sorted(identities))}
    cameras = {row.camera for split_rows in rows.values() for row in split_rows}
    camids = {camera: camid for camid, camera in enumerate(sorted(cameras, key=_natural_key))}

    def item(row: Row, split: str) -> Item:
        camid = camids[row.camera] if cameras_known else int(split == "gallery")
        return str(row.path), pids[row.identity], camid

    return {split: [item(row, split) for row in split_rows] for split, split_rows in rows.items()}


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit()


def _natural_key(label: str) -> tuple[int, str]:
    """Sort key: numbers by value, then other labels."""
    return (int(label) if _is_number(label) else 2**63, label)
