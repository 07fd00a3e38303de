"""Custom data set: folders of images named by identity, a folder per identity, or CSV tables."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from reid_dcs.data.datasets.files_under import files_under, inside
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import SPLITS, Item, Listing
from reid_dcs.data.datasets.market_layout import FOLDERS
from reid_dcs.data.datasets.names import (
    JUNK,
    Ignored,
    images_among,
    is_system,
    read_camera,
    read_name,
)
from reid_dcs.data.datasets.tables import Row, alike_labels, is_file, read_table
from reid_dcs.errors import InputError


class Folder(ListedDataset):
    """Custom data set in one of three layouts under ``root``.

    Tables: ``train.csv``, ``query.csv`` and ``gallery.csv`` with the columns ``path`` (relative to
    the CSV file), ``identity`` and optionally ``camera``; see :mod:`reid_dcs.data.datasets.tables`.
    Identities and cameras are words.

    Folders: ``train/`` (or ``bounding_box_train/``), ``query/`` and ``gallery/`` (or
    ``bounding_box_test/``) with images named ``IDENTITY_cCAMERA...`` or, without cameras,
    ``IDENTITY_...``; see :func:`reid_dcs.data.datasets.names.read_name`. The numbers in names are
    numbers: ``0002_c1`` and ``2_c01`` are the same.

    A folder per identity in each of these: ``train/0002/anything.jpg``, with cameras as
    ``anything_c1.jpg`` or ``train/0002/c1/anything.jpg``. Its name is a number, or a word.

    Identity -1 is junk. Training needs ``train``, evaluation ``query`` and ``gallery``.

    Cameras must be given for all images or for none. Without cameras, rankings exclude no image
    of the query's camera, and evaluation prints a warning.

    Args:
        root: folder of the data set.
        kwargs: see :class:`ListedDataset`.
    """

    title = "folder"
    terms = "yours to check: the people shown have rights to their photographs"
    example = "0002_c1.jpg"
    may_lack_splits = True

    @classmethod
    def list_files(cls, root: Path, required: Collection[str] = SPLITS) -> Listing:
        misnamed: list[str] = []
        ignored = Ignored(list)
        tables = {split: root / f"{split}.csv" for split in SPLITS}
        is_table = any(is_file(table) for table in tables.values())
        places = tables if is_table else {split: _split_folder(root, split) for split in SPLITS}
        present = _present(root, places, required)
        rows = {
            split: list(
                read_table(place, ignored) if is_table else _read_folder(place, misnamed, ignored)
            )
            for split, place in present.items()
        }
        all_rows = [row for split_rows in rows.values() for row in split_rows]
        cameras_known = _check_cameras(root, all_rows)
        if not cameras_known:
            _check_query_not_in_gallery(rows)
        alike = alike_labels({row.identity for row in all_rows}, "identity")
        alike += alike_labels({row.camera for row in all_rows}, "camera")
        cameras = sorted({row.camera for row in all_rows}, key=_natural_key)
        pids = _pids({row.identity for row in all_rows})
        items = _number_labels(rows, pids, cameras if cameras_known else None)
        are_numbers = all(_is_number(name) and int(name) == pid for name, pid in pids.items())
        return Listing(
            items.get("train", []),
            items.get("query", []),
            items.get("gallery", []),
            misnamed=misnamed,
            missing=[str(row.path) for row in all_rows if is_table and not is_file(row.path)],
            ignored=ignored,
            alike=alike,
            cameras_known=cameras_known,
            camera_names=cameras if cameras_known else (),
            identity_names={} if are_numbers else {pid: name for name, pid in pids.items()},
        )


def _split_folder(root: Path, split: str) -> Path:
    names = {split, FOLDERS[split].rstrip("/")}
    found = [root / name for name in sorted(names) if (root / name).is_dir()]
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1]} are both the {split} split: keep one of them")
    return found[0] if found else root / split


def _present(root: Path, places: Mapping[str, Path], required: Collection[str]) -> dict[str, Path]:
    """The splits that there are; an error if a required one is missing, or all."""
    present = {split: place for split, place in places.items() if place.exists()}
    missing = [
        place.name
        for split, place in places.items()
        if split not in present and (split in required or not present)
    ]
    if missing:
        raise InputError(
            f"{root.resolve()} lacks {', '.join(missing)}: a custom data set has train/, query/ "
            "and gallery/, or train.csv, query.csv and gallery.csv (datasets/README.md)"
        )
    return present


def _read_folder(split: Path, misnamed: list[str], ignored: Ignored) -> Iterator[Row]:
    """Yield the images of a split's folder, labeled by their names or by a folder per identity."""
    found = inside(split)
    folders = [path for path in found if path.is_dir() and not is_system(path)]
    images = images_among((path for path in found if path not in folders), ignored)
    if folders and not images:
        for place in folders:
            yield from _read_identity(place, split, ignored)
        return
    for path in folders:  # beside images: whose they are is not said
        misnamed += [str(image) for image in images_among(files_under(path, split), ignored)]
    for path in images:
        labels = read_name(path.name)
        if labels is None:
            misnamed.append(str(path))
        elif labels.identity == -1:
            ignored[JUNK].append(str(path))
        else:
            yield Row(path, str(labels.identity), labels.camera)


def _read_identity(folder: Path, split: Path, ignored: Ignored) -> Iterator[Row]:
    """Yield the images of a person's folder; the camera is in the image's name or its folder's."""
    for path in images_among(files_under(folder, split), ignored):
        if folder.name == "-1":
            ignored[JUNK].append(str(path))
            continue
        cameras = (read_camera(part) for part in reversed(path.relative_to(folder).parts))
        yield Row(path, _number(folder.name), next(filter(None, cameras), ""))


def _number(name: str) -> str:
    """A number without leading zeros; any other name as it is."""
    return name.lstrip("0") or "0" if name.isascii() and name.isdigit() else name


def _check_cameras(root: Path, rows: list[Row]) -> bool:
    """True if all images have a camera, False if none has; otherwise an error."""
    without = [row.path for row in rows if not row.camera]
    if 0 < len(without) < len(rows):
        raise InputError(
            f"{len(without):,} of {len(rows):,} images in {root} have no camera, such as "
            f"{without[0]}: give the camera of all images or of none"
        )
    return not without


def _check_query_not_in_gallery(rows: Mapping[str, list[Row]]) -> None:
    both = {row.path for row in rows.get("query", ())} & {
        row.path for row in rows.get("gallery", ())
    }
    if both:
        raise InputError(
            f"{len(both):,} image(s) are in query and gallery, such as {min(both)}: without "
            "cameras a query would match itself; remove them from one of the two"
        )


def _number_labels(
    rows: Mapping[str, list[Row]], pids: Mapping[str, int], cameras: Sequence[str] | None
) -> dict[str, list[Item]]:
    """Replace identity and camera labels by numbers, consistently over the splits.

    A camera is its place among ``cameras``; unknown cameras are 0, in the gallery 1.
    """
    camids = {camera: camid for camid, camera in enumerate(cameras or ())}

    def item(row: Row, split: str) -> Item:
        camid = camids[row.camera] if cameras else int(split == "gallery")
        return str(row.path), pids[row.identity], camid

    return {split: [item(row, split) for row in split_rows] for split, split_rows in rows.items()}


def _pids(identities: Iterable[str]) -> dict[str, int]:
    """The number of each identity; identities that are different numbers keep them."""
    ordered = sorted(identities)
    if all(_is_number(identity) for identity in ordered):
        pids = {identity: int(identity) for identity in ordered}
        if len({*pids.values()}) == len(pids):
            return pids
    return {identity: pid for pid, identity in enumerate(ordered)}


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit() and len(label) <= 18  # below 2^63


def _natural_key(label: str) -> tuple[int, str]:
    """Sort key: numbers by value, then other labels."""
    return (int(label) if _is_number(label) else 2**63, label)
